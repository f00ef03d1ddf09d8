"""Which character a database cannot hold, and where it is."""

from __future__ import annotations

import pytest

from migrator.errors import SourceError
from migrator.refusals.encoding_rules import find_strange, refuse_encoding
from tests.builders import a_migration

ARROW = "→"


@pytest.mark.parametrize(
    ("pieces", "undo", "encoding", "where"),
    [
        pytest.param(("SELECT 1; -- →",), None, "LATIN1", "001_step.sql:1:14", id="a file"),
        pytest.param(("a\nb", "c\n d→"), None, "LATIN1", "001_step.sql:3:3", id="in pieces"),
        pytest.param(("ab", "c→"), "→", "LATIN1", "001_step.sql:1:4", id="the file comes first"),
        pytest.param(("ab",), "\n\n→", "LATIN1", "001_step.down.sql:3:1", id="its undo"),
        pytest.param(("é",), "é", "WIN1252", None, id="nothing"),
        pytest.param(("→",), None, "WIN1252", "001_step.sql:1:1", id="of Windows"),
        pytest.param(("→",), None, "KOI8R", "001_step.sql:1:1", id="KOI8R"),
        pytest.param(("→",), None, "MULE_INTERNAL", None, id="an encoding that Python lacks"),
        pytest.param(("→",), None, "UTF8", None, id="UTF8 has all"),
    ],
)
def test_it_is_found(
    pieces: tuple[str, ...], undo: str | None, encoding: str, where: str | None
) -> None:
    found = find_strange(a_migration(1, pieces=pieces, rollback_sql=undo), encoding)
    assert (str(found) if found else None) == where
    assert found is None or found.char == ARROW


def test_names_with_other_letters_need_a_database_in_utf8() -> None:
    refuse_encoding(["1_ä.sql"], "UTF8")
    with pytest.raises(SourceError, match=r"is LATIN1, and these names .*: 1_ä\.sql, 2_ß\.sql"):
        refuse_encoding(["1_ä.sql", "2_ß.sql"], "LATIN1")
