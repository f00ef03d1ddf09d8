"""Which messages leave their session with the server's keepalives, and where."""

from __future__ import annotations

import pytest

from migrator.postgres.quoting import CLEAN, KEEPALIVES, first, kept_alive

MESSAGE = first("/* migrator reads */", "SELECT 1")


def test_they_are_set_before_the_question_where_the_backend_is_the_servers_own() -> None:
    text = kept_alive(MESSAGE, 4711)
    before, _, query = text.rpartition(";\n")
    assert query == "SELECT 1"
    assert text.replace(before.partition("pg_temp;\n")[2] + ";\n", "") == MESSAGE
    assert before.endswith("WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) 4711")
    assert all(f"('{name}', '{value}')" in text for name, value in KEEPALIVES.items())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("SELECT 1", id="a statement alone"),
        pytest.param(f"/* migrator 001_a */ {CLEAN[0]};\nBEGIN", id="a flight"),
        pytest.param(f"/* a */ SELECT 1; {MESSAGE}", id="a file that holds our own words"),
    ],
)
def test_every_other_message_is_as_it_was(text: str) -> None:
    assert kept_alive(text, 4711) == text
