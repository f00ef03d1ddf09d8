"""How wide a text is on a screen, where it is cut and where it is folded."""

from __future__ import annotations

import io
import os
import pty
from pathlib import Path

import pytest

from migrator.cli.cells import Screen, cells, cut, pad, wrapped
from migrator.cli.screens import screen_of
from migrator.cli.words import Colour


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        pytest.param("abc", 3, id="ASCII"),
        pytest.param("äö€", 3, id="one cell each"),
        pytest.param("日本", 4, id="wide characters"),
        pytest.param("e\u0301", 1, id="a combining accent"),
        pytest.param("a\u200db", 2, id="a joiner that is not seen"),
        pytest.param("👍", 2, id="an emoji"),
    ],
)
def test_the_cells_of_a_text(text: str, wide: int) -> None:
    assert cells(text) == wide
    assert cells(pad(text, 8)) == 8


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        pytest.param("abcdef", 6, "abcdef", id="it fits"),
        pytest.param("abcdef", 5, "abcd…", id="one too long"),
        pytest.param("日本語", 5, "日本…", id="wide characters"),
        pytest.param("日本語", 4, "日…", id="half a wide character does not fit"),
        pytest.param("e\u0301e\u0301e\u0301", 2, "e\u0301…", id="an accent stays with its letter"),
    ],
)
def test_what_is_cut_fits(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown
    assert cells(shown) <= width


@pytest.mark.parametrize(
    ("lead", "text", "shown"),
    [
        pytest.param("", "aa bb", "aa bb", id="it fits"),
        pytest.param("", "aaa bbb ccc", "aaa bbb\n  ccc", id="at a blank"),
        pytest.param("x: ", "aaa bbb ccc", "x: aaa\n  bbb ccc", id="behind a lead"),
        pytest.param("", "a" * 12 + " b", "a" * 12 + "\n  b", id="a name is not broken"),
        pytest.param("", "日本 日本 日", "日本 日本\n  日", id="wide characters"),
    ],
)
def test_a_text_is_folded(lead: str, text: str, shown: str) -> None:
    assert wrapped(text, 9, "  ", lead) == shown


@pytest.mark.parametrize(
    ("file", "place"),
    [("001_a.sql", "m/001_a.sql"), ("001_a", "001_a"), ("public.orders", "public.orders")],
)
def test_a_file_has_its_folder(file: str, place: str) -> None:
    assert Screen(folder="m").place(file) == place
    assert Screen(folder="m/").place(file) == place
    assert Screen().place(file) == file


@pytest.mark.parametrize(
    ("colour", "environment", "terminal", "coloured"),
    [
        pytest.param("auto", {}, True, True, id="a terminal"),
        pytest.param("auto", {}, False, False, id="a file"),
        pytest.param("auto", {"NO_COLOR": "1"}, True, False, id="NO_COLOR"),
        pytest.param("auto", {"NO_COLOR": ""}, True, True, id="an empty NO_COLOR is none"),
        pytest.param("auto", {"TERM": "dumb"}, True, False, id="a terminal that has none"),
        pytest.param("always", {"NO_COLOR": "1"}, False, True, id="the flag wins"),
        pytest.param("never", {}, True, False, id="never"),
    ],
)
def test_when_there_are_colours(
    colour: str, environment: dict[str, str], terminal: bool, coloured: bool, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs) if terminal else tmp_path / "file"
    with open(name, "w") as stream:  # noqa: PTH123 - a terminal is no path
        screen = screen_of(stream, environment, Colour(colour))
    os.close(ours)
    os.close(theirs)
    assert screen.colour is coloured
    assert screen.moving is (terminal and environment.get("TERM") != "dumb")
    assert screen.columns == 80


def test_a_stream_without_a_file_is_80_columns_wide() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert screen_of(Terminal(), {}, Colour.AUTO).columns == 80
