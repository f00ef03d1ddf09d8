"""Flyway's folders: names, versions, what undoes what, settings beside the files, baselines."""

from __future__ import annotations

import pytest

from migrator.folder.formats.flyway import Flyway
from migrator.folder.formats.format import Pick
from migrator.model import FLYWAY, Finding, Migration, number_of
from migrator.plan.bases import without_covered
from migrator.sql.script import understand
from tests.builders import a_migration, an_applied


def pick(folder: dict[str, str] | list[str]) -> tuple[list[Pick], list[Finding]]:
    texts = folder if isinstance(folder, dict) else dict.fromkeys(folder, "")
    return Flyway().pick([*texts], lambda path: texts.get(path, ""))


def of_version(version: str) -> Migration:
    return a_migration(version, number=number_of(version))


def test_versions_are_compared_by_their_parts_and_repeatables_follow_by_description() -> None:
    names = [
        *("R__b_1.sql", "R__b1.sql", "R__a view.sql", "V1.10__c.sql", "V1_2__b.sql", "V2.sql"),
        *("sub/V001__x__y.sql", "V1.1__A-b c.SQL", "V20240101120000__d.sql", "V0.1___a.sql"),
    ]
    picks, findings = pick(names)
    assert findings == []
    made = [a_migration(p.version, number=number_of(p.version), rank=p.rank) for p in picks]
    assert [m.version for m in sorted(made, key=lambda m: m.order)] == [
        *("V0.1___a", "V001__x__y", "V1.1__A-b_c", "V1_2__b", "V1.10__c", "V2"),
        *("V20240101120000__d", "R__a_view", "R__b_1", "R__b1"),
    ]


@pytest.mark.parametrize(
    ("folder", "file", "said"),
    [
        (["V1__a.sql", "V1.0__b.sql"], "V1__a.sql", "has the same number"),
        (["V1__a.sql", "V1_foo.sql"], "V1_foo.sql", "its version is no number: '1_foo'"),
        (["V1__a.sql", "V1-2__b.sql"], "V1-2__b.sql", "its version is no number"),
        (["V1__a.sql", "V1..2__b.sql"], "V1..2__b.sql", "its version is no number"),
        (["V1__a.sql", "V__b.sql"], "V__b.sql", "its version is no number: ''"),
        (["V1__a.sql", "v2__b.sql"], "v2__b.sql", "begins with no V, R, U or B"),
        (["V1__a.sql", "x/notes.sql"], "x/notes.sql", "begins with no V, R, U or B"),
        (["V1__a.sql", "R1__b.sql"], "R1__b.sql", "a repeatable is named R__name.sql"),
        (["V1__a.sql", "R_b.sql"], "R_b.sql", "a repeatable is named R__name.sql"),
        (["R__a_b.sql", "x/R__a b.sql"], "R__a_b.sql", "b.sql has the same description"),
        (["V1__a.sql", "U2__b.sql"], "U2__b.sql", "refinery runs such a file"),
        (["V1__a.sql", "U1__a.sql", "U1.0__b.sql"], "U1__a.sql", "has the same version"),
        (["B1__a.sql", "x/B1__b.sql"], "x/B1__b.sql", "has the same number"),
        (["V1__a.sql", "V2__b.java"], "V2__b.java", "only files whose names end in .sql"),
        (["V1__a.sql", "V2__b.sql.bak"], "V2__b.sql.bak", "only files whose names end in .sql"),
        (["V1__a.sql", "afterClean.sql"], "afterClean.sql", "is a callback of Flyway's"),
        (["V1__a.sql", "x/afterMigrate.sql"], "x/afterMigrate.sql", "is a callback"),
        (["V1__a.sql", "x/beforeEachMigrate__b.sql"], "x/beforeEachMigrate__b.sql", "callback"),
        (["V1__a.sql", "V2__b.sql.conf"], "V2__b.sql.conf", "there is no V2__b.sql"),
        (["V1__a'b.sql"], "V1__a'b.sql", "which no version may hold"),
    ],
)
def test_what_flyway_passes_over_or_refuses_is_found(
    folder: list[str], file: str, said: str
) -> None:
    _, findings = pick(folder)
    assert [finding.file for finding in findings] == [file], findings
    assert said in findings[0].problem


def test_what_is_no_migration_by_its_name_is_not_looked_at() -> None:
    _, findings = pick(["V1__a.sql", "README.md", "x/data.csv", "Vagrantfile", "R.md", "y/"])
    assert findings == []


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ("executeInTransaction=no", "sets executeintransaction to 'no'"),
        ("shouldExecute=false", "sets shouldexecute, which is not supported"),
        ("encoding=ISO-8859-1", "sets encoding, which is not supported"),
        ("a=b", "sets a, which Flyway does not know there"),
        ("executeInTransaction: true\nshouldExecute=true\nencoding = UTF-8\n! x\n\n", None),
        ("placeholderReplace\\\n  ment=false", None),
    ],
)
def test_the_conf_of_a_file_is_honoured_or_refused(conf: str, said: str | None) -> None:
    _, findings = pick({"V1__a.sql": "", "V1__a.sql.conf": conf})
    assert [finding.file for finding in findings] == (["V1__a.sql.conf"] if said else [])
    assert said is None or said in findings[0].problem


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("flyway.url=jdbc:x\nflyway.cleanDisabled=true\nflyway.placeholders.a=b", None),
        ("flyway.sqlMigrationPrefix=V\nflyway.target=latest\nflyway.encoding=UTF-8", None),
        ("flyway.callbacks=\n", None),
        ("flyway.sqlMigrationPrefix=M", "sets sqlmigrationprefix"),
        ("flyway.schemas=app,other", "sets schemas"),
        ("flyway.target=3", "sets target"),
        ("flyway.locations=filesystem:a,filesystem:b", "names several locations"),
        ("flyway.initSql=SET x=1", "sets initsql"),
        ("flyway.surprise=1", "sets surprise"),
    ],
)
def test_the_settings_of_the_folder_are_harmless_or_refused(
    settings: str, said: str | None
) -> None:
    _, findings = pick({"V1__a.sql": "", "flyway.conf": settings})
    assert [finding.file for finding in findings] == (["flyway.conf"] if said else [])
    assert said is None or said in findings[0].problem


