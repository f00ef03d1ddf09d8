"""What `check` finds: each danger on a large table, nothing on a small one, no false alarm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrator.model import Danger
from tests.builders import write_folder
from tests.conftest import Database, create_database, drop_database, in_charge
from tests.corpus import BASE, DANGERS, ROWS, SAFE, WHATEVER_SIZE
from tests.job import ROOT, Result, run_job, until
from tests.postgres import Address

LIMIT = "200kB"  #: so that tables of some MB count as large here
LEFT = "SELECT datname FROM pg_database WHERE datname LIKE 'migrator_rehearsal_%'"


def filled(server: Address, folder: Path, orders: int) -> Database:
    """A database that BASE was applied to, with so many orders."""
    made = create_database(server)
    result = run_job(made.url, write_folder(folder, {"001_base.sql": BASE}))
    assert result.code == 0, result.stderr
    made.query(ROWS.format(n=orders))
    made.query("ANALYZE")
    return made


@pytest.fixture(scope="module")
def large(server: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = filled(server, tmp_path_factory.mktemp("large"), 20_000)
    yield made
    drop_database(made)


@pytest.fixture(scope="module")
def small(server: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = filled(server, tmp_path_factory.mktemp("small"), 40)
    yield made
    drop_database(made)


def check(live: Database | None, folder: Path, server: Address, *words: str, **env: str) -> Result:
    settings = {"PREFLIGHT_SIZE": LIMIT, "SHADOW_DATABASE_URL": in_charge(server).url, **env}
    return run_job(live.url if live else None, folder, "check", *words, **settings)


def found(result: Result) -> list[dict[str, Any]]:
    answer = json.loads(result.stdout)
    findings: list[dict[str, Any]] = answer["findings"]
    return findings


def classes(result: Result) -> set[str]:
    return {one["class"] for one in found(result)}


@pytest.mark.parametrize(("danger", "sql"), [pytest.param(*d[1:], id=d[0]) for d in DANGERS])
def test_a_danger_is_found_on_a_large_table_and_by_size_on_a_small_one(
    large: Database, small: Database, tmp_path: Path, server: Address, danger: str, sql: str
) -> None:
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": sql + "\n"})
    result = check(large, tmp_path, server, "--json")
    assert result.code == 17, result.stderr + result.stdout
    assert danger in classes(result)
    for one in found(result):
        assert (one["file"], bool(one["message"]), bool(one["remedy"])) == (
            "002_next.sql",
            True,
            True,
        )
    result = check(small, tmp_path, server, "--json")
    assert result.code in (0, 17), result.stderr
    assert classes(result) <= WHATEVER_SIZE
    assert (danger in classes(result)) == (danger in WHATEVER_SIZE)


@pytest.mark.parametrize("sql", [pytest.param(sql, id=name) for name, sql in SAFE])
def test_what_is_safe_is_no_finding(
    large: Database, small: Database, tmp_path: Path, server: Address, sql: str
) -> None:
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": sql + "\n"})
    for live in (large, small):
        result = check(live, tmp_path, server, "--json")
        assert (result.code, found(result)) == (0, []), result.stderr + result.stdout


def test_the_size_of_the_live_table_decides(
    database: Database, tmp_path: Path, server: Address
) -> None:
    """With the limit that the job has by itself."""
    write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a (id int, note text);\n"})
    assert run_job(database.url, tmp_path).code == 0
    write_folder(tmp_path, {"002_b.sql": "CREATE INDEX a_note ON a (note);\n"})
    settings = {"SHADOW_DATABASE_URL": in_charge(server).url}
    add = "INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1, %s) AS i"
    database.query(add, 50)
    assert database.query("SELECT pg_relation_size('a')") == [(65_536,)]
    result = run_job(database.url, tmp_path, "check", "--json", **settings)
    assert (result.code, found(result)) == (0, []), result.stdout
    database.query(add, 20_000)
    result = run_job(database.url, tmp_path, "lint", "--json", **settings)
    assert result.code == 17
    [one] = found(result)
    assert (one["class"], one["relation"], one["line"]) == ("scan", "public.a", 1)
    assert "CREATE INDEX CONCURRENTLY" in one["remedy"]
    assert one["message"].startswith("CREATE INDEX reads all of public.a (22 MB")
    assert in_charge(server).query(LEFT) == []


def test_without_a_database_every_table_is_big_unless_it_is_said_to_be_small(
    tmp_path: Path, server: Address
) -> None:
    sql = "CREATE INDEX i ON orders (customer_id);\n"
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": sql})
    result = check(None, tmp_path, server, "--json")
    assert (result.code, classes(result)) == (17, {"scan"})
    assert result.report["outcome"] == "nothing but a scratch database was touched"
    assert check(None, tmp_path, server, "--assume-small").code == 0
    assert check(None, tmp_path, server, "--all", "--assume-small").code == 0


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        pytest.param("SELECT 1;\nselekt 2;\n", 15, "002_next.sql:2:1", id="it does not parse"),
        pytest.param(
            "SELECT 1;\nUPDATE orders\nSET nope = 1;\n", 15, "002_next.sql:3:5", id="no such column"
        ),
        pytest.param(
            f"{'-- migrator: no-transaction'}\nSELECT 1 / 0;\n", 15, "002_next.sql:2", id="alone"
        ),
        pytest.param("BEGIN;\nSELECT 1;\n", 10, "", id="it cannot be sent at all"),
    ],
)
def test_a_file_that_does_not_run_is_refused_before_the_database_hears_of_it(
    small: Database, tmp_path: Path, server: Address, text: str, code: int, place: str
) -> None:
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": text})
    result = check(small, tmp_path, server, "--format", "github")
    assert result.code == code, result.stderr
    assert result.error["message"].startswith(place)
    assert result.report["outcome"] == "nothing but a scratch database was touched"
    assert result.stdout.startswith(f"::error file={tmp_path}/002_next.sql,line=")
    assert in_charge(server).query(LEFT) == []


def test_what_is_allowed_passes_and_an_allow_that_meets_nothing_does_not(
    large: Database, tmp_path: Path, server: Address
) -> None:
    allow = '-- migrator: allow scan orders "at night"\n'
    sql = "CREATE INDEX i ON orders (customer_id);\n"
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": allow + sql})
    result = check(large, tmp_path, server, "--json")
    assert (result.code, found(result)) == (0, []), result.stdout
    [allowed] = json.loads(result.stdout)["allowed"]
    assert (allowed["class"], allowed["reason"]) == ("scan", "at night")
    write_folder(tmp_path, {"002_next.sql": allow.replace("scan", "rewrite") + sql})
    result = check(large, tmp_path, server, "--json")
    assert (result.code, classes(result)) == (17, {"scan", "allow"})
    write_folder(tmp_path, {"002_next.sql": '-- migrator: allow scan "why"\n' + sql})
    assert check(large, tmp_path, server).code == 10


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX orders_cust ON orders (customer_id, id);",
        "CREATE UNIQUE INDEX ON orders (id, customer_id);",
        "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (customer_id, id);",
        "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers;",
        "ALTER TABLE orders ALTER COLUMN must2 SET NOT NULL;",
        "ALTER TABLE orders RENAME TO purchases;",
    ],
)
def test_the_remedy_can_be_typed(
    large: Database, database: Database, tmp_path: Path, server: Address, sql: str
) -> None:
    """Its statements, one after the other, on a database that the earlier files made."""
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": sql + "\n"})
    result = check(large, tmp_path, server, "--json")
    assert result.code == 17, result.stderr + result.stdout
    database.query(BASE)
    for one in found(result):
        written = re.findall("`([^`]+)`", one["remedy"])
        statements = [text for text in written if text.split()[0] in {"ALTER", "CREATE"}]
        assert statements, one["remedy"]
        if one["class"] == "breaks":
            database.query(sql)
        for statement in statements:
            database.query(statement)
        drop = r"ALTER TABLE public.orders DROP CONSTRAINT \1"
        for statement in statements if "KEY" in one["remedy"] else ():
            if made := re.search(r"VALIDATE CONSTRAINT (\S+)", statement):
                database.query(made.expand(drop))


def test_the_files_that_a_branch_adds_are_checked(tmp_path: Path, server: Address) -> None:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    write_folder(tmp_path, {"001_base.sql": BASE, "003_x.sql": "DROP TABLE items;\n"})
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "a")
    write_folder(tmp_path, {"002_late.sql": "DROP VIEW order_view;\n"})
    result = check(None, tmp_path, server, "--json", "--base", "main")
    assert [one["file"] for one in found(result)] == ["002_late.sql"]


@pytest.mark.parametrize("style", ["github", "sarif"])
def test_findings_are_written_as_other_programs_want_them(
    large: Database, tmp_path: Path, server: Address, style: str
) -> None:
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": "SELECT 1;\nTRUNCATE items;\n"})
    result = check(large, tmp_path, server, "--format", style)
    assert result.code == 17
    if style == "github":
        place = f"::error file={tmp_path}/002_next.sql,line=2,title=migrator%3A destroy::"
        assert result.stdout.startswith(place)
    else:
        [run] = json.loads(result.stdout)["runs"]
        [one] = run["results"]
        assert (one["ruleId"], one["level"]) == ("destroy", "error")
        assert one["locations"][0]["physicalLocation"]["region"] == {"startLine": 2}
        assert one["ruleId"] in {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert check(large, tmp_path, server, "--format", "xml").code == 2


def test_several_pending_files_are_one_release(
    large: Database, tmp_path: Path, server: Address
) -> None:
    """What one makes is new to the next; what one renames is the live table still."""
    files = {
        "001_base.sql": BASE,
        "002_new.sql": "CREATE TABLE fresh AS SELECT generate_series(1, 9) AS id;\n",
        "003_fresh.sql": "CREATE INDEX f ON fresh (id);\nALTER TABLE fresh ALTER id TYPE bigint;\n",
        "004_moved.sql": "ALTER TABLE customers RENAME TO clients;\n"
        "CREATE VIEW customers AS SELECT * FROM clients;\n",
        "005_index.sql": "CREATE INDEX c ON clients (nick);\n",
        "006_empty.sql": "TRUNCATE items;\n",
        "007_required.sql": "ALTER TABLE items ADD COLUMN must int NOT NULL;\n",
    }
    result = check(large, write_folder(tmp_path, files), server, "--json")
    assert [(one["file"], one["class"], one["relation"]) for one in found(result)] == [
        ("005_index.sql", "scan", "public.customers"),
        ("006_empty.sql", "destroy", "public.items"),
    ]


@pytest.mark.parametrize("name", ["int to bigint", "check", "foreign key", "index", "set not null"])
def test_a_plain_role_whose_server_counts_nothing_sees_the_same(
    large: Database, tmp_path: Path, server: Address, name: str
) -> None:
    """With CREATEDB alone and track_counts off: then the server's DEBUG1 lines speak."""
    role = f"plain_{os.getpid()}"
    charge = in_charge(server)
    charge.query(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'x'")
    charge.query(f"ALTER ROLE {role} SET track_counts = off")
    try:
        _, danger, sql = next(case for case in DANGERS if case[0] == name)
        write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": sql + "\n"})
        settings = {"SHADOW_DATABASE_URL": charge.as_user(role, "x").url}
        result = check(large, tmp_path, server, "--json", **settings)
        assert (result.code, danger in classes(result)) == (17, True), result.stderr
        safe = "ALTER TABLE orders ALTER COLUMN must SET NOT NULL;\nSELECT count(*) FROM regions;\n"
        write_folder(tmp_path, {"002_next.sql": safe})
        result = check(large, tmp_path, server, "--json", **settings)
        assert (result.code, found(result)) == (0, []), result.stdout
    finally:
        charge.query(f"DROP ROLE {role}")


PAGE = (ROOT / "docs" / "best-practices.md").read_text()
CHECKED = re.findall(
    r"^```sql\n((?:(?!```).)*)^```\n(?:(?!```).)*?\*\*Check\*\*: (nothing|`\w+`)\.",
    PAGE,
    re.DOTALL | re.MULTILINE,
)


def test_the_page_says_what_is_found(tmp_path: Path, server: Address) -> None:
    """docs/best-practices.md: each example upon those before it, where every table is big."""
    setup = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]
    write_folder(tmp_path, {"001_setup.sql": setup.partition("INSERT")[0]})
    shown = set()
    for number, (sql, said) in enumerate(CHECKED, 2):
        file = f"{number:03}_step.sql"
        write_folder(tmp_path, {file: sql})
        result = check(None, tmp_path, server, "--json")
        assert result.code in (0, 17), f"{sql}{result.stderr}"
        answer = json.loads(result.stdout)
        told = {one["class"] for one in answer["findings"] or answer["advice"]}
        assert told == ({said.strip("`")} - {"nothing"}), f"{sql}{result.stdout}"
        shown |= told
        if told == {"fails"}:
            (tmp_path / file).unlink()  # it is refused, as the page says
    assert shown == {danger.value for danger in Danger}


