"""Atlas's plain folder: its directives, and what of atlas.sum fits the files."""

from __future__ import annotations

import pytest

from migrator.folder.formats.atlas import Atlas
from migrator.folder.formats.format import OUTSIDE, WrongTextError

ONE, TWO, THREE = "20240101_one.sql", "20240102_two.sql", "20240103_three.sql"
#: With hashes by the rule that fits Atlas's own test data.
FOLDER = {
    "atlas.sum": "h1:otzyZLqb3M3ka+UEjPMBO6+oX2nz3zbCNaBauXNaw0Y=\n"
    f"{ONE} h1:xQHrr3Hvkp8M8MhwhL2nCzns/34JKuw76u6NOJXHvwg=\n"
    f"{THREE} h1:U79HC0csOv7f01WgbAGrbptIwdk76x2JjUvYZvw5FAE=\n",
    ONE: "CREATE TABLE a ();\n",
    TWO: "-- atlas:sum ignore\nSELECT 1;\n",
    THREE: "SELECT 3;\n",
}


def proved(changed: dict[str, str | None]) -> list[tuple[str, str]]:
    folder = {name: text for name, text in {**FOLDER, **changed}.items() if text is not None}
    found = Atlas().proved(
        [*folder], lambda path: folder[path], lambda path: [folder[path].encode()]
    )
    return [(finding.file, finding.problem) for finding in found]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        pytest.param({}, [], id="as it is"),
        pytest.param({TWO: FOLDER[TWO] + "SELECT 2;\n"}, [], id="a file that is left out"),
        pytest.param({ONE: "SELECT 1;\n"}, [(ONE, "is not what atlas.sum has")], id="a change"),
        pytest.param({THREE: "SELECT 3;"}, [(THREE, "is not what atlas.sum has")], id="a line end"),
        pytest.param(
            {"20240104_x.sql": ""}, [("20240104_x.sql", "atlas.sum does not list it")], id="new"
        ),
        pytest.param({THREE: None}, [(THREE, "atlas.sum lists it, and it is missing")], id="gone"),
        pytest.param(
            {"atlas.sum": "h1:x\n" + FOLDER["atlas.sum"].partition("\n")[2]},
            [("atlas.sum", "does not fit what it lists")],
            id="the sum itself",
        ),
        pytest.param({"atlas.sum": ""}, [(ONE, "atlas.sum does not list it")], id="an empty sum"),
        pytest.param({"atlas.sum": None, ONE: "SELECT 1;"}, [], id="no sum"),
    ],
)
def test_the_sum_must_fit(changed: dict[str, str | None], found: list[tuple[str, str]]) -> None:
    assert proved(changed) == found


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("SELECT 1;\n", "SELECT 1;\n"),
        ("-- why\n-- atlas:nolint\nSELECT 1;\n", "-- why\n-- atlas:nolint\nSELECT 1;\n"),
        ("-- atlas:txmode none\n\nVACUUM;\n", f"{OUTSIDE}\n\nVACUUM;\n"),
        ("-- atlas:txmode file\n\nSELECT 1;\n", "-- atlas:txmode file\n\nSELECT 1;\n"),
        ("-- atlas:delimiter ;\nSELECT 1;\n", "-- atlas:delimiter ;\nSELECT 1;\n"),
        ("-- atlas:delimiter @@", "-- atlas:delimiter @@"),
        (
            "-- atlas:delimiter -- end\nSELECT 1\n-- end\nSELECT 2 -- end\n",
            "-- atlas:delimiter -- end\nSELECT 1\n;\nSELECT 2 ;\n",
        ),
        (
            "-- atlas:delimiter \\n\\n\\n\n-- atlas:txmode none\n\nSELECT 1 -- one\n\n\nSELECT ';'",
            f"-- atlas:delimiter \\n\\n\\n\n{OUTSIDE}\n\nSELECT 1 -- one\n;\n\nSELECT ';'",
        ),
    ],
)
def test_directives_are_honoured(text: str, runs: str) -> None:
    assert Atlas().cut(text).up == runs


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("-- atlas:txmode none\nVACUUM;\n", 1, "a comment of the statement below it"),
        ("SELECT 1;\n-- atlas:txmode none\n\nVACUUM;\n", 2, "a comment of the statement"),
        ("-- atlas:txmode all\n\nSELECT 1;\n", 1, "txmode all is not supported"),
        ("-- why\n-- atlas:delimiter @@\n\nSELECT 1;\n", 2, "from the first line alone"),
        ("-- atlas:checkpoint v1\n\nSELECT 1;\n", 1, "atlas:checkpoint is not supported"),
        ("-- atlas:import x.sql\n\nSELECT 1;\n", 1, "atlas:import is not supported"),
        ("-- atlas:txtar\n\n-- migration.sql --\nSELECT 1;\n", 1, "atlas:txtar is not supported"),
        ("-- atlas:surprise\n\nSELECT 1;\n", 1, "atlas:surprise is not known"),
        ("-- atlas:delimiter @@\nSELECT '@@'\n@@\n", 2, "within a quoted text"),
    ],
)
def test_what_atlas_would_take_otherwise_is_refused(text: str, line: int, said: str) -> None:
    with pytest.raises(WrongTextError, match=said) as caught:
        Atlas().cut(text)
    assert caught.value.line == line


def test_names_are_compared_as_text_and_begin_with_a_number() -> None:
    def read(path: str) -> str:
        return ""

    _, findings = Atlas().pick(["9_a.sql", "10_b.sql", "x.sql", "sub/11_c.sql"], read)
    assert [(f.file, f.problem) for f in findings] == [
        (
            "10_b.sql",
            "atlas compares names as text and runs it before 9_a.sql, whose number is lower",
        ),
        ("x.sql", "its name does not begin with a number"),
    ]
