"""A small folder of each tool, with the history that the tool leaves once two of three files ran.

The tables are those of the tools' sources and of histories that the tools made themselves
(tests/fixtures/adopt, tests/peers); docs/switching.md has a section for each.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ONE, TWO, THREE = (
    f"CREATE TABLE {name} (a int DEFAULT {number});\n"
    for number, name in enumerate(("one", "two", "three"), 1)
)
TEXTS = (ONE, TWO, THREE)
DROPS = ("DROP TABLE one;\n", "DROP TABLE two;\n", "DROP TABLE three;\n")
DAYS = ("20240101000000", "20240102000000", "20240103000000")


@dataclass(frozen=True)
class Left:
    """What a tool has left: a folder, and its history in SQL."""

    files: dict[str, str]
    versions: tuple[str, str, str]  #: as they are called here
    history: str  #: after ONE and TWO
    proved: str  #: what is known of the two
    lock: int | None = None
    settings: dict[str, str] = field(default_factory=dict)

    def lay(self, folder: Path) -> Path:
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    @property
    def sql(self) -> str:
        return f"{ONE}{TWO}{self.history}"


def marked(above: str, between: str) -> list[str]:
    return [f"{above}\n{up}\n{between}\n{down}" for up, down in zip(TEXTS, DROPS, strict=True)]


def named(names: tuple[str, str, str], texts: list[str] | tuple[str, ...]) -> dict[str, str]:
    return dict(zip(names, texts, strict=True))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def crc(text: str) -> int:
    found = zlib.crc32(text.replace("\n", "").encode())
    return found - 2**32 if found >= 2**31 else found


def graphile(bodies: Sequence[str]) -> tuple[list[str], list[str]]:
    """The committed files of these texts, and their hashes."""
    texts, hashes, before = [], [], ""
    for text in bodies:
        body = f"{before}\n{text.strip()}".strip() + "\n"
        hashed = f"sha1:{hashlib.sha1(body.encode(), usedforsecurity=False).hexdigest()}"
        texts.append(f"--! Previous: {before or '-'}\n--! Hash: {hashed}\n\n{text}")
        hashes.append(hashed)
        before = hashed
    return texts, hashes


def drizzle(tags: Sequence[str]) -> str:
    """The journal of files with these names."""
    entries = [
        {
            "idx": place,
            "version": "7",
            "when": 1704067200000 + place,
            "tag": tag,
            "breakpoints": True,
        }
        for place, tag in enumerate(tags)
    ]
    return json.dumps({"version": "7", "dialect": "postgresql", "entries": entries})


def running(names: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Atlas's hash of each file, which is over all files up to it."""
    one, found = hashlib.sha256(), []
    for name, text in zip(names, texts, strict=True):
        one.update(name.encode() + text.encode())
        found.append(base64.b64encode(one.digest()).decode())
    return found


def atlas_sum(names: Sequence[str], texts: Sequence[str]) -> str:
    """atlas.sum of these files."""
    hashes = running(names, texts)
    lines = [f"{name} h1:{hashed}" for name, hashed in zip(names, hashes, strict=True)]
    whole = hashlib.sha256("".join(line.replace(" h1:", "") for line in lines).encode())
    return "\n".join([f"h1:{base64.b64encode(whole.digest()).decode()}", *lines, ""])


