from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.model import Finding
from migrator.sql.text import Text, read_text

MIXED = st.text() | st.text(st.sampled_from("a\r\n\ufeffé\0"))


def read(data: bytes | Iterable[bytes]) -> tuple[str, str, str] | tuple[int | None, str]:
    """The text and its checksums, or the line and words of what is wrong with it."""
    found = read_text(data, "001_a.sql")
    if isinstance(found, Finding):
        return found.line, found.problem
    return "".join(found.pieces), found.checksum, found.raw_checksum


def sent(text: str) -> str:
    found = read_text(text.encode(), "001_a.sql")
    assert isinstance(found, Text)
    return "".join(found.pieces)


def blocks_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = sorted({0, *cuts, len(data)})
    return [data[start:end] for start, end in pairwise(edges)]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("text", ["A;\n", "A;\r\n", "A;\r", "\ufeffA;\r\n"])
def test_the_checksum_is_that_of_the_text_and_the_raw_one_of_the_bytes(text: str) -> None:
    assert read(text.encode()) == ("A;\n", sha256("A;\n"), sha256(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a\r\nb\r\n", "a\nb\n", id="a Windows checkout"),
        pytest.param("a\rb\r", "a\nb\n", id="an old Mac's file"),
        pytest.param("a\r\nb\rc", "a\nb\nc", id="both"),
        pytest.param("SELECT 'a\r\nb', 'c\rd';\n", "SELECT 'a\r\nb', 'c\rd';\n", id="values"),
    ],
)
def test_a_cr_is_a_line_end_unless_lines_end_without_it(text: str, expected: str) -> None:
    assert sent(text) == expected


def test_the_checksum_is_the_same_whatever_a_cr_means() -> None:
    texts = ("a\r\nb\r\n", "a\r\nb\n", "a\nb\n")
    assert {read(text.encode())[1] for text in texts} == {sha256("a\nb\n")}


def test_only_the_ends_of_lines_and_the_bom_are_touched() -> None:
    text = "\ufeff\tA \r\n\r\r\n\v\f\x85\u2028B\ufeff\r"
    assert sent(text) == "\tA \n\n\n\v\f\x85\u2028B\ufeff\n"


@pytest.mark.parametrize(
    ("data", "line", "problem"),
    [
        (b"a\r\nb\rc\xe9\n", 3, "the text is not UTF-8"),
        (b"a\n\xe9", 2, "the text is not UTF-8"),
        (b"a\n\nb\0c\0", 3, "the text holds a NUL character"),
        (b"a\r\r\n\0", 3, "the text holds a NUL character"),
        (b"a\n\0\xe9", 2, "the text holds a NUL character"),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_line(data: bytes, line: int, problem: str) -> None:
    assert read(data) == (line, problem)
    assert read([data[n : n + 1] for n in range(len(data))]) == (line, problem)


@given(MIXED, st.data())
def test_it_does_not_matter_how_a_large_file_is_cut_into_blocks(
    text: str, data: st.DataObject
) -> None:
    encoded = text.encode(errors="ignore")
    cuts = data.draw(st.lists(st.integers(0, len(encoded))))
    assert read(blocks_of(encoded, cuts)) == read(encoded)


@given(st.binary().map(lambda data: data.replace(b"\0", b"")), st.data())
def test_nor_for_what_is_wrong_with_it(encoded: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(encoded))))
    assert read(blocks_of(encoded, cuts)) == read(encoded)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PGDMP\x01\x0e\0\0 and more", "is a dump in pg_dump's custom format, not SQL"),
        (b"toc.dat\0\0\0 and more", "is a dump in pg_dump's tar format, not SQL"),
        (b"\x1f\x8b\x08\0 and more", "is compressed with gzip, not SQL"),
    ],
)
def test_a_file_that_is_no_text_is_known_by_its_first_bytes(data: bytes, what: str) -> None:
    for blocks in (data, [data[:3], data[3:]]):
        found = read_text(blocks, "001_a.sql")
        assert isinstance(found, Finding)
        assert found.problem == what
        assert "001_a.sql" in found.remedy
