"""`dump`: schema.sql beside the migrations, and what `check` says of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import Database, create_database, drop_database, in_charge
from tests.database.test_catalog import MADE
from tests.job import Result, run_job
from tests.postgres import Address
from tests.programs import as_new_as_the_server
from tests.schemas import problems

LEFT = "SELECT datname FROM pg_database WHERE datname LIKE 'migrator_rehearsal_%'"
PARTS = {
    "tables": "CREATE TABLE b (id int PRIMARY KEY, a_id int);\nCREATE TABLE a (id int UNIQUE);\n",
    "keys": "ALTER TABLE a ADD CONSTRAINT c CHECK (id > 0);\n"
    "ALTER TABLE b ADD CONSTRAINT c CHECK (id > 0);\n",
    "code": "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n",
    "types": "CREATE TYPE z AS ENUM ('a');\nCREATE TYPE y AS ENUM ('a');\n",
    "policies": "CREATE POLICY p ON b USING (true);\nCREATE POLICY p ON a USING (true);\n",
}


def dump(server: Address, folder: Path, *words: str, **settings: str) -> Result:
    shadow = in_charge(server).url
    environment = {"PATH": os.environ["PATH"], "SHADOW_DATABASE_URL": shadow, **settings}
    return run_job(None, folder, "dump", *words, **environment)


@pytest.fixture
def able(server: Address) -> Address:
    if not as_new_as_the_server("pg_dump", in_charge(server)):
        pytest.skip("pg_dump is older than the server, and dumps no newer one than itself")
    return server


def test_it_is_written_beside_the_migrations_and_makes_the_same(
    able: Address, tmp_path: Path
) -> None:
    more = "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;\nCREATE EXTENSION citext;\n"
    files = {"001_all.sql": MADE + more, "R__v.sql": "CREATE OR REPLACE VIEW w AS SELECT 1 AS one;"}
    folder = write_folder(tmp_path / "migrations", files)
    result = dump(able, folder, "--json")
    assert result.code == 0, result.stderr
    path = tmp_path / "schema.sql"
    answer = json.loads(result.stdout)
    assert problems("answer", answer) == []
    assert (answer["schema"], answer["changed"]) == (str(path), True)
    text = path.read_text()
    for noise in ("schema_migrations", "SET ", "-- Name", "\\restrict", "COMMENT ON EXT", "ROLE "):
        assert noise not in text.replace("SET NULL", ""), text
    assert "CREATE VIEW public.w" in text
    made = create_database(able)
    made.query(text)
    again = write_folder(tmp_path / "again" / "migrations", {"001_all.sql": text})
    assert dump(able, again).code == 0
    assert (tmp_path / "again" / "schema.sql").read_text() == text
    drop_database(made)
    assert json.loads(dump(able, folder, "--json").stdout)["changed"] is False
    assert in_charge(able).query(LEFT) == []


def test_the_order_in_which_things_were_made_changes_nothing(able: Address, tmp_path: Path) -> None:
    texts = set()
    orders = [list(PARTS), ["tables", "policies", "types", "code", "keys"]]
    for number, order in enumerate(orders):
        files = {f"00{n}_{name}.sql": PARTS[name] for n, name in enumerate(order, 1)}
        if number:
            lines = {name: text.splitlines()[::-1] for name, text in files.items()}
            files = {name: "\n".join(text) for name, text in lines.items()}
        folder = write_folder(tmp_path / str(number) / "migrations", files)
        assert dump(able, folder).code == 0
        texts.add((tmp_path / str(number) / "schema.sql").read_text())
    assert len(texts) == 1


def test_check_says_when_the_committed_file_is_another(able: Address, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": "CREATE TABLE a (id int);\n"})
    settings = {"SHADOW_DATABASE_URL": in_charge(able).url, "PATH": os.environ["PATH"]}

    def warned() -> list[str]:
        result = run_job(None, folder, "check", "--assume-small", **settings)
        assert result.code == 0, result.stderr
        return [line["problem"] for line in result.of("plan.warning")]

    assert warned() == []
    assert dump(able, folder).code == 0
    assert warned() == []
    write_folder(folder, {"002_b.sql": "CREATE TABLE b (id int);\n"})
    stale, [said] = (tmp_path / "schema.sql").read_text().splitlines(), warned()
    assert dump(able, folder).code == 0
    fresh = (tmp_path / "schema.sql").read_text().splitlines()
    same = [one == other for one, other in zip(stale, fresh, strict=False)]
    first = [*same, False].index(False) + 1
    assert said == f"is not what the files make, from line {first} on"
    (tmp_path / "schema.sql").write_text("-- of another tool\n")
    assert warned()[0].startswith("was not written as here, and is not compared")
    settings["PATH"] = "/nowhere"
    if not any(Path("/usr/lib/postgresql").glob("*/bin/pg_dump")):
        assert warned()[0].startswith("is not compared with what the files make: a pg_dump")


def test_the_password_is_in_no_argument(able: Address, tmp_path: Path) -> None:
    """A pg_dump that writes down how it was called."""
    charge = in_charge(able)
    role = f"dumper_{os.getpid()}"
    charge.query(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'Tr0ub4dor'")
    try:
        program = tmp_path / "bin" / "pg_dump"
        program.parent.mkdir()
        real = shutil.which("pg_dump")
        program.write_text(
            f"#!{sys.executable}\nimport os, sys\n"
            f"open({str(tmp_path / 'called')!r}, 'a').write(repr(sys.argv))\n"
            f"os.execv({real!r}, sys.argv)\n"
        )
        program.chmod(0o755)
        folder = write_folder(tmp_path / "migrations", {"001_a.sql": "CREATE TABLE a (id int);\n"})
        url = charge.as_user(role, "Tr0ub4dor").url
        path = f"{program.parent}:{os.environ['PATH']}"
        result = dump(able, folder, SHADOW_DATABASE_URL=url, PATH=path, LOG_LEVEL="debug")
        assert result.code == 0, result.stderr
        called = (tmp_path / "called").read_text()
        assert f"user='{role}'" in called
        assert "Tr0ub4dor" not in called + result.stderr + result.stdout
    finally:
        charge.query(f"DROP ROLE {role}")


def test_a_pg_dump_that_is_too_old_is_named_with_the_one_that_is_needed(
    database: Database, tmp_path: Path
) -> None:
    if as_new_as_the_server("pg_dump", database):
        pytest.skip("pg_dump is as new as the server")
    folder = write_folder(tmp_path / "migrations", {"001_a.sql": "CREATE TABLE a (id int);\n"})
    result = dump(database.server, folder)
    assert result.code == 2
    assert "or newer is needed; " in result.error["message"]
    assert not (tmp_path / "schema.sql").exists()
