"""What PostgreSQL refused -> where in the file, why, and what it means for the database."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from migrator.display import TEXT_CHARS
from migrator.errors import AccessError, MigratorError, StatementError
from migrator.history.guard import ESCAPED
from migrator.history.message import Message
from migrator.history.proof import TAMPERED
from migrator.masking import FILL, Hider, Span
from migrator.postgres.refusal import NO_RIGHT, Refusal
from migrator.refusals.context_rules import block_line, copied_relation, copied_row, copied_values
from migrator.refusals.placeholder_rules import unfilled
from migrator.refusals.remedies import UNASKED, Facts, Situation, remedy_of
from migrator.refusals.rights_rules import Names
from migrator.report import what_remains
from migrator.sql import sensitive
from migrator.sql.effects import names
from migrator.sql.sensitive import Secrets, masked_line, mentions, secrets_of, statements
from migrator.sql.statements import Statement, position

if TYPE_CHECKING:
    from migrator.sql.filled import Filled
    from migrator.sql.script import Script

SYNTAX, NO_COLUMN = "42601", "42703"
#: NOT NULL, CHECK and WITH CHECK OPTION: their DETAIL and CONTEXT hold the whole row.
ROW_REFUSED = frozenset({"23502", "23514", "44000"})
#: What precedes a password.
PASSWORD = re.compile(rf"\bpassword{FILL}=?{FILL}\Z", re.IGNORECASE)
#: What precedes an argument that may be a secret, in the wrong quotes.
CALL = re.compile(r"(?:crypt|secret|pgp_|hmac|digest|dblink)\w*\s*\([^()]*\Z", re.IGNORECASE)
PASSWORD_CHARS = 400  # that are searched for it
WORD_CHARS = 20_000  # of a statement whose names are read
LINE_CHARS = 400  # of a source line in a log; a seed's line may be megabytes


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a file an error lies; line and column count from 1, column in characters."""

    line: int
    column: int | None  #: None in the rows of a COPY
    text: str  #: the line, as far as the message holds it, without secrets
    cut: int = 0  #: how much less than `column` the place in `text` is; negative behind a secret
    hidden: Sequence[Span] = ()  #: what is secret, by its offsets in the message's body


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run had done when it was refused."""

    applied: Sequence[str]  #: versions that this run applied
    current: str | None  #: the newest applied version of all
    untried: Sequence[str]  #: versions that were to come after the refused one
    first: bool = False  #: nothing was recorded when the refused one began


def discreet(message: Message, refusal: Refusal, results: int | None, hide: Hider) -> Refusal:
    """`refusal` as it may be shown and stored: without secrets, and cut.

    Hidden are the literals of a statement that deals in secrets, a password in the wrong quotes
    or in none, and the values of a row that a constraint refuses. Where it lies is kept, and so is
    the `internal_query`, which is not for showing.
    """
    body = message.body if hide.values else ""
    values = tuple(value for value in hide.values if value in body)
    secrets = _secrets(message, refusal, results).also(values)

    def shown(text: str | None, more: Sequence[Span] = ()) -> str | None:
        if text is None:
            return None
        return hide.text(text, more=[*secrets.spans(text, TEXT_CHARS), *more])

    said = refusal.message
    if _quotes_password(message, refusal):
        # in whatever language it was, which has quotes of its own
        said = "syntax error in the place of a password"
    elif _quotes_argument(message, refusal):
        said = "no column has the name in the place of a secret: strings are in single quotes"
    return replace(
        refusal,
        message=shown(said) or "",
        detail=shown(refusal.detail, _row_values(refusal)),
        hint=shown(refusal.hint),
        context=shown(refusal.context, _copied_values(message, refusal, secrets)),
    )


def diagnose(
    script: Script,
    message: Message,
    refusal: Refusal,
    results: int | None,
    run_state: RunState,
    general_timeout_ms: int = 0,
    facts: Facts = UNASKED,
) -> MigratorError:
    """The refusal as the person who wrote the file needs it: a StatementError, in most cases.

    It must be `discreet` already: its texts are taken as they are.
    `results` is how many statements of the message had been answered, None if unknown;
    `general_timeout_ms` is STATEMENT_TIMEOUT, `facts` what is known beyond.
    """
    migration = script.migration
    spot, in_file = locate(message, refusal, results)
    ours = not message.blames_file(results)
    if spot and script.filled is not None:
        spot = _as_written(spot, script.filled, message)
    if spot:
        spot = replace(spot, line=spot.line + migration.first_line - 1)
    if spot and (_quotes_password(message, refusal) or _quotes_argument(message, refusal)):
        spot = _masked(spot)
    details: dict[str, Any] = {
        "version": migration.version,
        "file": migration.file,
        "line": spot.line if spot else None,
        "column": spot.column if spot else None,
        "sqlstate": refusal.sqlstate,
        "detail": refusal.detail,
        "hint": refusal.hint,
        "context": refusal.context,
        "constraint": refusal.constraint,
        "outcome": _what_it_means(
            migration.version, run_state, escaped=ours and refusal.sqlstate == ESCAPED
        ),
        **(_shown(spot) if spot else {}),
    }
    places = (migration.file, spot.line, spot.column) if spot else (migration.file,)
    where = ":".join(str(place) for place in places if place is not None)
    text = f"{where}: {refusal.severity} {refusal.sqlstate}: {refusal.message}"
    if ours and refusal.sqlstate == TAMPERED:
        text = f"{migration.file}: the file changed migrator's own history: {refusal.message}"
    found = {key: value for key, value in details.items() if value is not None}
    if not in_file and refusal.sqlstate == NO_RIGHT:
        return AccessError(text, **found)
    limits = general_timeout_ms, ours, _unfilled(message, refusal)
    situation = Situation(refusal, script, facts, run_state.first, *limits)
    return StatementError(text, remedy=remedy_of(situation), **found)


def _unfilled(message: Message, refusal: Refusal) -> tuple[str, ...]:
    """The placeholders of a statement that could not be read, where no secret may be one."""
    if refusal.sqlstate != SYNTAX or _quotes_password(message, refusal):
        return ()
    if refusal.internal_query and refusal.internal_position:
        return unfilled(refusal.internal_query[:WORD_CHARS], refusal.internal_position - 1)
    blamed = _blamed(message, refusal, None, statements(message.body))
    if blamed is None or not refusal.position:
        return ()
    text = message.body[blamed.start : blamed.end][:WORD_CHARS]
    return unfilled(text, refusal.position - 1 - message.body_starts - blamed.start)


def refused_words(message: Message, refusal: Refusal, results: int | None) -> Names:
    """The words of the statement that was refused; none where it is not known, or not the file's.

    Of a DO block they are those from the place of the refusal on, of a query in a routine its own.
    """
    if refusal.internal_query:
        return names(refusal.internal_query[:WORD_CHARS])
    blamed = _blamed(message, refusal, results, statements(message.body))
    if blamed is None:
        return ()
    text = message.body[blamed.start : blamed.end]
    inside = 0 if refusal.position else _inside(text, refusal)
    text = text[inside : inside + WORD_CHARS]
    return names(text.partition(";")[0] if inside else text)


def locate(message: Message, refusal: Refusal, results: int | None) -> tuple[Location | None, bool]:
    """Where in the file the server's refusal of `message` lies, and whether it lies in the file.

    `results` is how many statements of the message had been answered, None if unknown. An error
    without a position is taken to be of the first statement that was not answered.
    """
    if refusal.position:
        offset = refusal.position - 1 - message.body_starts
        if not (message.body and 0 <= offset <= len(message.body) + 1):
            return None, False  # the semicolon that follows the body is the one position beyond it
        return _spot(message, min(offset, len(message.body)), refusal), True
    if message.rows is not None:
        row = copied_row(refusal.context or "", _relation(message))
        if row:
            return Location(message.rows_line + row - 1, None, ""), True
        return _spot(message, 0, refusal), True
    if results is None:
        return None, True
    index = results - message.results_before
    if not 0 <= index < message.statements:
        return None, False
    statement = statements(message.body)[index]
    text = message.body[statement.start : statement.end]
    return _spot(message, statement.start + _inside(text, refusal), refusal), True


def _as_written(spot: Location, filled: Filled, message: Message) -> Location:
    """The same place in the file as it is written, where placeholders have no values."""
    line, column = filled.place(spot.line, spot.column or 1)
    if spot.column is None:
        return replace(spot, line=line)
    body = message.body if spot.hidden else ""

    def place(offset: int, *, end: bool = False) -> tuple[int, int]:
        below, before = position(body, offset)
        column = before + (message.column - 1 if below == 1 else 0)
        return filled.place(message.line + below - 1, column, end=end)

    text, hidden = filled.line(line), []
    for span in spot.hidden:
        start, stop = place(span.start), place(span.end, end=True)
        if start[0] <= line <= stop[0]:
            first = start[1] - 1 if start[0] == line else 0
            last = stop[1] - 1 if stop[0] == line else len(text)
            hidden.append(Span(first, last, span.instead))
    shown, behind = masked_line(text, 0, len(text), hidden, column - 1)
    if spot.text and not spot.text.strip("* \t"):  # a password, broken off from its keyword
        shown = re.sub(r"\S", "*", text)
    return Location(line, column, shown, column - 1 - behind)


def _what_it_means(version: str, run_state: RunState, *, escaped: bool) -> str:
    """The state of the database after a refusal, for the person on call."""
    parts = [f"{version} was rolled back"]
    if escaped:
        parts = [f"what {version} did before its own COMMIT is committed, and it is not recorded"]
    if run_state.applied:
        parts.append(what_remains(run_state.applied))
    elif run_state.current:
        parts.append(f"the database is at {run_state.current}")
    else:
        parts.append("nothing is applied")
    if run_state.untried:
        parts.append(f"not tried: {', '.join(run_state.untried)}")
    return "; ".join(parts)


def _shown(spot: Location) -> dict[str, str]:
    """The line, cut around the column where it is long, and a caret under the column."""
    if spot.column is None:
        return {}
    at = spot.column - 1 - spot.cut
    start = max(0, at - LINE_CHARS // 2) if len(spot.text) > LINE_CHARS else 0
    blanks = "".join("\t" if char == "\t" else " " for char in spot.text[start:at])
    return {"source_line": spot.text[start : start + LINE_CHARS], "caret": blanks + "^"}


def _inside(statement: str, refusal: Refusal) -> int:
    """The offset in a statement of an error inside its DO block or function, else 0."""
    query = refusal.internal_query
    if query and refusal.internal_position and statement.count(query) == 1:
        return statement.index(query) + refusal.internal_position - 1
    line = block_line(refusal.context or "")
    quote = re.search(r"\$(?:[^\W\d]\w*)?\$|'", statement)
    if line is None or quote is None:
        return 0
    start = quote.end()
    for _ in range(line - 1):
        start = statement.find("\n", start) + 1 or start
    blanks = re.compile(r"[^\S\n]*").match(statement, start)
    return blanks.end() if blanks else start


def _secrets(message: Message, refusal: Refusal, results: int | None) -> Secrets:
    """What the refusal may quote of statements that deal in secrets.

    A statement does so by its own words, or by those of what it calls.
    """
    body = message.body
    called = mentions(refusal.internal_query) or mentions(refusal.context)
    if not called and not mentions(body):
        return Secrets()
    found = statements(body)
    blamed = _blamed(message, refusal, results, found)
    texts = [body[statement.start : statement.end] for statement in found]
    own = body[blamed.start : blamed.end] if blamed else ""
    chosen = [own] if called or mentions(own) else []
    if called or blamed is None:
        chosen += [text for text in texts if mentions(text)]
    if not called and not chosen:
        return Secrets()
    if message.rows is not None and refusal.context:
        return Secrets(too_many=True)  # the rows that the server quotes are not in the statement
    quoted = (refusal.context or "").replace('"', " ")  # which encloses whole statements
    return secrets_of([*chosen, refusal.internal_query or "", quoted])


def _blamed(
    message: Message, refusal: Refusal, results: int | None, found: Sequence[Statement]
) -> Statement | None:
    """The statement that was refused, as far as is known."""
    if refusal.position:
        offset = refusal.position - 1 - message.body_starts
        return next((s for s in reversed(found) if 0 <= s.start <= offset), None)
    index = -1 if results is None else results - message.results_before
    return found[index] if 0 <= index < len(found) else None


def _row_values(refusal: Refusal) -> list[Span]:
    """Where DETAIL holds the row that a constraint refuses, in whatever language."""
    detail = refusal.detail or ""
    start, end = detail.find("("), detail.rfind(")")
    if refusal.sqlstate not in ROW_REFUSED or start < 0:
        return []
    return [Span(start + 1, end if end > start else len(detail))]


def _copied_values(message: Message, refusal: Refusal, secrets: Secrets) -> list[Span]:
    """Where CONTEXT holds a whole row of a COPY; or one value of it, where that is a secret."""
    context = refusal.context or ""
    shown = not secrets.too_many and refusal.sqlstate not in ROW_REFUSED
    start = copied_values(context, _relation(message), whole_rows_only=shown)
    return [] if start is None else [Span(start, len(context), '***"')]


def _relation(message: Message) -> str | None:
    """What a message that is a COPY fills."""
    if message.rows is None:
        return None
    return next((copied_relation(message.body[s.start :]) for s in statements(message.body)), None)


def _quotes_password(message: Message, refusal: Refusal) -> bool:
    """Whether the parser has stumbled over what is in the place of a password."""
    if refusal.sqlstate != SYNTAX:
        return False
    before, _ = _around(message, refusal)
    return bool(PASSWORD.search(before))


def _quotes_argument(message: Message, refusal: Refusal) -> bool:
    """Whether what a column is missed for is an argument in double quotes that is a secret."""
    if refusal.sqlstate != NO_COLUMN:
        return False
    before, sign = _around(message, refusal)
    return sign == '"' and bool(CALL.search(before))


def _around(message: Message, refusal: Refusal) -> tuple[str, str]:
    """The end of what precedes the place of a refusal, and the sign that is there."""
    text, at = message.text, (refusal.position or 1) - 1
    if refusal.internal_query and refusal.internal_position:
        text, at = refusal.internal_query, refusal.internal_position - 1
    return text[max(0, at - PASSWORD_CHARS) : at], text[at : at + 1]


def _masked(spot: Location) -> Location:
    """Without what follows PASSWORD in its line, or else behind its column."""
    text, found = re.subn(r"(?i)(\bpassword\b).*", r"\1 ***", spot.text)
    if not found:
        text = spot.text[: (spot.column or 1) - 1 - spot.cut] + "***"
    return replace(spot, text=text)


def _spot(message: Message, offset: int, refusal: Refusal) -> Location:
    body = message.body
    line, column = position(body, offset)
    cut = message.column - 1 if line == 1 else 0
    start = offset - (column - 1)
    end = body.find("\n", offset)
    hidden = _hidden(body, offset, refusal)
    text, at = masked_line(body, start, len(body) if end < 0 else end, hidden, offset)
    before = body[max(0, start - PASSWORD_CHARS) : start]
    if PASSWORD.search(before) and not text.lstrip().startswith(sensitive.MASK):
        text = re.sub(r"\S", "*", text)  # the password itself, broken off from its keyword
    return Location(message.line + line - 1, column + cut, text, column + cut - 1 - at, hidden)


def _hidden(body: str, offset: int, refusal: Refusal) -> Sequence[Span]:
    """The literals of statements that deal in secrets, by their words or those of what they call.

    Of the latter there is one, the refused statement at `offset`.
    """
    if mentions(refusal.internal_query) or mentions(refusal.context):
        blamed = [s for s in statements(body) if s.start <= offset <= s.end]
        return sensitive.spans(body, blamed)
    return sensitive.spans(body)