def test_on_supabase_a_table_without_row_level_security_is_advice(
    supabase: Database, tmp_path: Path
) -> None:
    write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a (id bigint PRIMARY KEY);\n"})
    settings = {"SHADOW_DATABASE_URL": supabase.url.replace(supabase.dbname, "postgres")}
    result = run_job(supabase.url, tmp_path, "check", "--json", **settings)
    assert result.code == 0, result.stderr
    said = [one["message"] for one in json.loads(result.stdout)["advice"]]
    assert any("without row level security" in text for text in said), said
    rls = "ALTER TABLE a ENABLE ROW LEVEL SECURITY;\nGRANT SELECT ON a TO authenticated;\n"
    write_folder(tmp_path, {"001_a.sql": "CREATE TABLE a (id bigint PRIMARY KEY);\n" + rls})
    result = run_job(supabase.url, tmp_path, "check", "--json", **settings)
    assert (result.code, json.loads(result.stdout)["advice"]) == (0, []), result.stdout


def advice(result: Result) -> list[str]:
    assert result.code == 0, result.stderr + result.stdout
    return [one["message"] for one in json.loads(result.stdout)["advice"]]


def test_a_table_that_no_client_may_read_is_advice_by_the_live_default_privileges(
    supabase: Database, tmp_path: Path
) -> None:
    """Those of the role that deploys: what a new table is granted there is in pg_default_acl."""
    rls = "CREATE TABLE a (id bigint PRIMARY KEY);\nALTER TABLE a ENABLE ROW LEVEL SECURITY;\n"
    write_folder(tmp_path, {"001_a.sql": rls})
    settings = {"SHADOW_DATABASE_URL": supabase.url.replace(supabase.dbname, "postgres")}

    def said() -> list[str]:
        return advice(run_job(supabase.url, tmp_path, "check", "--json", **settings))

    change = "ALTER DEFAULT PRIVILEGES IN SCHEMA public {} ON TABLES {} anon, authenticated"
    supabase.query(f"{change.format('REVOKE ALL', 'FROM')}, service_role")
    assert said() == [
        "CREATE TABLE makes public.a, which no role of the Data API may read or write by default"
    ]
    supabase.query(change.format("GRANT SELECT", "TO"))
    assert said() == []


