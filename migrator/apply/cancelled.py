"""Why PostgreSQL cancelled a statement: a timeout and a cancel by hand have one SQLSTATE, 57014.

They differ in their texts alone, which may be in any language. So the server is asked for the text
that it has for a cancel: it cancels itself inside a block that catches that, and logs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.errors import StoppedError
from migrator.postgres.session import LostError, ServerError, Session

if TYPE_CHECKING:
    from migrator.postgres.refusal import Refusal

QUERY_CANCELED = "57014"
#: No reset before it: it must leave what is SET on the session. Each name has its schema.
CANCEL_TEXT = """/* migrator asks how a cancel reads */
DO $migrator$
DECLARE
  said pg_catalog.text;
BEGIN
  BEGIN
    PERFORM pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid());
    PERFORM pg_catalog.pg_sleep(1);
  EXCEPTION WHEN query_canceled THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT;
  END;
  PERFORM pg_catalog.set_config('migrator.cancel_text', said, true);
END
$migrator$;
SELECT pg_catalog.current_setting('migrator.cancel_text', true)"""


def with_reason(refusal: Refusal, session: Session) -> Refusal:
    """`refusal`, which left no transaction open, with `timed_out` where a timeout cancelled it."""
    if refusal.sqlstate != QUERY_CANCELED:
        return refusal
    try:
        [(text,)] = session.send(CANCEL_TEXT)
    except (ServerError, LostError, StoppedError):  # a stop is noticed again at once
        return refusal
    return replace(refusal, timed_out=bool(text) and text != refusal.message)
