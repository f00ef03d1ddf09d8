"""Folders as eight tools leave them, each rule of docs/formats.md once, and what psql runs of them.

`SCRIPTS` are the texts that people write; a tool's folder is these with the tool's names, marks and
line ends around them. What a mark leaves out is text that no server would run.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

from tests.switching import drizzle

WRONG = "SELECT 'this never runs' / 0;\n"
ALONE = "CREATE INDEX CONCURRENTLY log_place ON log (place);\n"
ALONE_DOWN = "DROP INDEX CONCURRENTLY log_place;\n"


@dataclass(frozen=True)
class Step:
    """What psql runs of one migration; `alone` is outside a transaction."""

    version: str
    up: str
    down: str | None = None
    alone: bool = False
    down_alone: bool = False


@dataclass
class Golden:
    """A folder, and its steps in the order of the tool. `base` is the last one without an undo."""

    files: dict[str, str | bytes] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    base: str = ""
    settings: dict[str, str] = field(default_factory=dict)


def script(number: int, more: str = "") -> tuple[str, str]:
    """One that says when it ran, and its undo."""
    up = f"INSERT INTO log (place) VALUES ('up {number}');\n{more}"
    return up, f"INSERT INTO log (place) VALUES ('down {number}');\n"


FIRST = (
    "CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY, place text, note text DEFAULT 'x;y');"
)
BODY = """CREATE FUNCTION f{0}() RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
  -- a ; and 'a quote
  EXECUTE $sql$SELECT ';$body'$sql$;
  RETURN $$a;b$$; /* ; */