def test_a_grant_without_row_level_security_is_advice(supabase: Database, tmp_path: Path) -> None:
    """Of a new table and of one that was there before."""
    files = {
        "001_a.sql": "CREATE TABLE a (id bigint PRIMARY KEY);\n",
        "002_b.sql": "GRANT SELECT ON a TO anon, authenticated;\n",
        "003_c.sql": "CREATE TABLE c (id int);\nGRANT SELECT ON c TO anon;\n",
    }
    settings = {"SHADOW_DATABASE_URL": supabase.url.replace(supabase.dbname, "postgres")}
    write_folder(tmp_path, files)
    result = run_job(supabase.url, tmp_path, "check", "--json", **settings)
    said = [text for text in advice(result) if "grants" in text]
    assert [text.partition(" grants ")[2] for text in said] == [
        "public.a to anon, authenticated, without row level security",
        "public.c to anon, without row level security",
    ]


def test_a_foreign_key_is_advice_unless_an_index_begins_with_its_columns(
    tmp_path: Path, server: Address
) -> None:
    key = "CREATE TABLE fresh (a int, b bigint REFERENCES customers);\n"
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": key})
    [said] = advice(check(None, tmp_path, server, "--json", "--assume-small"))
    assert "makes a foreign key of public.fresh (b) that no index begins with" in said
    for index, found in (("a, b", 1), ("b) WHERE (a > 0", 1), ("b, a", 0)):
        write_folder(tmp_path, {"002_next.sql": f"{key}CREATE INDEX ON fresh ({index});\n"})
        result = check(None, tmp_path, server, "--json", "--assume-small")
        assert len(advice(result)) == found, index


#: A process of its own: psycopg2's wait callback, which the job sets, is that of the whole process.
WRITER = """import psycopg2, sys
connection = psycopg2.connect(sys.argv[1])
connection.autocommit = True
while True:
    connection.cursor().execute("UPDATE orders SET note = note WHERE id <= 100")
"""


def test_a_finding_says_how_often_the_table_is_written(
    large: Database, tmp_path: Path, server: Address
) -> None:
    """Seen between two looks, with the trace between them."""
    sql = "SELECT pg_sleep(2.5);\nCREATE INDEX orders_cust ON orders (customer_id);\n"
    write_folder(tmp_path, {"001_base.sql": BASE, "002_next.sql": sql})
    counted = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'orders'"
    before = large.query(counted)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, large.url])
    try:
        until(lambda: large.query(counted) > before)
        result = check(large, tmp_path, server, "--json")
    finally:
        writer.kill()
        writer.wait()
    [one] = found(result)
    assert re.search(r"\(\d+ MB, [\d,]+ rows, about [\d,]+ writes a second\)", one["message"])
