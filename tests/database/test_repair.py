"""`repair` on a real server: what a person knows is recorded, and nothing of the log is lost."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, MakePgBouncer, MakeProxy
from tests.job import Job, Listener, Result, run_job, run_listening, until

FILES = {"001_a.sql": "CREATE TABLE a ();", "002_b.sql": "CREATE TABLE b ();"}
BROKEN = "-- migrator: no-transaction\nCREATE TABLE c ();\nSELECT 1/0;\n"
VERSIONS = "SELECT version FROM schema_migrations ORDER BY version"
LOG = "SELECT event, detail FROM schema_migrations_log WHERE event = 'repaired' ORDER BY id"


def repair(database: Database, folder: Path, *words: str, reason: str = "seen by eye") -> Result:
    return run_job(database.url, folder, "repair", *words, "--reason", reason)


def test_what_a_person_has_run_by_hand_is_recorded_and_never_run(
    database: Database, tmp_path: Path
) -> None:
    """Also in a database that has no history yet."""
    folder = write_folder(tmp_path, FILES)
    database.query("CREATE TABLE b ()")
    result = repair(database, folder, "--applied", "002_b")
    assert result.code == 0, result.stderr
    assert result.stdout == (
        "assumed: all of 002_b has taken effect; it is recorded as applied and never run\n"
    )
    [told] = result.of("repair.assuming")
    assert (told["version"], told["answer"], told["why"]) == ("002_b", "applied", "seen by eye")
    assert run_job(database.url, folder, "up", "--on-late", "apply").applied == ["001_a"]
    assert run_job(database.url, folder, "verify").code == 0
    [(_, detail)] = database.query(LOG)
    assert (detail["answer"], detail["reason"]) == ("applied", "seen by eye")


def test_a_stop_while_an_answer_is_recorded_does_not_say_that_nothing_was(
    database: Database, proxy: MakeProxy, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    network = proxy(database)
    network.hold_at(b"repair 002_b")
    words = ("repair", "--not-applied", "002_b", "--reason", "gone")
    job = Job(network.through(database.url), folder, *words)
    until(lambda: network.holding)
    job.process.send_signal(signal.SIGTERM)
    result = job.result()
    unknown = "unknown: the answer was being recorded; see `status`"
    assert (result.code, result.report["outcome"]) == (23, unknown)


def test_what_a_person_has_taken_back_is_run_again(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    lines = "SELECT count(*) FROM schema_migrations_log"
    [(before,)] = database.query(lines)
    database.query("DROP TABLE b")
    assert repair(database, folder, "--not-applied", "002_b").code == 0
    assert database.query(VERSIONS) == [("001_a",)]
    assert database.query(lines) == [(before + 1,)]
    assert run_job(database.url, folder).applied == ["002_b"]


def test_a_dirty_migration_can_be_begun_anew(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"001_c.sql": BROKEN})
    assert run_job(database.url, folder).code == 15
    database.query("DROP TABLE c")
    assert repair(database, folder, "--not-applied", "001_c").code == 0
    [shown] = json.loads(run_job(database.url, folder, "status", "--json").stdout)["migrations"]
    assert shown["state"] == "pending"
    write_folder(folder, {"001_c.sql": BROKEN.replace("1/0", "1")})
    assert run_job(database.url, folder).code == 0
    assert database.query("SELECT to_regclass('c')::text") == [("c",)]


def test_an_answer_goes_through_a_pooler_in_transaction_mode(
    database: Database, pgbouncer: MakePgBouncer, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, FILES)
    pooler = pgbouncer(database, pool_mode="transaction", pool_size=1)
    assert run_job(database.url, folder).code == 0
    words = ("repair", "--not-applied", "002_b", "--reason", "dropped")
    assert run_job(pooler.url(database.dbname), folder, *words).code == 0
    assert database.query(VERSIONS) == [("001_a",)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--accept-checksum", "001_a"], "001_a.sql has not changed since it was applied"),
        (["--accept-checksum", "009_z"], "009_z is not applied"),
        (["--rename", "001_a", "001_b"], "001_a is not an applied migration whose file is gone"),
        (["--retry", "001_a", "--rename", "001_a", "b"], "`repair` takes one answer and a reason"),
        (["--applied", "001_a"], "001_a is not a pending migration of this folder"),
        (["--applied", "009_z"], "009_z is not a pending migration of this folder"),
        (["--not-applied", "009_z"], "009_z is neither applied nor started"),
        (["--done", "001_a"], "no statement of 001_a was interrupted"),
        (["--retry", "009_z"], "no statement of 009_z was interrupted"),
        ([], "`repair` takes one answer and a reason"),
        (["--done", "001_a", "--retry", "001_a"], "`repair` takes one answer and a reason"),
    ],
)
def test_an_answer_that_fits_nothing_changes_nothing(
    database: Database, tmp_path: Path, words: list[str], message: str
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    result = repair(database, folder, *words)
    assert (result.code, result.error["message"]) == (2, message)
    assert database.query(VERSIONS) == [("001_a",), ("002_b",)]
    assert database.query(LOG) == []


@pytest.mark.parametrize("reason", ["", " "])
def test_an_answer_needs_a_reason(database: Database, tmp_path: Path, reason: str) -> None:
    folder = write_folder(tmp_path, FILES)
    assert repair(database, folder, "--applied", "001_a", reason=reason).code == 2


CHANGED = "-- what a is for\nCREATE TABLE a ();"
HISTORY = "SELECT version, checksum, rollback_sql, run_id::text FROM schema_migrations ORDER BY 1"


def test_a_change_that_was_made_on_purpose_is_accepted(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    before = database.query(HISTORY)
    write_folder(folder, {"001_a.sql": CHANGED})
    drifted = run_job(database.url, folder)
    assert drifted.code == 11
    command = "repair --accept-checksum 001_a --reason WHY"
    assert command in drifted.report["findings"][0]["remedy"]
    result = repair(database, folder, "--accept-checksum", "001_a.sql", reason="a comment")
    assert result.code == 0, result.stderr
    new = hashlib.sha256(CHANGED.encode()).hexdigest()
    old = before[0][1]
    assert " ".join(result.stdout.split()) == (
        "assumed: the database has what 001_a.sql says now; the checksum "
        f"{old[:12]} gives way to {new[:12]}"
    )
    [told] = result.of("repair.assuming")
    assert (told["old_checksum"], told["new_checksum"]) == (old, new)
    assert run_job(database.url, folder, "verify").code == 0
    assert database.query(HISTORY) == [("001_a", new, *before[0][2:]), before[1]]
    [(_, detail)] = database.query(LOG)
    assert (detail["old_checksum"], detail["new_checksum"]) == (old, new)
    assert (detail["answer"], detail["reason"]) == ("checksum accepted", "a comment")


def test_a_row_without_a_checksum_gets_one(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    database.query(
        "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, "
        "applied_at timestamptz DEFAULT now(), checksum varchar(64))"
    )
    database.query("INSERT INTO schema_migrations VALUES ('001_a'), ('002_b')")
    assert repair(database, folder, "--accept-checksum", "001_a").code == 0
    write_folder(folder, {"001_a.sql": CHANGED, "002_b.sql": CHANGED})
    drifted = run_job(database.url, folder)
    assert [finding["file"] for finding in drifted.report["findings"]] == ["001_a.sql"]


def test_a_renamed_file_is_recognised_and_its_row_goes_along(
    database: Database, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, {**FILES, "002_b.down.sql": "DROP TABLE b;"})
    assert run_job(database.url, folder).code == 0
    before = database.query(HISTORY)
    for ending in (".sql", ".down.sql"):
        (folder / f"002_b{ending}").rename(folder / f"007_bees{ending}")
    command = "repair --rename 002_b 007_bees --reason WHY"
    for word, code in (("status", 0), ("verify", 12), ("up", 12)):
        found = run_job(database.url, folder, word)
        assert found.code == code
        assert command in found.report["findings"][0]["remedy"]
    result = repair(database, folder, "--rename", "002_b", "007_bees", reason="one scheme")
    assert result.code == 0, result.stderr
    assert "002_b and 007_bees are one migration" in result.stdout
    assert run_job(database.url, folder, "verify").code == 0
    assert database.query(HISTORY) == [before[0], ("007_bees", *before[1][1:])]
    [(_, detail)] = database.query(LOG)
    assert (detail["was"], detail["new"], detail["reason"]) == ("002_b", "007_bees", "one scheme")
    lines = json.loads(run_job(database.url, folder, "history", "--json").stdout)["log"]
    assert [(line["event"], line["version"]) for line in lines if line["version"]] == [
        ("applied", "001_a"),
        ("applied", "002_b"),
        ("repaired", "007_bees"),
    ]


def test_only_the_very_text_is_a_renamed_file(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    before = database.query(HISTORY)
    (folder / "002_b.sql").unlink()
    write_folder(folder, {"003_b.sql": "CREATE TABLE b (id int);"})
    unlike = repair(database, folder, "--rename", "002_b", "003_b")
    assert (unlike.code, "has not the text of 002_b" in unlike.error["message"]) == (2, True)
    nowhere = repair(database, folder, "--rename", "002_b", "004_b")
    assert nowhere.error["message"] == "004_b is not a pending migration of this folder"
    gone = repair(database, folder, "--accept-checksum", "002_b")
    assert gone.error["message"] == "this folder has no file for 002_b"
    assert (database.query(HISTORY), database.query(LOG)) == (before, [])


@pytest.mark.parametrize("mode", ["direct", "pooled"])
def test_answers_on_supabase_like_databases(
    supabase: Database, pgbouncer: MakePgBouncer, tmp_path: Path, mode: str
) -> None:
    url = supabase.url
    if mode == "pooled":
        pooler = pgbouncer(supabase, pool_mode="transaction", pool_size=1)
        url = pooler.url(supabase.dbname, "postgres", "postgres")
    folder = write_folder(tmp_path, FILES)
    assert run_job(url, folder).code == 0
    (folder / "002_b.sql").rename(folder / "003_b.sql")
    write_folder(folder, {"001_a.sql": CHANGED})
    why = ("--reason", "tidied")
    assert run_job(url, folder, "repair", "--rename", "002_b", "003_b", *why).code == 0
    assert run_job(url, folder, "repair", "--accept-checksum", "001_a", *why).code == 0
    assert run_job(url, folder, "verify").code == 0


def test_an_answer_is_thought_over_when_another_runner_has_moved_the_history(
    database: Database, tmp_path: Path
) -> None:
    """What was true when it was shown is no longer: the answer is refused, nothing half done."""
    folder = write_folder(tmp_path / "new", FILES)
    assert run_job(database.url, folder).code == 0
    (folder / "002_b.sql").rename(folder / "003_b.sql")
    older = write_folder(tmp_path / "older", FILES)

    def take_back() -> None:
        words = ("repair", "--not-applied", "002_b", "--reason", "undone by hand")
        assert Job(database.url, older, *words).result().code == 0

    words = ("repair", "--rename", "002_b", "003_b", "--reason", "renamed")
    result = run_listening(Listener("repair.assuming", take_back), database.url, folder, *words)
    assert (result.code, result.error["type"]) == (2, "ConfigError")
    assert database.query(VERSIONS) == [("001_a",)]
    assert [detail["answer"] for _, detail in database.query(LOG)] == ["not applied"]


@pytest.mark.parametrize(
    ("files", "words", "left"),
    [
        ({"001_a.sql": "CREATE TABLE a (id int);"}, ["--accept-checksum", "001_a"], []),
        ({"001_a.sql": None, "003_a.sql": FILES["001_a.sql"]}, ["--rename", "001_a", "003_a"], []),
        ({"001_a.sql": None}, ["--not-applied", "001_a"], []),
        ({"003_c.sql": "SELECT 3;"}, ["--applied", "003_c"], []),
        ({"001_a.sql": "a", "002_b.sql": "b"}, ["--accept-checksum", "001_a"], ["002_b.sql"]),
    ],
    ids=["changed", "renamed", "taken back", "run by hand", "one of two"],
)
def test_what_an_answer_settles_is_found_no_more(
    database: Database,
    tmp_path: Path,
    files: dict[str, str | None],
    words: list[str],
    left: list[str],
) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    for name, text in files.items():
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text)
    result = repair(database, folder, *words)
    assert (result.code, [f["file"] for f in result.report["findings"]]) == (0, left)
    status = run_job(database.url, folder, "status").report
    for name in ("findings", "pending", "current"):
        assert result.report[name] == status[name]


def test_a_version_may_be_named_by_its_number_alone(database: Database, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FILES)
    assert run_job(database.url, folder).code == 0
    result = repair(database, folder, "--not-applied", "2")
    assert (result.code, "nothing of 002_b is in the database" in result.stdout) == (0, True)
    assert database.query(VERSIONS) == [("001_a",)]
    (folder / "001_a.sql").rename(folder / "003_a.sql")
    answer = json.loads(repair(database, folder, "--json", "--rename", "1", "3").stdout)
    assert (answer["version"], answer["pending"]) == ("001_a", ["002_b"])
    assert database.query(VERSIONS) == [("003_a",)]
    assert repair(database, folder, "--done", "9").code == 2