END $body$;
"""
#: Texts that are hard to read, with what undoes them.
HARD = [
    (BODY.format(1), "DROP FUNCTION f1();\n"),
    ("INSERT INTO log (place) VALUES ('a;b -- no comment /* nor this');\n", "SELECT 1;\n"),
    (
        "/* a ; /* nested ; */ ' */ INSERT INTO log (place) VALUES (E'it\\'s; one');\n",
        "SELECT 1;\n",
    ),
    ('CREATE TABLE "a;b -- c" ("Col;1" int, "x""y" text);\n', 'DROP TABLE "a;b -- c";\n'),
    ("DO $do$ BEGIN PERFORM 1; INSERT INTO log (place) VALUES ('done;'); END $do$;\n", "SELECT;\n"),
    (
        "CREATE TABLE parent (id int PRIMARY KEY);\n"
        "CREATE TABLE child (id int REFERENCES parent);\n"
        "COMMENT ON TABLE child IS 'one;\ntwo -- three';\n",
        "DROP TABLE child;\nDROP TABLE parent;\n",
    ),
    ("CREATE TYPE mood AS ENUM ('ok;', 'sad');\n", "DROP TYPE mood;\n"),
    ("CREATE VIEW v AS SELECT $a$;$a$ AS one, 'b'\n'c' AS two\n;\n", "DROP VIEW v;\n"),
    (
        "SET search_path = pg_catalog;\nINSERT INTO public.log (place) VALUES ('path');\n",
        "SELECT 1;\n",
    ),
    ("INSERT INTO log (place) VALUES (U&'d\\0061t\\+000061'), ('Ünï✓');\n", "SELECT 1;\n"),
]
SCRIPTS = [
    script(number, HARD[number][0] if number < len(HARD) else "") for number in range(len(HARD) + 8)
]
SCRIPTS = [
    (up, (HARD[n][1] if n < len(HARD) else "") + down) for n, (up, down) in enumerate(SCRIPTS)
]
OWN_TRANSACTION = "BEGIN;\nINSERT INTO log (place) VALUES ('own');\nCOMMIT;\n"
OWN_UNDO = "BEGIN;\nINSERT INTO log (place) VALUES ('own undo');\nCOMMIT;\n"


def crlf(text: str) -> str:
    return text.replace("\n", "\r\n")


def with_bom(text: str) -> bytes:
    return codecs.BOM_UTF8 + text.encode()


def written(*ways: Callable[[str], str | bytes]) -> Iterator[Callable[[str], str | bytes]]:
    """How one file after the other is written."""
    return cycle(ways)


def golang_migrate() -> Golden:
    made = Golden(base="003_No.undo here")
    names = ["4_b-hyphen", "05_Capital", "6_with.dots", "7_", "8_Ünïcode", "9_nine", "10_ten"]
    names += ["0011_eleven", "12_a__b", "13_@home", "14_14", "20_twenty", "99_z", "100_a"]
    names += ["2023_year", "20240101_day", "20240101120000_second", "20240101120001_up.up"]
    made.files |= {"0_zero.up.sql": FIRST, "1_empty.up.sql": "", "1_empty.down.sql": ""}
    made.files |= {"2_later.up.sql": "-- nothing; yet\n", "003_No.undo here.up.sql": "SELECT 3"}
    made.files |= {"README.md": "# 5_x.up.sql", "notes/7_x.txt": WRONG, "schema.sql": WRONG}
    for version, text in (("0_zero", FIRST), ("1_empty", ""), ("2_later", ""), (made.base, "")):
        made.steps.append(Step(version, text))
    kinds = written(str, crlf, with_bom)
    for version, (up, down), kind in zip(names, SCRIPTS, kinds, strict=False):
        made.files[f"{version}.up.sql"] = kind(up)
        made.files[f"{version}.down.sql"] = kind(down)
        made.steps.append(Step(version, up, down))
    made.files["13_other name.down.sql"] = made.files.pop("13_@home.down.sql")  # by number alone
    made.files |= {
        "20240101120002_i.up.sql": f"-- why\n{ALONE}",
        "20240101120002_i.down.sql": ALONE_DOWN,
        "20240101120003_own.up.sql": OWN_TRANSACTION,
        "20240101120003_own.down.sql": OWN_UNDO,
    }
    made.steps += [
        Step("20240101120002_i", ALONE, ALONE_DOWN, alone=True, down_alone=True),
        Step("20240101120003_own", OWN_TRANSACTION, OWN_UNDO, alone=True, down_alone=True),
    ]
    return made


def dbmate() -> Golden:
    made = Golden(base="20240101")
    made.files["20240101.sql"] = f"-- migrate:up\n{FIRST}\n-- migrate:down\n"
    made.steps.append(Step("20240101", FIRST))
    ways = (
        "-- migrate:up\n{up}\n-- migrate:down\n{down}",
        "--migrate:up\n{up}\n--   migrate:down\n{down}",
        "-- why ; this\n\n   -- and that\n-- migrate:up\n{up}-- migrate:down\n{down}",
        "-- migrate:upwards is no mark\n-- migrate:up   \n{up}-- migrate:down\n{down}",
        "-- migrate:up transaction:true other:1\n{up}\n-- migrate:down\n{down}",
        "-- migrate:up Transaction:False\n{up}\n-- migrate:down transaction:true\n{down}",
        "-- migrate:up\n{up}-- see migrate:down\n-- migrate:down\n{down}",
    )
    tails = ("", "name", "-hyphen", ".dot", "_Ünï", " blank", "_A__b", "_", "_a.b.sql")
    kinds = written(str, str, crlf, str, str)
    for number, (up, down), way, tail, kind in zip(
        range(2, 22), SCRIPTS, cycle(ways), cycle(tails), kinds, strict=False
    ):
        version = f"202401{number:02}{tail}"
        made.files[f"{version}.sql"] = kind(way.format(up=up, down=down))
        made.steps.append(Step(version, up, down))
    made.files |= {
        "20240130_i.sql": f"-- migrate:up transaction:false\n{ALONE}-- migrate:down\n{WRONG}",
        "20240131_empty.sql": "-- migrate:up\n-- migrate:down\n",
        "README.md": WRONG,
        "schema.sql": WRONG,
    }
    made.files["20240130_i.sql"] = (
        f"-- migrate:up transaction:false\n{ALONE}"
        f"-- migrate:down  other:x transaction:false\n{ALONE_DOWN}"
    )
    made.files["20240129_half.sql"] = (
        f"-- migrate:up transaction:false\n{ALONE.replace('place ', 'half ')}"
        "-- migrate:down\nDROP INDEX log_half;\n"
    )
    made.files["20240131_down.sql"] = f"-- migrate:up\n-- migrate:down\n{SCRIPTS[-1][1]}"
    del made.files["20240131_empty.sql"]
    made.steps += [
        Step("20240129_half", ALONE.replace("place ", "half "), "DROP INDEX log_half;", alone=True),
        Step("20240130_i", ALONE, ALONE_DOWN, alone=True, down_alone=True),
        Step("20240131_down", "", SCRIPTS[-1][1]),
    ]
    return made


def goose() -> Golden:
    made = Golden(base="2_no down", settings={"PLACEHOLDER_WHO": "me;"})
    made.files["1_first.sql"] = f"-- +goose Up\n{FIRST}\n"
    made.files["2_no down.sql"] = "-- +goose Up\nSELECT 1;\n"
    made.steps += [Step("1_first", FIRST), Step("2_no down", "")]
    block = "-- +goose StatementBegin\n{up}-- +goose StatementEnd\n"
    ways = (
        f"-- +goose Up\n{block}-- +goose Down\n{{down}}",
        f"--+goose up\n{block}--   +goose DOWN   \n{{down}}",
        f"-- why;\n\n-- +goose Up\n-- a comment\n{block}\n-- +goose Down\n-- another\n{{down}}",
        f"-- +goose Up\n{block}SELECT 1; -- +goose nothing\n-- +goose Down\n{{down}}",
        f"-- +goose Up\n-- +goose ENVSUB OFF\n{block}-- +goose Down\n{{down}}",
        "-- +goose Up\n-- +goose statementbegin\nSELECT 1\n-- +goose statementend\n"
        f"-- +goose StatementBegin\nSELECT 2\n-- +goose StatementEnd\n{block}"
        "-- +goose Down\n-- +goose StatementBegin\n{down}-- +goose StatementEnd\n",
    )
    names = ["3_c-hyphen", "004_Capital", "5_with.dots", "6_", "7_Ünï", "8_blank here", "9_nine"]
    names += (
        "10_ten",
        "00011_x",
        "12_a__b",
        "13_.b",
        "20_x",
        "99_z",
        "100_a",
        "2023_y",
        "20240101_d",
    )
    names += ["20240101120000_s", "20240101120001_Last-one.v2"]
    kinds = written(str, str, crlf, str)
    for version, (up, down), way, kind in zip(names, SCRIPTS, cycle(ways), kinds, strict=False):
        made.files[f"{version}.sql"] = kind(way.format(up=up, down=down))
        made.steps.append(Step(version, up, down))
    who = "INSERT INTO log (place) VALUES ('{}');\n"
    made.files |= {
        "20240101120002_i.sql": f"-- +goose Up\n{ALONE}-- +goose NO TRANSACTION\n"
        f"-- +goose Down\n{ALONE_DOWN}",
        "20240101120003_env.sql": "-- +goose Up\n"
        + who.format("$WHO")
        + "-- +goose ENVSUB ON\n"
        + who.format("$WHO ${WHO} ${NONE:-other} ${NONE-2} \\$WHO $$WHO ${WHO:0:1}")
        + "-- +goose ENVSUB OFF\n"
        + who.format("${WHO}")
        + "-- +goose Down\n"
        + who.format("$WHO"),
        "20240101120004_none.sql": "-- +goose Up\n-- +goose Down\n" + SCRIPTS[-1][1],
        "notes.txt": WRONG,
        "help_test.go": "package m",
    }
    made.steps += [
        Step("20240101120002_i", ALONE, ALONE_DOWN, alone=True, down_alone=True),
        Step(
            "20240101120003_env",
            who.format("$WHO") + who.format("me; me; other 2 $WHO $WHO m") + who.format("${WHO}"),
            who.format("$WHO"),
        ),
        Step("20240101120004_none", "", SCRIPTS[-1][1]),
    ]
    return made


def flyway() -> Golden:
    made = Golden(base="V1.1__no_undo", settings={"PLACEHOLDER_WHO": "me;"})
    made.files |= {
        "V0.9__old.sql": WRONG,
        "V1__older.sql": WRONG,
        "B1__base.sql": FIRST,
        "V1.1__no undo.sql": "SELECT 1",
        "beforeMigrate.sql": "SELECT 1;",
        "afterMigrate.sql": "INSERT INTO log (place) VALUES ('after');",
        ".hidden/V3__x.sql": WRONG,
        "README.md": WRONG,
        "flyway.conf": "flyway.locations = filesystem:sql\nflyway.placeholders.who=you\n",
    }
    made.steps += [Step("B1__base", FIRST), Step("V1.1__no_undo", "")]
    names = ["V1_2__a-hyphen", "V1.2.1__Capital", "V1.3__with.dots", "V1.9__nine", "V1.10__ten"]
    names += ["V2", "V2.0.0.1__", "V03__Ünï", "sub/V4__in a folder", "sub/deep/V5_0_1__x"]
    names += ["V9__nine", "V10__ten", "V11__a__b", "V99__z", "V100__a", "V2024.01.02__day"]
    names += ["V20240102__date", "V20240102.1__more"]
    kinds = written(str, crlf, with_bom, str)
    for path, (up, down), kind in zip(names, SCRIPTS, kinds, strict=False):
        _, slash, name = path.rpartition("/")
        number = name[1:].partition("__")[0]
        made.files[f"{path}.{'SQL' if number == '9' else 'sql'}"] = kind(up)
        undo = f"{number.replace('.', '_')}.0" if number in ("9", "10") else number
        made.files[f"{'undo/' if slash else ''}U{undo}__other words.sql"] = kind(down)
        made.steps.append(Step(name.replace(" ", "_"), up, down))
    values = "INSERT INTO log (place) VALUES ('${{{}}} $${{x}}');\n"
    copied = "COPY log (place) FROM stdin;\na;b ${Who}\n\\.\n"
    made.files |= {
        "V20240103__i.sql": f"-- ${{who}}\n{ALONE}",
        "U20240103__i.sql": ALONE_DOWN,
        "V20240104__i.sql": ALONE.replace("CONCURRENTLY log_place", "log_conf"),
        "V20240104__i.sql.conf": "# why\nexecuteInTransaction : false\nencoding=UTF-8\n",
        "U20240104__i.sql": "DROP INDEX log_conf;",
        "V20240105__p.sql": f"-- ${{who}}\n{values.format('WHO')}{copied}"
        "DO $do$ BEGIN INSERT INTO log (place) VALUES ('${who}'); END $do$;\n",
        "U20240105__p.sql": values.format("who"),
        "V20240106__off.sql": "INSERT INTO log (place) VALUES ('${none}');",
        "V20240106__off.sql.conf": "placeholderReplacement=false",
        "U20240106__off.sql": "INSERT INTO log (place) VALUES ('${who}');",
        "R__b view.sql": "CREATE OR REPLACE VIEW rb AS SELECT a FROM ra;",
        "sub/R__a_view.sql": "CREATE OR REPLACE VIEW ra AS SELECT '${who}'::text AS a;",
        "R__empty.sql": "-- ;\n",
    }
    value = "INSERT INTO log (place) VALUES ('me; $${x}');\n"
    made.steps += [
        Step("V20240103__i", ALONE, ALONE_DOWN, alone=True, down_alone=True),
        Step(
            "V20240104__i",
            ALONE.replace("CONCURRENTLY log_place", "log_conf"),
            "DROP INDEX log_conf;",
        ),
        Step(
            "V20240105__p",
            f"{value}INSERT INTO log (place) VALUES ('a;b me;'), ('me;');\n",
            value,
        ),
        Step(
            "V20240106__off",
            "INSERT INTO log (place) VALUES ('${none}');",
            "INSERT INTO log (place) VALUES ('me;');",
        ),
        Step("R__a_view", "CREATE VIEW ra AS SELECT 'me;'::text AS a;"),
        Step("R__b_view", "CREATE VIEW rb AS SELECT a FROM ra;"),
        Step("R__empty", "INSERT INTO log (place) VALUES ('after');"),
    ]
    return made


def supabase() -> Golden:
    made = Golden()
    tails = ("first", "a-hyphen", "Capital", "with.dots", "", "Ünï", "a b", "remote_schema", "a__b")
    kinds = written(str, crlf, with_bom, str)
    texts = [
        FIRST,
        *(up for up, _ in SCRIPTS),
        OWN_TRANSACTION,
        "",
        "-- only ; words\n",
        "SELECT 1",
    ]
    for number, text, tail, kind in zip(range(99), texts, cycle(tails), kinds, strict=False):
        version = f"202401010000{number:02}_{tail}"
        made.files[f"{version}.sql"] = kind(text)
        made.steps.append(Step(version, text, alone=text == OWN_TRANSACTION))
    for number, kind, above in ((50, str, ""), (51, with_bom, "-- pg-delta: transaction=false\n")):
        text = f"CREATE INDEX CONCURRENTLY i{number} ON log (id);\n"
        made.files[f"202401010000{number}_i.sql"] = kind(above + text)
        made.steps.append(Step(f"202401010000{number}_i", text, alone=True))
    more = "-- pg-delta: transaction=false\nSELECT 1;\nCREATE INDEX CONCURRENTLY i52 ON log (id);\n"
    made.files |= {
        "20240101000052_i.sql": crlf(more),
        "README.md": WRONG,
        "old/20230101000000_x.txt": WRONG,
    }
    made.steps.append(Step("20240101000052_i", more, alone=True))
    return made


def folders(made: Golden, texts: list[str], file: str) -> Iterator[tuple[str, str]]:
    """The texts as NAME/file, with names of every kind."""
    tails = ("first", "a-hyphen", "Capital", "with.dots", "Ünï", "a b", "a__b", "init")
    kinds = written(str, crlf, str, with_bom)
    for number, text, tail, kind in zip(range(99), texts, cycle(tails), kinds, strict=False):
        version = f"202401010000{number:02}_{tail}"
        made.files[f"{version}/{file}"] = kind(text)
        yield version, text


def prisma() -> Golden:
    made = Golden(files={"migration_lock.toml": 'provider = "postgresql"\n', "README.md": WRONG})
    texts = [
        FIRST,
        *(up for up, _ in SCRIPTS),
        OWN_TRANSACTION,
        ALONE,
        "",
        "-- words ;\n",
        "SELECT 1",
    ]
    for version, text in folders(made, texts, "migration.sql"):
        alone = text in (OWN_TRANSACTION, ALONE)
        made.steps.append(Step(version, text, alone=alone))
    made.files |= {
        "20240101000003_with.dots/down.sql": WRONG,
        "20240101000004_Ünï/README.md": WRONG,
        "20240101000090_i/migration.sql": "-- CreateIndex\nVACUUM",
        "20240101000090_j/migration.sql": "CREATE TABLE of_one_number ();",
    }
    made.steps.append(Step("20240101000090_i", "VACUUM;", alone=True))
    made.steps.append(Step("20240101000090_j", "CREATE TABLE of_one_number ();"))
    return made


BREAK = "--> statement-breakpoint"


def drizzle_journal() -> Golden:
    made = Golden()
    tails = ("first", "a-hyphen", "Capital", "with.dots", "Ünï", "a b", "lame_Wolverine")
    ways = (
        "{0}" + BREAK + "\n{1}",
        "{0}\n" + BREAK + "\n{1}" + BREAK,
        "{0}" + BREAK + "\n" + BREAK + "\n{1}",
        "{0}" + BREAK + "{1}",
        "{0}\n" + BREAK + " {1}\n" + BREAK + "SELECT 3\n" + BREAK + "\nSELECT 4",
        "-- Custom SQL migration file, put your code below! --\n{0}{1}",
        "SELECT 1\n" + BREAK + "\n{0}" + BREAK + "\n{1}",
    )
    kinds = written(str, str, str, crlf)
    texts = [f"{FIRST}\n", *(up for up, _ in SCRIPTS), "SELECT 8;\n", "SELECT 9;\n"]
    more = cycle(f"INSERT INTO public.log (place) VALUES ('{n}');\n" for n in range(9))
    for number, text, tail, way, kind, last in zip(
        range(9, 99), texts, cycle(tails), cycle(ways), kinds, more, strict=False
    ):
        version = f"{number:04}_{tail}"
        made.files[f"{version}.sql"] = kind(way.format(text, last))
        made.steps.append(Step(version, text + last))
    made.files["0098_empty.sql"] = ""
    made.steps.append(Step("0098_empty", ""))
    made.files["meta/_journal.json"] = drizzle([step.version for step in made.steps])
    made.files |= {"meta/0009_snapshot.json": "{}", "schema.ts": "x", "relations.ts": "y"}
    return made


def liquibase() -> Golden:
    made = Golden(base="db/001_first:alice:1")
    head = "--liquibase formatted sql\n\n"
    made.files["db/001_first.sql"] = f"{head}--changeset alice:1\n{FIRST}\n"
    made.steps.append(Step(made.base, FIRST))
    ways = (
        ("--changeset bob:{n}\n{up}{back}", "bob:{n}"),
        (
            "-- changeset bob : a-{n}  splitStatements:false\n--comment: why;\n{up}\n{back}",
            "bob:a-{n}",
        ),
        ("--CHANGESET Bob:{n} stripComments:false dbms:postgresql,h2\n{up}{back}", "Bob:{n}"),
        ('--changeset "Bob B.":"id {n}" failOnError:true\n{up}{back}', "Bob_B.:id_{n}"),
        ("--changeset b@x.org:{n}.1 runOnChange:false\n{up}\n{block}", "b@x.org:{n}.1"),
        ("--changeset bob:Ü{n} runAlways:false\n--validCheckSum: ANY\n{up}{back}", "bob:{n}"),
    )
    kinds = written(str, crlf, with_bom, str)
    number = 0
    paths = ["db/009-hyphen", "db/010", "db/10_Capital.v2", "db/9", "db/sub/1_a", "db/sub/Z_b"]
    paths += ["db/sub/a c", "db/sub/b", "e/10", "e/11", "e/12", "e/9"]
    for place, (path, kind) in enumerate(zip(paths, kinds, strict=False)):
        text, steps = (
            head if kind is not crlf else f"\n -- LIQUIBASE formatted SQL\n{head[26:]}",
            [],
        )
        for _ in range(1 + place % 2):
            (up, down), (way, name) = SCRIPTS[number], ways[number % len(ways)]
            back = "".join(f"--rollback {line}\n" for line in down.splitlines())
            block = f"/* liquibase rollback\n{down}*/\n"
            text += way.format(n=number, up=up, back=back, block=block) + "\n"
            version = f"{path}:{name.format(n=number)}".replace(" ", "_")
            steps.append(Step(version, up, down))
            number += 1
        made.files[f"{path}.sql"] = kind(text)
        made.steps += steps
    slash = BODY.format(9).rstrip().removesuffix(";") + "\n"
    made.files |= {
        "e/91.sql": f"{head}--changeset a:i runInTransaction:false\n{ALONE}--rollback {ALONE_DOWN}",
        "e/92.sql": f"{head}--changeset a:plain\n{ALONE.replace('_place', '_2')}--rollback empty\n",
        "e/93.sql": f"{head}--changeset a:f endDelimiter://\n{slash}//\nSELECT 1\n//\n"
        "--rollback DROP FUNCTION f9();\n",
        "e/94.sql": f"{head}--changeset a:go endDelimiter:GO\nSELECT 1\nGO\n"
        "INSERT INTO log (place) VALUES ('slash')\ngo\n--rollback not required\n",
        "e/95.sql": f"{head}--changeset a:v runOnChange:true\n"
        "CREATE OR REPLACE VIEW lv AS SELECT 1;\n",
        "README.md": WRONG,
        "e/notes.txt": WRONG,
    }
    made.steps += [
        Step("e/91:a:i", ALONE, ALONE_DOWN, alone=True, down_alone=True),
        Step("e/92:a:plain", ALONE.replace("_place", "_2"), "", alone=True),
        Step("e/93:a:f", f"{slash};", "DROP FUNCTION f9();"),
        Step("e/94:a:go", "INSERT INTO log (place) VALUES ('slash');", ""),
        Step("R__e/95:a:v", "CREATE VIEW lv AS SELECT 1;"),
    ]
    return made


GOLDEN = {
    "golang-migrate": golang_migrate,
    "dbmate": dbmate,
    "goose": goose,
    "flyway": flyway,
    "supabase": supabase,
    "prisma": prisma,
    "drizzle": drizzle_journal,
    "liquibase": liquibase,
}
