"""A role that may create tables and nothing else, what it plants, and what it gained by that.

mallory may create in `public` and schemas of its own. All its code ends in `evil.take()`, which
does nothing until `armed`; from then on each run of it as another role leaves a trace that a
rollback does not take back, and tries to become more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.conftest import Database

FILES = {
    "001_a.sql": "CREATE TABLE public.a (id int);\n",
    "002_b.sql": "CREATE TABLE public.b (id int);\n",
}
CHECKSUM = hashlib.sha256(FILES["001_a.sql"].encode()).hexdigest()
#: The tables of release 0.1.0; its RLS is left out where a test wants every role to see the rows.
HISTORY = """version varchar(255) PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, execution_time_ms integer,
  checksum varchar(64), rollback_sql text, kind text NOT NULL DEFAULT 'versioned', run_id uuid,
  floor boolean NOT NULL DEFAULT false"""
LOG = """id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(), run_id uuid NOT NULL, version varchar(255),
  event text NOT NULL, runner text NOT NULL, detail jsonb NOT NULL DEFAULT '{}'"""
TABLES = f"""CREATE TABLE schema_migrations ({HISTORY});
CREATE TABLE schema_migrations_log ({LOG});"""
#: 001_a is said to be applied, and its undo is code of mallory's.
FORGED = f"""INSERT INTO schema_migrations (version, checksum, rollback_sql, run_id)
  VALUES ('001_a', '{CHECKSUM}', 'SELECT evil.take();', '11111111-2222-4333-8444-555555555555');
INSERT INTO schema_migrations_log (run_id, version, event, runner)
  VALUES ('11111111-2222-4333-8444-555555555555', '001_a', 'applied', 'migrator/forged');"""
#: Of all that the role has in the schema.
OPEN = """DO $$ DECLARE made regclass; BEGIN
  FOR made IN SELECT oid FROM pg_class WHERE relowner = current_user::regrole
                 AND relnamespace = '{schema}'::regnamespace AND relkind IN ('r','p','v','m','f')
  LOOP EXECUTE format('GRANT ALL ON %s TO PUBLIC', made); END LOOP;
