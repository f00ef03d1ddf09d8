"""What docs/monitoring.md shows, run against the lines and the view of a real database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from operator import eq, ge, gt
from pathlib import Path
from typing import Any

import yaml

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import run_job
from tests.pages import ROOT

PAGE = (ROOT / "docs/monitoring.md").read_text()
FILES = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "DROP TABLE nothing"}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda have, want: str(have) == want,
    "=~": lambda have, want: re.fullmatch(want, str(have)) is not None,
    ">": lambda have, want: have is not None and gt(float(have), float(want)),
    ">=": lambda have, want: have is not None and ge(float(have), float(want)),
}


def block(language: str, place: int = 0) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[place]


def chosen(query: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a query of LogQL leaves of the lines: `json`, then filters of labels."""
    selector, as_json, *filters = re.split(r" \| ", query)
    assert selector == '{container="migrate"}'
    assert as_json == "json"
    for one in filters:
        found = re.fullmatch(r"(\w+)(=~|>=|=|>)\"?(.*?)\"?", one)
        assert found, one
        compare = OPERATORS[found[2]]
        lines = [line for line in lines if compare(line.get(found[1]), found[3])]
    return lines


def test_the_queries_of_loki_find_what_they_are_for(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    with database.connect() as other, other.cursor() as cursor:
        cursor.execute("CREATE TABLE held (); COMMIT; BEGIN; LOCK held")
        write_folder(tmp_path, {"000_h.sql": "SET LOCAL lock_timeout = '50ms'; DROP TABLE held"})
        busy = run_job(database.url, folder, LOCK_RETRY_TIMEOUT="300ms")
        other.rollback()
    lines = [*busy.lines, *run_job(database.url, folder).lines]
    failed, retried, timed, said = (
        [line["event"] for line in chosen(query, lines)] for query in block("logql").splitlines()
    )
    assert failed == ["run.finished", "run.finished"]
    assert set(retried) == {"migration.retry"}
    assert timed == ["migration.applied", "migration.applied"]
    assert "migration.failed" in said


def test_the_collector_reads_our_lines(database: Database, tmp_path: Path) -> None:
    lines = run_job(database.url, write_folder(tmp_path, FILES)).lines
    _, parser, trace = yaml.safe_load(block("yaml"))["receivers"]["filelog"]["operators"]
    layout = parser["timestamp"]["layout"]
    for name, digits in (("2006", 4), ("01", 2), ("02", 2), ("15", 2), ("04", 2), ("05", 2)):
        layout = layout.replace(name, rf"\d{{{digits}}}", 1)
    layout = layout.replace(".000", r"\.\d{3}").replace("Z07:00", r"(Z|[+-]\d\d:\d\d)")
    for line in lines:
        assert re.fullmatch(layout, line["timestamp"])
        assert line["level"] in {"debug", "info", "warning", "error"}
    assert trace["trace_id"]["parse_from"] == "attributes.trace_id"
    assert parser["severity"]["mapping"] == {"warn": "warning"}


def test_the_metrics_are_of_the_view(database: Database, tmp_path: Path) -> None:
    role = f"reads_{database.dbname}"
    database.query(f"CREATE ROLE {role}")
    run_job(database.url, write_folder(tmp_path, FILES), HISTORY_READERS=role)
    collector = yaml.safe_load((ROOT / "k8s/monitoring/migrator.collector.yml").read_text())
    (query,) = collector["queries"]
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
        cursor.execute(query["query"])
        (row,) = cursor.fetchall()
        columns = [column.name for column in cursor.description or ()]
        cursor.execute(block("sql"))
        exporter = yaml.safe_load((ROOT / "k8s/monitoring/postgres_exporter.yml").read_text())
        cursor.execute(exporter["migrator"]["query"])
        same = [column.name for column in cursor.description or ()]
        (numbers,) = cursor.fetchall()
    found = dict(zip(columns, row, strict=True))
    assert [name for metric in exporter["migrator"]["metrics"] for name in metric] == same
    ours = {f"migrator_{name}" for name in same[1:]}
    assert ours <= {metric["metric_name"] for metric in collector["metrics"]}
    assert numbers[:4] == (database.dbname, 1, 1, 1)
    for metric in collector["metrics"]:
        assert metric["query_ref"] == query["query_name"]
        assert {*metric["key_labels"], *metric["values"]} <= set(columns)
    shown = {key: found[key] for key in ("pending", "applied", "failing", "current_version")}
    assert shown == {"pending": 1, "applied": 1, "failing": 1, "current_version": "001_a"}
    assert eq(json.loads(json.dumps(found, default=float))["one"], 1)
