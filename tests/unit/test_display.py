"""Texts of others, cut and escaped: nothing of them moves a cursor or ends a line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.display import (
    HELD_CHARS,
    as_json,
    held,
    visible,
    visible_lines,
    visible_text,
    with_rest,
    without_rest,
)

#: What a terminal, or a reader of lines, takes for a command.
UNSAFE = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
    *"\u061c\u200e\u200f\u2028\u2029\udc80\ud83d\ufeff",
]


@pytest.mark.parametrize("sign", UNSAFE, ids=ascii)
def test_what_moves_a_cursor_or_turns_a_text_round_is_escaped(sign: str) -> None:
    shown = visible(f"a{sign}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    line = as_json({"name": f"a{sign}b"})
    assert line.isprintable()
    assert json.loads(line) == {"name": f"a{sign}b"}
    assert (sign in visible_text(f"a{sign}b")) == (sign in "\n\t")


def test_the_escapes_are_those_that_programmers_know() -> None:
    assert visible("\n\r\t\x00\x1b\x85\u202e\U000e0041") == (r"\n\r\t\x00\x1b\x85\u202e\U000e0041")


@pytest.mark.parametrize("text", ["naïve", "日本語", "a\\nb", "👩‍🚀", "שלום", "x y"])
def test_words_of_any_language_stay(text: str) -> None:
    assert visible(text) == text
    assert as_json(text) == f'"{text}"'.replace("\\", "\\\\")


@given(st.text(st.characters()))
def test_json_of_any_text_is_one_line_and_says_the_same(text: str) -> None:
    line = as_json([text])
    assert json.loads(line) == [text]
    assert len(line.splitlines()) == 1
    line.encode()


def test_a_line_end_stays_one_where_each_line_is_marked() -> None:
    assert visible_lines("first\n\x1bsecond\n", "  | ") == "first\n  | \\x1bsecond\n  | "


def test_a_text_that_is_cut_says_by_how_much_however_often_it_is_cut() -> None:
    assert held("x" * HELD_CHARS) == "x" * HELD_CHARS
    text = held("x" * (HELD_CHARS + 70))
    assert text == "x" * HELD_CHARS + "… 70 more"
    assert without_rest(text) == ("x" * HELD_CHARS, 70)
    assert without_rest("… 7 more of them") == ("… 7 more of them", 0)
    assert with_rest("all", 0) == "all"
