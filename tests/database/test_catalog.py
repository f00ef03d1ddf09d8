"""A snapshot sees every kind of thing, and says in what two of them differ."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from migrator.scratch.snapshot import differences
from tests.builders import write_folder
from tests.catalog import read_catalog
from tests.conftest import Database
from tests.job import run_job

MADE = """
CREATE TABLE t (id int PRIMARY KEY, name text DEFAULT 'x' CHECK (name <> ''), n int);
CREATE TABLE parted (id int) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (2);
CREATE VIEW v AS SELECT id FROM t;
CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
CREATE SEQUENCE s;
CREATE INDEX i ON t (name);
CREATE TYPE e AS ENUM ('a', 'b');
CREATE TYPE c AS (a int);
CREATE TYPE r AS RANGE (subtype = int);
CREATE DOMAIN d AS int CHECK (VALUE > 0);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE a(int) (SFUNC = int4pl, STYPE = int);
CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
CREATE RULE u AS ON DELETE TO t DO NOTHING;
CREATE POLICY o ON t USING (true);
CREATE STATISTICS st ON id, n FROM t;
CREATE SCHEMA other;
CREATE PUBLICATION pub FOR TABLE t;
ALTER DEFAULT PRIVILEGES IN SCHEMA other GRANT SELECT ON TABLES TO PUBLIC;
COMMENT ON COLUMN t.name IS 'A name.';
COMMENT ON CONSTRAINT t_pkey ON t IS 'A key.';
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "table public.t differs: row level security no before, yes now",
        ),
        (
            "ALTER TABLE t FORCE ROW LEVEL SECURITY",
            "table public.t differs: row level security forced no before, yes now",
        ),
        ("GRANT SELECT ON t TO PUBLIC", "table public.t differs: grants: PUBLIC SELECT only now"),
        (
            "GRANT SELECT (n) ON t TO PUBLIC",
            "column public.t.n differs: grants: PUBLIC SELECT only now",
        ),
        (
            "ALTER TABLE t OWNER TO pg_monitor",
            "table public.t differs: owner the login role before, pg_monitor now",
        ),
        (
            "ALTER TABLE t SET (fillfactor = 50)",
            "table public.t differs: options none before, ['fillfactor=50'] now",
        ),
        ("ALTER TABLE t DROP COLUMN n CASCADE", "column public.t.n is there before, and not now"),
        (
            "ALTER TABLE t ALTER n TYPE bigint",
            "column public.t.n differs: type integer before, bigint now",
        ),
        (
            "ALTER TABLE t ALTER n SET NOT NULL",
            "column public.t.n differs: not null no before, yes now",
        ),
        (
            "ALTER TABLE t ALTER name SET DEFAULT 'y'",
            "column public.t.name differs: default 'x'::text before, 'y'::text now",
        ),
        (
            'ALTER TABLE t ALTER name TYPE text COLLATE "C"',
            'column public.t.name differs: collation none before, "C" now',
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT t_name_check",
            "constraint public.t.t_name_check is there before, and not now",
        ),
        (
            "ALTER DOMAIN d DROP CONSTRAINT d_check",
            "constraint public.d.d_check is there before, and not now",
        ),
        ("DROP INDEX i", "index public.i is there before, and not now"),
        (
            "ALTER TABLE parted DETACH PARTITION part",
            "table public.part differs: parents ['public.parted'] before, none now; partition",
        ),
        ("DROP MATERIALIZED VIEW m", "materialized view public.m is there before, and not now"),
        (
            "CREATE OR REPLACE VIEW v AS SELECT id + 0 AS id FROM t",
            "view public.v differs: definition",
        ),
        ("ALTER SEQUENCE s INCREMENT 2", "sequence public.s differs: sequence"),
        ("ALTER TYPE e ADD VALUE 'c'", "enum public.e differs: labels: c only now"),
        ("ALTER TYPE c ADD ATTRIBUTE b int", "column public.c.b is there now, and not before"),
        ("DROP TYPE r", "range public.r is there before, and not now"),
        ("ALTER DOMAIN d SET NOT NULL", "domain public.d differs: not null no before, yes now"),
        (
            "REVOKE USAGE ON TYPE e FROM PUBLIC",
            "enum public.e differs: grants: PUBLIC USAGE only before",
        ),
        (
            "REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
            "function public.f() differs: grants: PUBLIC EXECUTE only before",
        ),
        ("ALTER FUNCTION f() SET search_path = ''", "function public.f() differs: definition"),
        ("DROP PROCEDURE p()", "procedure public.p() is there before, and not now"),
        ("DROP AGGREGATE a(int)", "aggregate public.a(integer) is there before, and not now"),
        ("ALTER TABLE t DISABLE TRIGGER g", "trigger public.t.g differs: enabled O before, D now"),
        ("DROP RULE u ON t", "rule public.t.u is there before, and not now"),
        (
            "ALTER POLICY o ON t USING (false)",
            "policy public.t.o differs: using true before, false now",
        ),
        ("DROP STATISTICS st", "statistics public.st is there before, and not now"),
        ("CREATE SCHEMA more", "schema more is there now, and not before"),
        (
            "GRANT USAGE ON SCHEMA other TO PUBLIC",
            "schema other differs: grants: PUBLIC USAGE only now",
        ),
        (
            "ALTER PUBLICATION pub DROP TABLE t",
            "publication pub differs: tables: public.t only before",
        ),
        ('CREATE EXTENSION "uuid-ossp"', 'extension "uuid-ossp" is there now, and not before'),
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA other REVOKE SELECT ON TABLES FROM PUBLIC",
            "default privileges of the login role for tables in other is there before, and not now",
        ),
        (
            "COMMENT ON COLUMN t.name IS 'Another.'",
            "comment on table column public.t.name differs: text A name. before, Another. now",
        ),
        (
            "COMMENT ON CONSTRAINT t_pkey ON t IS NULL",
            "comment on table constraint t_pkey on public.t is there before, and not now",
        ),
        ("DROP TABLE t CASCADE", "table public.t is there before, and not now"),
        (
            "CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION ef()",
            "event trigger et is there now, and not before",
        ),
    ],
)
def test_a_difference_names_the_thing_and_what_differs(
    database: Database, change: str, words: str
) -> None:
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute(MADE)
        cursor.execute("CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        before = read_catalog(session)
        cursor.execute(change)
        found = [difference.in_words() for difference in differences(before, read_catalog(session))]
    assert any(text.startswith(words) for text in found), found


def test_what_is_made_anew_as_it_was_differs_in_nothing(database: Database) -> None:
    """No oid and no order of columns is looked at; grants that are so by default may be written."""
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute(MADE)
        before = read_catalog(session)
        cursor.execute("ALTER TABLE t DROP COLUMN n CASCADE; ALTER TABLE t ADD COLUMN n int")
        cursor.execute("CREATE STATISTICS st ON id, n FROM t")
        cursor.execute("GRANT ALL ON t TO CURRENT_USER; REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC")
        cursor.execute("GRANT EXECUTE ON FUNCTION f() TO PUBLIC")
        assert differences(before, read_catalog(session)) == ()


def test_the_histories_own_tables_are_left_out(database: Database, tmp_path: Path) -> None:
    with closing(database.connect()) as session:
        before = read_catalog(session)
        assert run_job(database.url, write_folder(tmp_path, {"001_a.sql": "SELECT"})).code == 0
        assert differences(before, read_catalog(session)) == ()
