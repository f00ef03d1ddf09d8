"""What every message to the server is made of: quotes, blocks, the resets around our work."""

from __future__ import annotations

import hashlib

MISREAD = "MG008"  #: SQLSTATE of our own: the session reads texts otherwise than they are meant

#: No function or operator of another owner is found from here on.
HERE = "SET LOCAL search_path = pg_catalog, pg_temp"
#: What a message is to run as, when it is a transaction by itself, without BEGIN.
ISOLATION = "SET LOCAL TRANSACTION ISOLATION LEVEL READ COMMITTED"
READ_ONLY_HERE = "SET LOCAL transaction_read_only = on"


def identifier(name: str) -> str:
    """`name` quoted as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    """`text` quoted as a string, whatever standard_conforming_strings says; None is NULL."""
    if text is None:
        return "NULL"
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def do(body: str, declare: str = "") -> str:
    """A DO block; its dollar quote occurs nowhere within, whatever names and texts that holds."""
    text = (f"DECLARE\n{declare}" if declare else "") + f"BEGIN\n{body}END "
    tag = "$migrator$"
    while tag in text:
        tag = f"$migrator_{hashlib.sha256((tag + text).encode()).hexdigest()[:12]}$"
    return f"DO LANGUAGE plpgsql {tag}\n{text}{tag}"


def in_utf8(code: str = MISREAD) -> str:
    """What a block raises `code` with when the session does not read text as we write it.

    Both settings act while a message is read, before any statement of it runs: a message cannot
    set them for itself. Needs no search_path.
    """
    return f"""  IF pg_catalog.current_setting('client_encoding') OPERATOR(pg_catalog.<>) 'UTF8'
     OR pg_catalog.current_setting('standard_conforming_strings') OPERATOR(pg_catalog.<>) 'on' THEN
    RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = 'the session misreads text',
      DETAIL = 'client_encoding=' OPERATOR(pg_catalog.||)
        pg_catalog.current_setting('client_encoding') OPERATOR(pg_catalog.||)
        ', standard_conforming_strings=' OPERATOR(pg_catalog.||)
        pg_catalog.current_setting('standard_conforming_strings');
  END IF;
"""


#: Behind a pooler RESET ALL, ours or a file's, brings back its own beginning [M: LATIN1].
UTF8 = "SET client_encoding = 'UTF8'"
#: What the first message of a transaction or session begins with. A transaction pooler hands on a
#: connection as its last client left it. The reset is a transaction of its own, so that the next
#: one begins with the login's own defaults [M: eight kinds of leftovers, on 14, 15 and 18].
CLEAN = (
    do(in_utf8()),
    "BEGIN",
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
    UTF8,
    "DISCARD TEMP",
    "COMMIT",
)
#: Gives the session back as it was; sent after failures too. DISCARD ALL is not allowed in a
#: message with other statements.
TAIL = (
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
    UTF8,
    "CLOSE ALL",
    "UNLISTEN *",
    "DISCARD TEMP",
    """DO LANGUAGE plpgsql $migrator$
DECLARE statement text;
BEGIN  -- DEALLOCATE ALL would take the pooler's own statements along
  FOR statement IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP
    EXECUTE pg_catalog.format('DEALLOCATE %I', statement);
  END LOOP;
END $migrator$""",
    "SELECT pg_catalog.pg_advisory_unlock_all()",
)


#: More than a marker, which holds one version, and the question that follows it.
START_CHARS = 2_000


def begins_clean(text: str | bytes) -> bool:
    """Whether a message begins with CLEAN, and so with the question how its session reads text."""
    start = text[:START_CHARS]
    start = start if isinstance(start, str) else start.decode(errors="replace")
    return start.partition(" */ ")[2].startswith(CLEAN[0])


#: How a server notices within 30 s that our packets have stopped; its own default is 2 h.
KEEPALIVES = {
    "client_connection_check_interval": 5_000,
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_KEEP = """SELECT pg_catalog.set_config(name, value, false)
  FROM (VALUES {values}) AS kept (name, value)
 WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {backend_pid}"""
_OPENING = ";\n".join((*CLEAN, ISOLATION, HERE))


def kept_alive(text: str, backend_pid: int) -> str:
    """A message of `first`, which leaves the session with KEEPALIVES while it is idle.

    Only where `backend_pid`, of the protocol, is the server's own: a pooler would hand the
    settings on to its next client. Every other message comes back as it is.
    """
    head, found, _ = text[: START_CHARS + len(_OPENING)].partition(_OPENING)
    if not found or not head.endswith(" */ ") or head.count("*/") != 1:
        return text
    end = len(head) + len(found)
    return f"{text[:end]};\n{keepalives(backend_pid)}{text[end:]}"


def keepalives(backend_pid: int) -> str:
    """A statement that sets KEEPALIVES for the session where `backend_pid` is the server's own."""
    values = ", ".join(f"('{name}', '{value}')" for name, value in KEEPALIVES.items())
    return _KEEP.format(values=values, backend_pid=backend_pid)


def first(marker: str, *statements: str) -> str:
    """A message that nothing of ours precedes: reset, then a transaction of its own.

    `marker` is a comment, where pg_stat_activity shows it.
    """
    return f"{marker} " + ";\n".join((*CLEAN, ISOLATION, HERE, *statements))
