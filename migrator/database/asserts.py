"""Asks what must be true before or after a file that commits in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from migrator.database.database import Link
from migrator.errors import StatementError
from migrator.postgres.quoting import READ_ONLY_HERE
from migrator.postgres.session import ServerError
from migrator.sql.asserts import Assertion, When, asserting
from migrator.sql.script import Script

Ask = Callable[[str], list[tuple[Any, ...]]]  #: sends a text that writes nothing; its rows

ASSERT_REMEDIES = {
    When.BEFORE: "Bring about what it asks for, or correct the line; then run again.",
    When.AFTER: "See to what is missing; then run again: what is committed is not run again.",
}


def check_asserts(link: Link, script: Script, when: When, send: Ask) -> None:
    """StatementError for the first of the file's queries of this side that is not true."""
    for assertion in script.asserts:
        if assertion.when is when:
            _check(link, script, assertion, send)


def _check(
    link: Link,
    script: Script,
    assertion: Assertion,
    send: Ask,
) -> None:
    problem = f"assert {assertion.when.value} is not true: {assertion.query}"
    try:
        rows = send(f"{READ_ONLY_HERE};\n{asserting(assertion)}")
        if rows and rows[0][0] is True:
            return
    except ServerError as error:
        problem = f"assert {assertion.when.value} was refused: {error}"
    migration = script.migration
    line = script.place(assertion.line)[0]
    raise StatementError(
        link.hide.text(f"{migration.file}:{line}: {problem}"),
        remedy=ASSERT_REMEDIES[assertion.when],
        version=migration.version,
        file=migration.file,
        line=line,
    )
