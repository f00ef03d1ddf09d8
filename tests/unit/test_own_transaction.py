"""Which BEGIN and COMMIT of a file the job's own stand for, and what is sent in their place."""

from __future__ import annotations

import pytest

from migrator.sql.parts import Layout, TextReader, lay_out
from migrator.sql.script import understand
from tests.builders import a_migration

LARGE_OBJECT = """SELECT pg_catalog.lo_open('12', 131072);
SELECT pg_catalog.lowrite(0, '\\x616263');
SELECT pg_catalog.lo_close(0);
"""


def sent(sql: str, monkeypatch: pytest.MonkeyPatch, limit: int = 99) -> tuple[list[str], int]:
    """What each part sends of a file that is understood, and how many statements there are."""

    def short(pieces: tuple[str, ...]) -> Layout:
        return lay_out(pieces, limit)

    monkeypatch.setattr("migrator.sql.parts.lay_out", short)
    script, findings = understand(a_migration(1, sql))
    assert script is not None, findings
    assert sum(part.statements for part in script.parts) == script.statements
    reader = TextReader((sql,))
    parts = [b"".join(reader.encoded(part)).decode() for part in script.parts]
    return parts, script.statements


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("BEGIN", "COMMIT"),
        ("begin work", "end"),
        ("BEGIN TRANSACTION", "COMMIT TRANSACTION"),
        ("START TRANSACTION", "COMMIT AND NO CHAIN"),
        ("START\nTRANSACTION READ WRITE", "END WORK"),
        ("BEGIN /* é */ ISOLATION LEVEL READ COMMITTED", "COMMIT"),
    ],
)
def test_a_transaction_around_the_whole_file_is_the_jobs(
    begin: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are blanks, so that every line and column behind them stays what it is."""
    parts, count = sent(f"-- x\n{begin};\nA;\nB;\n{end};\n-- y\n", monkeypatch, limit=999)
    blank = "".join("\n" if sign == "\n" else " " for sign in begin)
    assert parts == [f"-- x\n{blank};\nA;\nB;\n{' ' * len(end)};\n-- y\n"]
    assert count == 2


@pytest.mark.parametrize(
    ("sql", "limit", "parts"),
    [
        pytest.param("BEGIN;aa;bb;COMMIT", 8, ["     ;aa", "bb"], id="of the first and the last"),
        pytest.param("BEGIN;aaaaaaa;bbbbbbb;COMMIT", 7, ["aaaaaaa", "bbbbbbb"], id="by itself"),
        pytest.param(
            "BEGIN;COPY t FROM stdin;\n1\n\\.\nCOMMIT;", 99, ["COPY t FROM stdin"], id="of a COPY"
        ),
        pytest.param(
            f"A;\nBEGIN;\n{LARGE_OBJECT}COMMIT;\nBEGIN;COMMIT;B",
            999,
            [f"A;\n     ;\n{LARGE_OBJECT}      ;\n     ;      ;B"],
            id="around large objects",
        ),
        pytest.param(
            f"-- migrator: lock-timeout 5s\nA;\nBEGIN;\n{LARGE_OBJECT}COMMIT;\nB",
            999,
            [f"-- migrator: lock-timeout 5s\nA;\n     ;\n{LARGE_OBJECT}      ;\nB"],
            id="around large objects, below a directive",
        ),
    ],
)
def test_a_part_is_sent_without_them(
    sql: str, limit: int, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, count = sent(sql, monkeypatch, limit)
    assert found == parts
    assert count == len([one for one in lay_out((sql,), -1).parts]) - sql.count("BEGIN") * 2


@pytest.mark.parametrize(
    ("sql", "lines"),
    [
        pytest.param("BEGIN;\nA", [1], id="never ended"),
        pytest.param("A;\nCOMMIT", [2], id="never begun"),
        pytest.param("A;\nBEGIN;\nB;\nCOMMIT", [2, 4], id="not from the first statement"),
        pytest.param("BEGIN;\nA;\nCOMMIT;\nB", [1, 3], id="not to the last"),
        pytest.param("BEGIN;\nA;\nROLLBACK", [1, 3], id="rolled back"),
        pytest.param("BEGIN;\nA;\nABORT", [1, 3], id="aborted"),
        pytest.param("BEGIN;\nA;\nCOMMIT AND CHAIN", [1, 3], id="another follows"),
        pytest.param("COMMIT;\nA;\nBEGIN", [1, 3], id="the wrong way round"),
        pytest.param("BEGIN;\nA;\nCOMMIT 'x'", [1, 3], id="what is no SQL"),
        pytest.param("BEGIN;\nA;\nCOMMIT;\nBEGIN;\nB;\nCOMMIT", [1, 3, 4, 6], id="two"),
        pytest.param("BEGIN;\nBEGIN;\nA;\nCOMMIT", [1, 2, 4], id="begun twice"),
        pytest.param(f"A;\nBEGIN;\n{LARGE_OBJECT}B;\nCOMMIT", [2, 7], id="more than large objects"),
        pytest.param(
            f"BEGIN;\nA;\nBEGIN;\n{LARGE_OBJECT}COMMIT;\nCOMMIT", [1, 3, 7, 8], id="within another"
        ),
        pytest.param("BEGIN ISOLATION LEVEL SERIALIZABLE;\nA;\nCOMMIT", [1], id="a mode"),
        pytest.param("BEGIN;\nSET TRANSACTION READ ONLY;\nA;\nEND", [2], id="a mode, set"),
        pytest.param("BEGIN;\nVACUUM;\nCOMMIT", [2], id="what runs in none"),
        pytest.param("-- migrator: no-transaction\nBEGIN;\nA;\nCOMMIT", [2, 4], id="outside one"),
    ],
)
def test_any_other_transaction_control_is_refused(sql: str, lines: list[int]) -> None:
    script, findings = understand(a_migration(1, sql))
    assert script is None
    assert [finding.line for finding in findings] == lines