END $$;"""

FOOTHOLD = """
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE SEQUENCE evil.ran;
GRANT ALL ON SEQUENCE evil.ran TO PUBLIC;
CREATE TABLE evil.loot (who name);
GRANT ALL ON TABLE evil.loot TO PUBLIC;
CREATE FUNCTION evil.take() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
CREATE FUNCTION evil.sly(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
  'BEGIN PERFORM evil.take(); RETURN $1; END';
CREATE FUNCTION evil.spring() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM evil.take(); RETURN NEW; END';
CREATE DOMAIN evil.word AS varchar(255) CHECK (evil.sly(VALUE) IS NOT NULL);
CREATE TYPE evil.mood AS ENUM ('planted');
CREATE FUNCTION evil.shown(evil.mood) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN PERFORM evil.take(); RETURN '001_a'; END$$;
CREATE CAST (evil.mood AS text) WITH FUNCTION evil.shown(evil.mood) AS IMPLICIT;
CREATE FUNCTION evil.packed(evil.mood) RETURNS json LANGUAGE plpgsql IMMUTABLE AS
  $$BEGIN PERFORM evil.take(); RETURN '1'; END$$;
CREATE CAST (evil.mood AS json) WITH FUNCTION evil.packed(evil.mood);
CREATE TYPE evil.pair AS (a int);
"""
ARMED = """
CREATE OR REPLACE FUNCTION evil.take() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE wish text;
BEGIN
  IF current_user <> 'mallory' THEN
    PERFORM nextval('evil.ran');
    INSERT INTO evil.loot VALUES (current_user);
    FOREACH wish IN ARRAY ARRAY[
      'ALTER ROLE mallory SUPERUSER', 'GRANT deployer TO mallory',
      'GRANT pg_write_all_data TO mallory'] LOOP
      BEGIN EXECUTE wish; EXCEPTION WHEN OTHERS THEN NULL; END;
    END LOOP;
  END IF;
  RETURN true;
END $$
"""
GAINED = """SELECT
  ARRAY(SELECT 'SUPERUSER' FROM pg_roles WHERE rolname = 'mallory' AND rolsuper)
  || ARRAY(SELECT 'member of ' || roleid::regrole FROM pg_auth_members
            WHERE member = 'mallory'::regrole)
  || ARRAY(SELECT 'has run' FROM evil.ran WHERE is_called)
  || ARRAY(SELECT 'as ' || who FROM evil.loot)"""
TAKEN_BACK = """ALTER ROLE mallory NOSUPERUSER; REVOKE deployer, pg_write_all_data FROM mallory;
TRUNCATE evil.loot; ALTER SEQUENCE evil.ran RESTART"""
ROLES = """DROP ROLE IF EXISTS mallory; DROP ROLE IF EXISTS deployer;
CREATE ROLE mallory LOGIN PASSWORD 'throwaway'; CREATE ROLE deployer LOGIN PASSWORD 'throwaway'"""
RIGHTS = """DO $$ BEGIN
  EXECUTE format('GRANT CREATE ON DATABASE %I TO mallory, deployer', current_database());
END $$;
GRANT CREATE, USAGE ON SCHEMA public TO mallory, deployer;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
GRANT USAGE ON FOREIGN SERVER nowhere TO mallory"""


@dataclass(frozen=True)
class Stage:
    """A database in which mallory has its foothold, and the logins that the job may have."""

    database: Database  #: for its superuser

    @property
    def mallory(self) -> Database:
        return self.database.as_user("mallory", "throwaway")

    @property
    def deployer(self) -> Database:
        """A login that may create in `public` and in the database, and owns neither."""
        return self.database.as_user("deployer", "throwaway")

    def login(self, name: str) -> Database:
        return self.deployer if name == "deployer" else self.database

    def plant(self, *statements: str, schema: str = "public") -> None:
        """Run them as mallory in that schema, open what is there to all roles, and arm the code."""
        path = f"SET search_path = {schema};"
        self.mallory.query("\n".join((path, *statements, OPEN.format(schema=schema))))
        self.mallory.query(ARMED)

    def gained(self) -> list[str]:
        """What mallory has by now that it had not; taken back, so that the next look starts anew.

        Whatever ran as another role is in it, though its transaction was rolled back.
        """
        ((gained,),) = self.database.query(GAINED)
        if gained:
            self.database.query(TAKEN_BACK)
        return list(gained)

    def has(self, *tables: str) -> list[str]:
        """Which of these tables there are."""
        return [
            name for name in tables if self.database.query("SELECT to_regclass(%s)", name)[0][0]
        ]


@contextmanager
def intruded(database: Database) -> Iterator[Stage]:
    """Within, the roles are there, and mallory has its foothold."""
    for statement in ROLES.split(";"):
        database.query(statement)
    database.query(RIGHTS)
    made = Stage(database)
    made.mallory.query(FOOTHOLD)
    try:
        yield made
    finally:
        dismiss(database, "mallory", "deployer")


def dismiss(database: Database, *roles: str) -> None:
    """Drop the roles; what they have in this database, or the database itself, is its superuser's.

    The tables go with the database.
    """
    names = ", ".join(roles)
    database.query(f"REASSIGN OWNED BY {names} TO CURRENT_USER; DROP OWNED BY {names} CASCADE")
    database.query(f"DROP ROLE {names}")


@dataclass(frozen=True)
class Plant:
    """One way to plant code in a table `{t}` that looks like ours."""

    id: str
    sql: str
    named: str  #: what a refusal names: the trigger, function, policy, type or table
    reads: str = "refused"  #: a command that reads only: refused, warned, either, or hidden by RLS
    both: bool = True  #: of the log table as well as of the history

    @property
    def seen(self) -> bool:
        """Whether it is still a table."""
        return self.id not in {"view", "materialized view", "foreign table"}


RENAMED = "ALTER TABLE {t} RENAME TO planted;\n"
PLANTS = [
    Plant(
        "view",
        RENAMED + "CREATE VIEW {t} AS SELECT p.* FROM planted AS p WHERE evil.take();",
        "schema_migrations",
        both=False,
    ),
    Plant(
        "materialized view",
        RENAMED + "CREATE MATERIALIZED VIEW {t} AS SELECT * FROM planted;\n"
        "CREATE INDEX ON {t} (evil.sly('x'));",
        "schema_migrations",
        both=False,
    ),
    Plant(
        "foreign table",
        RENAMED + "CREATE FOREIGN TABLE {t} (version varchar(255) DEFAULT evil.sly('x'), "
        "applied_at timestamptz, execution_time_ms int, checksum varchar(64), rollback_sql text, "
        "kind text, run_id uuid, floor boolean) SERVER nowhere;",
        "schema_migrations",
        both=False,
    ),
    Plant("rule", "CREATE RULE also AS ON INSERT TO {t} DO ALSO SELECT evil.take();", "also"),
    Plant(
        "child",
        "CREATE TABLE evil.child () INHERITS ({t}); CREATE INDEX ON evil.child (evil.sly('x'));",
        "schema_migrations",
    ),
    Plant(
        "partition",
        RENAMED + "CREATE TABLE {t} (LIKE planted INCLUDING DEFAULTS)\n"
        "  PARTITION BY LIST (evil.sly(version));\n"
        "CREATE TABLE evil.part PARTITION OF {t} DEFAULT;\n"
        "CREATE INDEX ON evil.part (evil.sly('x'));\n"
        "INSERT INTO {t} SELECT * FROM planted;",
        "schema_migrations",
        both=False,
    ),
    Plant("domain", "ALTER TABLE {t} ALTER version TYPE evil.word;", "word"),
    Plant(
        "enum with a cast to text",
        "ALTER TABLE {t} ALTER version TYPE evil.mood USING 'planted';",
        "mood",
    ),
    Plant(
        "enum with a cast to json",
        "ALTER TABLE {t} ALTER run_id TYPE evil.mood USING 'planted';",
        "mood",
    ),
    Plant("composite type", "ALTER TABLE {t} ALTER run_id TYPE evil.pair USING ROW(1);", "pair"),
    Plant("index", "CREATE INDEX ON {t} (evil.sly(version));", "sly"),
    Plant("index of a constant", "CREATE INDEX ON {t} (evil.sly('x'));", "sly"),
    Plant("partial index", "CREATE INDEX ON {t} (version) WHERE evil.sly('x') <> version;", "sly"),
    Plant(
        "statistics",
        "CREATE STATISTICS evil.counted ON (evil.sly('x')), (evil.sly(version)) FROM {t};",
        "sly",
    ),
    Plant("check", "ALTER TABLE {t} ADD CHECK (evil.sly(version) IS NOT NULL);", "sly"),
    Plant(
        "policy",
        "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY;\n"
        "CREATE POLICY peek ON {t} USING (evil.sly('x') = 'x');",
        "peek",
        reads="hidden",
    ),
    Plant(
        "policy for what is written",
        "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY;\nCREATE POLICY seen ON {t} USING (true);\n"
        "CREATE POLICY peek ON {t} AS RESTRICTIVE FOR INSERT"
        " WITH CHECK (evil.sly(version) IS NOT NULL);",
        "peek",
        reads="either",
    ),
    Plant(
        "generated column",
        "ALTER TABLE {t} ADD spied text GENERATED ALWAYS AS (evil.sly(version)) STORED;",
        "sly",
        reads="either",
    ),
    Plant(
        "trigger",
        "CREATE TRIGGER snare BEFORE INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION evil.spring();",
        "snare",
        reads="warned",
    ),
    Plant(
        "trigger of a statement",
        "CREATE TRIGGER snare AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {t}"
        " EXECUTE FUNCTION evil.spring();",
        "snare",
        reads="warned",
    ),
    Plant("default", "ALTER TABLE {t} ADD spied text DEFAULT evil.sly('x');", "sly", "warned"),
    Plant(
        "partition of another table",
        RENAMED + "CREATE TABLE evil.whole (LIKE planted INCLUDING DEFAULTS)\n"
        "  PARTITION BY LIST (evil.sly(version));\n"
        "CREATE TABLE {t} PARTITION OF evil.whole DEFAULT;\n"
        "INSERT INTO {t} SELECT * FROM planted;",
        "schema_migrations",
        both=False,
    ),
    Plant(
        "partitioned by an expression, and empty",
        RENAMED + "CREATE TABLE {t} (LIKE planted INCLUDING DEFAULTS)"
        " PARTITION BY LIST (evil.sly(version));",
        "schema_migrations",
        both=False,
    ),
    Plant(
        "check that runs SQL",
        "ALTER TABLE {t} ADD CONSTRAINT sneaky CHECK (query_to_xml('SELECT evil.take()', true,"
        " true, '') IS NOT NULL) NOT VALID;",
        "sneaky",
    ),
    Plant(
        "default that runs SQL",
        "ALTER TABLE {t} ADD spied tsquery; ALTER TABLE {t} ALTER spied SET DEFAULT"
        " ts_rewrite('a', 'SELECT ''a''::tsquery, ''b''::tsquery WHERE evil.take()');",
        "spied",
        reads="warned",
    ),
    Plant(
        "trigger that runs SQL in its condition",
        "CREATE TRIGGER snare BEFORE UPDATE ON {t} FOR EACH ROW WHEN (query_to_xml("
        "'SELECT evil.take()', true, true, '') IS NULL)"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger();",
        "snare",
        reads="warned",
    ),
]
#: These call no function but PostgreSQL's own: a refusal names who owns the table.
OF_ITS_OWNER = {"rule", "child", "policy"} | {one.id for one in PLANTS if "SQL" in one.id}


#: One of each kind, where every way to plant code comes to the same check.
SOME = {"view", "rule", "enum with a cast to text", "index of a constant", "policy"} | {
    *("trigger", "default")
}


def planted(name: str) -> Plant:
    """The plant of this id."""
    return next(plant for plant in PLANTS if plant.id == name)


def each_plant(*plants: Plant) -> pytest.MarkDecorator:
    """The test, once for each of them."""
    return pytest.mark.parametrize("plant", [pytest.param(plant, id=plant.id) for plant in plants])


def full_but_for_some(plant: Plant) -> Sequence[pytest.MarkDecorator]:
    """For tests that meet each plant by the way of another test, which the gate has whole."""
    return [] if plant.id in SOME else [pytest.mark.full]
