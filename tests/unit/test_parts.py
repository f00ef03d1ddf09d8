from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.sql import parts
from migrator.sql.parts import TextReader, lay_out, texts


def sent(text: str, limit: int) -> list[tuple[str, str]]:
    """What each part sends, and the rows that follow it."""
    reader = TextReader((text,))
    return [
        (
            b"".join(reader.encoded(part)).decode(),
            "".join(reader.take(part.data.start, part.data.end)) if part.data else "",
        )
        for part in lay_out((text,), limit).parts
    ]


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        pytest.param("-- x\na; b;\n", 99, [("-- x\na; b;\n", "")], id="a short text is one"),
        pytest.param("", 99, [("", "")], id="an empty one too"),
        pytest.param("aa; bb; cc", 7, [("aa; bb", ""), ("cc", "")], id="groups"),
        pytest.param("aa; bbbbbbb; cc", 5, [("aa", ""), ("bbbbbbb", ""), ("cc", "")], id="alone"),
        pytest.param("-- long enough\n", 5, [], id="a long comment is nothing to send"),
        pytest.param(
            "a;b;COPY t FROM stdin;\n1\n\\.\nc;d",
            99,
            [("a;b", ""), ("COPY t FROM stdin", "1\n"), ("c;d", "")],
            id="a COPY is alone",
        ),
        pytest.param(
            "\\restrict a\naa;\n\\restrict b\nbb;\n\\unrestrict b\n",
            21,
            [("aa;\n           \nbb", "")],
            id="what psql keeps is blank",
        ),
    ],
)
def test_a_text_is_sent_in_parts(text: str, limit: int, expected: list[tuple[str, str]]) -> None:
    assert sent(text, limit) == expected


def test_each_statement_of_a_text_can_be_had_by_itself() -> None:
    found = [(statement.line, text) for statement, text in texts(("a;\nb -- x\n c;\nd",))]
    assert found == [(1, "a"), (2, "b -- x\n c"), (4, "d")]


def test_a_statement_that_no_message_can_take_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "STATEMENT_CHARS", 10)
    (problem,) = lay_out(("SELECT 1;\nSELECT 'abcdef';\n",)).problems
    assert (problem.line, problem.remedy) == (2, "Write several statements, or COPY.")


@given(st.text(), st.lists(st.integers(0, 40), max_size=8).map(sorted), st.integers(1, 5))
def test_a_reader_gives_what_lies_between_two_offsets(
    text: str, edges: list[int], size: int
) -> None:
    reader = TextReader(text[at : at + size] for at in range(0, len(text), size))
    edges = [min(edge, len(text)) for edge in edges]
    for start, end in zip(edges[::2], edges[1::2], strict=False):
        assert "".join(reader.take(start, end)) == text[start:end]
