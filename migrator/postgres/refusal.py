"""What PostgreSQL answers instead of a result, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace

NO_RIGHT = "42501"  #: insufficient_privilege


@dataclass(frozen=True, slots=True)
class Refusal:
    """What PostgreSQL answered instead of a result; psycopg2's `diag` as plain values."""

    sqlstate: str
    message: str
    severity: str = "ERROR"
    detail: str | None = None
    hint: str | None = None
    context: str | None = None
    position: int | None = None  #: 1-based, in characters of the whole message
    internal_position: int | None = None
    internal_query: str | None = None
    constraint: str | None = None
    table: str | None = None
    schema: str | None = None  #: the table's
    raised: bool = False  #: by a RAISE of PL/pgSQL, whatever its SQLSTATE
    column: str | None = None

    def in_characters(self, sent: bytes) -> Refusal:
        """The same, of a server that counts bytes; `sent` is the message."""
        inner = (self.internal_query or "").encode()
        return replace(
            self,
            position=_in_characters(sent, self.position),
            internal_position=_in_characters(inner, self.internal_position),
        )


def _in_characters(text: bytes, position: int | None) -> int | None:
    return position and len(text[: position - 1].decode(errors="ignore")) + 1