ATLAS = ("20240101000000_one.sql", "20240102000000_create-two.sql", "20240103000000_three.sql")
RUNNING = running(ATLAS, TEXTS)
COMMITTED, HASHES = graphile(TEXTS)
OWN_SCHEMA = {"MIGRATIONS_SCHEMA": "migrator"}  # where the tool's table has the name of ours
STEMS = ("001_one", "002_create-two", "003_three")
PRISMA = tuple(f"{day}_{name}" for day, name in zip(DAYS, ("one", "two", "three"), strict=True))
DIESEL = ("2024-01-01-000000_one", "2024-01-02-000000_two", "2024-01-03-000000_three")
GOOSE = marked("-- +goose Up", "-- +goose Down")
LEFT = {
    "golang-migrate": Left(
        {
            "000001_create-one.up.sql": ONE,
            "000001_create-one.down.sql": DROPS[0],
            "000002_two.up.sql": TWO,
            "000002_two.down.sql": DROPS[1],
            "000003_three.up.sql": THREE,
        },
        ("000001_create-one", "000002_two", "000003_three"),
        "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, "
        "dirty boolean NOT NULL);\nINSERT INTO schema_migrations VALUES (2, false);",
        "not provable",
        settings=OWN_SCHEMA,
    ),
    "dbmate": Left(
        named(
            ("20240101000000_one.sql", "20240102000000_create-two.sql", "20240103000000_three.sql"),
            marked("-- migrate:up", "-- migrate:down"),
        ),
        ("20240101000000_one", "20240102000000_create-two", "20240103000000_three"),
        "CREATE TABLE schema_migrations (version varchar NOT NULL PRIMARY KEY);\n"
        f"INSERT INTO schema_migrations VALUES ('{DAYS[0]}'), ('{DAYS[1]}');",
        "not provable",
        settings=OWN_SCHEMA,
    ),
    "goose": Left(
        named(("00001_one.sql", "00002_create-two.sql", "00003_three.sql"), GOOSE),
        ("00001_one", "00002_create-two", "00003_three"),
        "CREATE TABLE goose_db_version (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, "
        "version_id bigint NOT NULL, is_applied boolean NOT NULL, "
        "tstamp timestamp NOT NULL DEFAULT now());\n"
        "INSERT INTO goose_db_version (version_id, is_applied) "
        "VALUES (0, true), (1, true), (2, true);",
        "not provable",
        4097083626,
    ),
    "supabase": Left(
        named(
            ("20240101000000_one.sql", "20240102000000_create-two.sql", "20240103000000_three.sql"),
            TEXTS,
        ),
        ("20240101000000_one", "20240102000000_create-two", "20240103000000_three"),
        "CREATE SCHEMA supabase_migrations;\n"
        "CREATE TABLE supabase_migrations.schema_migrations "
        "(version text NOT NULL PRIMARY KEY, statements text[], name text);\n"
        "INSERT INTO supabase_migrations.schema_migrations VALUES "
        f"('{DAYS[0]}', ARRAY['{ONE.strip().rstrip(';')}'], 'one'), "
        f"('{DAYS[1]}', ARRAY['{TWO.strip().rstrip(';')}'], 'create-two');",
        "equal",
    ),
    "prisma": Left(
        {
            **{f"{name}/migration.sql": t for name, t in zip(PRISMA, TEXTS, strict=True)},
            "migration_lock.toml": 'provider = "postgresql"\n',
        },
        (PRISMA[0], PRISMA[1], PRISMA[2]),
        "CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY, "
        "checksum varchar(64) NOT NULL, finished_at timestamptz, "
        "migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz, "
        "started_at timestamptz NOT NULL DEFAULT now(), "
        "applied_steps_count int NOT NULL DEFAULT 0);\n"
        "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES "
        f"('1', '{sha256(ONE)}', now(), '{PRISMA[0]}'), "
        f"('2', '{sha256(TWO)}', now(), '{PRISMA[1]}');",
        "equal",
        72707369,
    ),
    "drizzle": Left(
        {
            **named(("0000_one.sql", "0001_two.sql", "0002_three.sql"), TEXTS),
            "meta/_journal.json": drizzle(("0000_one", "0001_two", "0002_three")),
        },
        ("0000_one", "0001_two", "0002_three"),
        "CREATE SCHEMA drizzle;\nCREATE TABLE drizzle.__drizzle_migrations "
        "(id serial PRIMARY KEY, hash text NOT NULL, created_at bigint);\n"
        "INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES "
        f"('{sha256(ONE)}', 1704067200000), ('{sha256(TWO)}', 1704067200001);",
        "equal",
    ),
    "diesel": Left(
        {
            f"{name}/{file}": text
            for name, up, down in zip(DIESEL, TEXTS, DROPS, strict=True)
            for file, text in (("up.sql", up), ("down.sql", down))
        },
        DIESEL,
        "CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY, "
        "run_on timestamp NOT NULL DEFAULT now());\n"
        "INSERT INTO __diesel_schema_migrations (version) "
        f"VALUES ('{DAYS[0]}'), ('{DAYS[1]}');",
        "not provable",
    ),
    "sql-migrate": Left(
        named(
            ("001_one.sql", "002_create-two.sql", "003_three.sql"),
            marked("-- +migrate Up", "-- +migrate Down"),
        ),
        STEMS,
        "CREATE TABLE gorp_migrations (id text NOT NULL PRIMARY KEY, applied_at timestamptz);\n"
        "INSERT INTO gorp_migrations VALUES ('001_one.sql', now()), "
        "('002_create-two.sql', now());",
        "not provable",
    ),
    "micrate": Left(
        named(
            ("001_one.sql", "002_create-two.sql", "003_three.sql"),
            marked("-- +micrate Up", "-- +micrate Down"),
        ),
        STEMS,
        "CREATE TABLE micrate_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, "
        "is_applied boolean NOT NULL, tstamp timestamp NULL DEFAULT now());\n"
        "INSERT INTO micrate_db_version (version_id, is_applied) VALUES (1, true), (2, true);",
        "not provable",
    ),
    "tern": Left(
        named(
            ("001_one.sql", "002_create-two.sql", "003_three.sql"),
            [
                f"{up}---- create above / drop below ----\n{down}"
                for up, down in zip(TEXTS, DROPS, strict=True)
            ],
        ),
        STEMS,
        "CREATE TABLE schema_version (version int4 NOT NULL);\n"
        "INSERT INTO schema_version VALUES (2);",
        "not provable",
        9628173550095224,
    ),
    "node-pg-migrate": Left(
        named(
            ("1700000000000_one.sql", "1700000000001_create-two.sql", "1700000000002_three.sql"),
            marked("-- Up Migration", "-- Down Migration"),
        ),
        ("1700000000000_one", "1700000000001_create-two", "1700000000002_three"),
        "CREATE TABLE pgmigrations (id serial PRIMARY KEY, name varchar(255) NOT NULL, "
        "run_on timestamp NOT NULL);\n"
        "INSERT INTO pgmigrations (name, run_on) VALUES ('1700000000000_one', now()), "
        "('1700000000001_create-two', now());",
        "not provable",
        7241865325823964,
    ),
    "sqlx": Left(
        {
            "1_one.up.sql": f"-- no-transaction\n{ONE}",
            "1_one.down.sql": DROPS[0],
            "2_create-two.up.sql": TWO,
            "2_create-two.down.sql": DROPS[1],
            "3_three.up.sql": THREE,
            "3_three.down.sql": DROPS[2],
        },
        ("1_one", "2_create-two", "3_three"),
        "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, "
        "installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, "
        "checksum bytea NOT NULL, execution_time bigint NOT NULL);\n"
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
        "VALUES (1, 'one', true, sha384(convert_to("
        f"E'-- no-transaction\\n{ONE.strip()}\\n', 'UTF8')), 1), "
        f"(2, 'create-two', true, sha384(convert_to(E'{TWO.strip()}\\n', 'UTF8')), 1);",
        "equal",
        settings={"FOLDER_FORMAT": "sqlx"},
    ),
    "graphile-migrate": Left(
        named(
            (
                "committed/000001-one.sql",
                "committed/000002-create-two.sql",
                "committed/000003-three.sql",
            ),
            COMMITTED,
        ),
        ("000001-one", "000002-create-two", "000003-three"),
        "CREATE SCHEMA graphile_migrate;\nCREATE TABLE graphile_migrate.migrations ("
        "hash text PRIMARY KEY, previous_hash text REFERENCES graphile_migrate.migrations, "
        "filename text NOT NULL, date timestamptz NOT NULL DEFAULT now());\n"
        "INSERT INTO graphile_migrate.migrations (hash, previous_hash, filename) VALUES "
        f"('{HASHES[0]}', NULL, '000001.sql'), ('{HASHES[1]}', '{HASHES[0]}', '000002.sql');",
        "equal",
        4727445306447283,
    ),
    "flyway": Left(
        named(("V1__One.sql", "V1.1__Create_two.sql", "V2__three.sql"), TEXTS),
        ("V1__One", "V1.1__Create_two", "V2__three"),
        "CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), "
        "description varchar(200) NOT NULL, type varchar(20) NOT NULL, "
        "script varchar(1000) NOT NULL, checksum int, installed_by varchar(100) NOT NULL, "
        "installed_on timestamp NOT NULL DEFAULT now(), execution_time int NOT NULL, "
        "success boolean NOT NULL);\n"
        "INSERT INTO flyway_schema_history (installed_rank, version, description, type, script, "
        "checksum, installed_by, execution_time, success) VALUES "
        f"(1, '1', 'One', 'SQL', 'V1__One.sql', {crc(ONE)}, 'me', 1, true), "
        f"(2, '1.1', 'Create two', 'SQL', 'V1.1__Create_two.sql', {crc(TWO)}, 'me', 1, true);",
        "equal",
    ),
    "liquibase": Left(
        named(
            ("001_one.sql", "sub/002_create-two.sql", "sub/003_three.sql"),
            [
                f"--liquibase formatted sql\n--changeset alice:{number}\n{up}--rollback {down}"
                for number, (up, down) in enumerate(zip(TEXTS, DROPS, strict=True), 1)
            ],
        ),
        ("001_one:alice:1", "sub/002_create-two:alice:2", "sub/003_three:alice:3"),
        "CREATE TABLE databasechangelog (id varchar(255) NOT NULL, author varchar(255) NOT NULL, "
        "filename varchar(255) NOT NULL, dateexecuted timestamp NOT NULL, "
        "orderexecuted int NOT NULL, exectype varchar(10) NOT NULL, md5sum varchar(35), "
        "description varchar(255), comments varchar(255), tag varchar(255), "
        "liquibase varchar(20), contexts varchar(255), labels varchar(255), "
        "deployment_id varchar(10));\n"
        "INSERT INTO databasechangelog (id, author, filename, dateexecuted, orderexecuted, "
        "exectype, md5sum) VALUES "
        "('1', 'alice', 'classpath:db/changelog/001_one.sql', now(), 1, 'EXECUTED', '9:x'), "
        "('2', 'alice', 'db/changelog/sub/002_create-two.sql', now(), 2, 'RERAN', '9:y');\n"
        "CREATE TABLE databasechangeloglock (id int PRIMARY KEY, locked boolean NOT NULL, "
        "lockgranted timestamp, lockedby varchar(255));\n"
        "INSERT INTO databasechangeloglock VALUES (1, false, NULL, NULL);",
        "not provable",
    ),
    "atlas": Left(
        {**named(ATLAS, TEXTS), "atlas.sum": atlas_sum(ATLAS, TEXTS)},
        (ATLAS[0][:-4], ATLAS[1][:-4], ATLAS[2][:-4]),
        "CREATE SCHEMA atlas_schema_revisions;\n"
        "CREATE TABLE atlas_schema_revisions.atlas_schema_revisions ("
        "version varchar PRIMARY KEY, description varchar NOT NULL, "
        "type bigint NOT NULL DEFAULT 2, applied bigint NOT NULL DEFAULT 0, "
        "total bigint NOT NULL DEFAULT 0, executed_at timestamptz NOT NULL, "
        "execution_time bigint NOT NULL, error text, error_stmt text, hash varchar NOT NULL, "
        "partial_hashes jsonb, operator_version varchar NOT NULL);\n"
        "INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES "
        + ", ".join(
            f"('{version}', '{name}', 2, 1, 1, now(), 1, NULL, NULL, '{hashed}', NULL, 'v')"
            for version, name, hashed in (
                ("20240101000000", "one", RUNNING[0]),
                ("20240102000000", "create-two", RUNNING[1]),
                (".atlas_cloud_identifier", "", ""),
            )
        )
        + ";",
        "equal",
    ),
}