def test_settings_in_toml_are_the_same() -> None:
    toml = '[flyway]\nmixed = true\nexecuteInTransaction = false\nlocations = ["a"]\n'
    toml += '[environments.test]\nurl = "x"\n[flyway.placeholders]\na = "b"\n'
    [only], findings = pick({"V1__a.sql": "", "flyway.toml": toml})
    assert (only.alone, findings) == (True, [])
    _, findings = pick({"V1__a.sql": "", "flyway.toml": '[environments.a]\nschemas = ["x"]'})
    assert "sets schemas" in findings[0].problem
    _, findings = pick({"V1__a.sql": "", "flyway.toml": "["})
    assert "cannot be read" in findings[0].problem


def test_the_conf_of_a_file_overrides_that_of_the_folder() -> None:
    folder = {
        "flyway.conf": "flyway.executeInTransaction=false\nflyway.placeholderReplacement=false",
        "V1__a.sql": "",
        "V1__a.sql.conf": "executeInTransaction=true\nplaceholderReplacement=true",
        "V2__b.sql": "",
        "U2__b.sql": "",
        "U2__b.sql.conf": "executeInTransaction=true",
        "R__c.sql": "",
    }
    picks, findings = pick(folder)
    assert findings == []
    assert [(p.version, p.alone, p.down_alone, p.placeholders) for p in picks] == [
        ("V1__a", False, False, True),
        ("V2__b", True, False, False),
        ("R__c", False, False, False),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT 1;\n-- ${x}\n", 2),
        ("SELECT '${x}';\n", 1),
        ("SELECT $$ ${flyway:user} $$;", 1),
        ("SELECT '${x';", 1),
        ("SELECT '\\${x}';", 1),
        ("SELECT '$$${x}';", 1),
        ("SELECT '$${x}';", None),
        ("SELECT '$x {y}';", None),
    ],
)
def test_a_placeholder_without_a_value_is_refused_wherever_it_is(
    text: str, line: int | None
) -> None:
    _, findings = understand(a_migration("V1__a", text, number=1, placeholders=FLYWAY))
    assert [finding.line for finding in findings] == ([line] if line else [])
    undo = a_migration("V1__a", number=1, placeholders=FLYWAY, rollback_sql=text)
    assert bool(understand(undo)[1]) == bool(line)
    _, findings = understand(a_migration("V1__a", text, number=1))
    assert findings == ()


FOLDER = [of_version(v) for v in ("V1__a", "V2__b", "B2__all", "V3__c", "B3__all", "V4__d", "R__v")]


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        pytest.param([], ["B3__all", "V4__d", "R__v"], id="a new database"),
        pytest.param(["R__v"], ["B3__all", "V4__d", "R__v"], id="a repeatable is no history"),
        pytest.param(
            ["V1__a"], ["V1__a", "V2__b", "V3__c", "V4__d", "R__v"], id="one that began without it"
        ),
        pytest.param(
            ["B2__all"], ["B2__all", "V3__c", "V4__d", "R__v"], id="one that began with another"
        ),
        pytest.param(["B3__gone"], ["V4__d", "R__v"], id="one whose file is gone"),
        pytest.param(
            ["V2__b", "B2__all"],
            ["V2__b", "B2__all", "V3__c", "V4__d", "R__v"],
            id="what is recorded counts",
        ),
    ],
)
def test_a_baseline_is_for_a_new_database(rows: list[str], left: list[str]) -> None:
    found = without_covered(FOLDER, [an_applied(v, number=number_of(v)) for v in rows])
    assert [m.version for m in found] == left


def test_without_baselines_all_counts() -> None:
    folder = [of_version("V1__a"), of_version("002_b")]
    assert without_covered(folder, [an_applied("V1__a", number=1)]) is folder


@pytest.mark.parametrize(
    ("of_up", "of_undo", "filled", "refused"),
    [
        ("false", "true", (False, True), []),
        ("false", "false", (False, False), []),
        ("true", "true", (True, False), []),
        ("true", "false", (True, False), ["U1__a.sql"]),
    ],
)
def test_an_undo_has_placeholders_of_its_own(
    of_up: str, of_undo: str, filled: tuple[bool, bool], refused: list[str]
) -> None:
    key = "placeholderReplacement"
    files = {"V1__a.sql": "", "V1__a.sql.conf": f"{key}={of_up}"}
    files |= {"U1__a.sql": "", "U1__a.sql.conf": f"{key}={of_undo}"}
    [only], findings = pick(files)
    assert (only.placeholders, only.down_filled) == filled
    assert [finding.file for finding in findings] == refused
