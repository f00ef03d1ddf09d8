"""The history tables: read, look up; docs/design.md section 3."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from migrator.errors import AccessError, ConfigError
from migrator.history.access import no_access
from migrator.history.distrust import UNTRUSTED, Distrust, explain
from migrator.history.fence import DECLARE, Access, Owners
from migrator.history.guard import looking
from migrator.history.journal import lines_query
from migrator.history.other_histories import look_for_others, others
from migrator.history.place import Place, marker
from migrator.history.questions import asked, plain, question
from migrator.model import Applied, Kind, number_of
from migrator.plan.progress import Progress, Way, fold, read_lines
from migrator.postgres.quoting import do, first, literal
from migrator.postgres.session import ServerError, Session

#: What `READ` gives as JSON; the columns that an older job's table lacks are null.
HISTORY_COLUMNS = (
    "version",
    "checksum",
    "kind",
    "applied_at",
    "execution_time_ms",
    "run_id",
    "floor",
)

#: The block looks into the catalog first, because a query that names the table cannot exist where
#: there is none, and because nothing that belongs to the table may be evaluated before `question`
#: has its answer. It hands its own answer on in a setting that ends with the transaction.
READ_DECLARE = """  place oid;
  log oid;
  reads boolean := false;
  reads_log boolean := false;
  fence jsonb;
  answer jsonb;
  columns jsonb := '{}';
  journal jsonb;
  made_by text;
  started boolean;
  owed boolean;
  wanted text;
  rows jsonb;
"""
OID = """(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = {schema} AND c.relname = {name})"""
READ = """  place := {oid};
  log := {log_oid};
  IF has_table_privilege(place, 'SELECT')
     AND (SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = place) THEN
    LOCK TABLE {history} IN ACCESS SHARE MODE;
    reads := true;
  END IF;
  IF has_table_privilege(log, 'SELECT')
     AND (SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = log) THEN
    LOCK TABLE {log} IN ACCESS SHARE MODE;
    reads_log := true;
  END IF;
  started := log IS NOT NULL;  -- unless its lines say that it is not
  -- what has come while a lock was waited for is not locked: only what is may be read
  IF place IS DISTINCT FROM {oid} OR log IS DISTINCT FROM {log_oid} THEN
    RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'the history is being replaced';
  END IF;
  fence := '{{"code": [], "owners": []}}';
  IF place IS NOT NULL OR log IS NOT NULL THEN
    IF (SELECT one.plain FROM ({plain}) AS one) IS NOT TRUE THEN
      EXECUTE {question} INTO fence;
    END IF;
  END IF;
  answer := jsonb_build_object(
    'role', current_user,
    'fence', fence,
    'read_only', current_setting('transaction_read_only') = 'on',
    'schema_exists', EXISTS (SELECT FROM pg_namespace WHERE nspname = {schema}),
    'exists', place IS NOT NULL,
    'readable', reads,
    'log', (SELECT coalesce(jsonb_object_agg(a.attname, format_type(a.atttypid, NULL)), '{{}}')
              FROM pg_attribute AS a
             WHERE a.attrelid = log AND a.attnum > 0 AND NOT a.attisdropped),
    'rails', EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                      WHERE n.nspname = {schema} AND c.relname = 'ar_internal_metadata'));
  IF place IS NOT NULL THEN
    columns := (SELECT coalesce(jsonb_object_agg(
                         a.attname, format_type(a.atttypid, a.atttypmod)), '{{}}')
                  FROM pg_attribute AS a
                 WHERE a.attrelid = place AND a.attnum > 0 AND NOT a.attisdropped);
    answer := answer || jsonb_build_object(
      'columns', columns,
      'relkind', (SELECT c.relkind FROM pg_class AS c WHERE c.oid = place),
      'sees_all', NOT row_security_active(place) OR (
        EXISTS (SELECT FROM pg_policy AS p
                 WHERE p.polrelid = place AND p.polpermissive AND p.polcmd IN ('r', '*')
                   AND pg_get_expr(p.polqual, place) = 'true'
                   AND EXISTS (SELECT FROM unnest(p.polroles) AS r
                                WHERE CASE WHEN r = 0 THEN true
                                           ELSE pg_has_role(current_user, r, 'USAGE') END))
        AND NOT EXISTS (SELECT FROM pg_policy AS p
                         WHERE p.polrelid = place AND NOT p.polpermissive
                           AND p.polcmd IN ('r', '*'))),
      'readers_lacking', (
        SELECT coalesce(jsonb_agg(wished), '[]')
          FROM unnest({readers}::text[]) AS wished
         WHERE NOT EXISTS (SELECT FROM pg_roles AS r
                            WHERE r.rolname = wished
                              AND has_table_privilege(r.oid, place, 'SELECT')
                              AND {view} IS NOT TRUE
                              AND EXISTS (SELECT FROM pg_policy AS p
                                           WHERE p.polrelid = place AND p.polpermissive
                                             AND r.oid = ANY (p.polroles)
                                             AND pg_get_expr(p.polqual, place) = 'true'))));
  END IF;
  IF reads AND columns ?& ARRAY['version', 'applied_at', 'checksum']
     AND NOT fence->'code' @> jsonb_build_array(jsonb_build_object('table', {name})) THEN
    SELECT string_agg(CASE WHEN NOT columns ? name THEN 'NULL'
                           WHEN name IN ('version', 'checksum') THEN 'h.' || name || '::text'
                           ELSE 'h.' || name END, ', ')
      INTO wanted
      FROM unnest({columns}::text[]) AS name;
    EXECUTE format({query}, wanted) INTO rows;
    IF reads_log AND NOT row_security_active(log) AND fence->'code' = '[]'
       AND answer->'log' ?& ARRAY['id', 'run_id', 'version', 'event', 'detail'] THEN
      EXECUTE {journal} INTO journal, made_by, started, owed;
    END IF;
  END IF;
{others}{at_work}  PERFORM set_config('migrator.answer', (answer || jsonb_build_object(
    'rows', coalesce(rows, '[]'), 'journal', coalesce(journal, '[]'), 'format', made_by,
    'started', started, 'owed', owed))::text, true);
"""

#: Of a first run only; `rows` is null where there is no table, or no row.
OTHERS = """  IF rows IS NULL THEN
  {look}    answer := answer || jsonb_build_object(
      'others', current_setting('migrator.others')::jsonb);
  END IF;
"""
READ_ROWS = "SELECT jsonb_agg(jsonb_build_array(%s)) FROM {history} AS h"

#: The lines of what is not in the history, and of what was ever undone outside a transaction.
UNFINISHED = """NOT EXISTS (
    SELECT FROM {history} AS h WHERE h.version::text = l.version::text AND NOT EXISTS (
      SELECT FROM {log} AS b WHERE b.version::text = h.version::text AND b.detail ? 'way'))"""
#: Whose rules the folder followed when the newest row was written: each such line says so, but
#: those of older releases.
FORMAT = """SELECT l.detail->>'format' FROM {log} AS l
  WHERE l.event IN ('applied', 'adopted', 'baseline') ORDER BY l.id DESC LIMIT 1"""
#: Whether anything was ever done here that may have left something.
STARTED = """SELECT EXISTS (SELECT FROM {log} AS l
  WHERE l.event NOT IN ('history.prepared', 'failed', 'hook_failed'))"""
#: Whether the hook after the migrations has not run since it was called for; null: never.
OWED = """SELECT l.event = 'hook_owed' FROM {log} AS l
  WHERE l.version = 'after' AND l.event IN ('hook_owed', 'hook') ORDER BY l.id DESC LIMIT 1"""
FIND = """SELECT run_id::text, execution_time_ms FROM {history} WHERE version = {version}"""

#: RLS shows no row, and no error, to a role that is neither owner nor BYPASSRLS.
READ_LOG = """SELECT row_security_active({name}::regclass), current_user::text, (
  SELECT jsonb_agg(to_jsonb(line) ORDER BY line.id)
    FROM (SELECT id, at, version, event, runner, run_id, detail
            FROM {log} ORDER BY id DESC LIMIT {limit}) AS line), ({question})"""

NO_SUCH_TABLE = "42P01"
#: Refusals of a read that may pass by themselves: a lock, a conflict with recovery, a cancel.
PASSING = frozenset({"55P03", "40001", "40P01", "57014"})
#: Without these a table of that name is no history of ours.
NEEDED = {"version", "applied_at", "checksum"}
#: What the log's columns must be for our rows to fit in.
LOG_COLUMNS = {"at", "run_id", "version", "event", "runner", "detail"}
SUITABLE_VERSION = r"character varying(\(\d+\))?"
#: 64 hex digits must fit in.
SUITABLE_CHECKSUM = r"character( varying)?\((6[4-9]|[7-9]\d|\d{3,})\)|character varying"
KINDS = {kind.value: kind for kind in Kind}

ELSEWHERE = (
    "Give this history a schema of its own, --migrations-schema NAME (MIGRATIONS_SCHEMA), or "
    "rename the other tool's table once nothing uses it any more."
)
PENDING = " In a new history every file counts as pending"


class History(NamedTuple):
    """What one look at the database gave."""

    rows: tuple[Applied, ...]  #: rising by number and version
    schema_exists: bool
    exists: bool  #: the table is there
    log_exists: bool
    complete: bool  #: both tables are there with all their columns
    readers_lacking: tuple[str, ...]  #: of HISTORY_READERS, those who cannot read it yet
    read_only: bool  #: a standby, or a server in read-only mode
    columns: frozenset[str] = frozenset()  #: that the table has
    #: No-transaction migrations that began and did not finish; none where the log cannot be read.
    dirty: Mapping[str, Progress] = {}
    #: The same of their undos, and of undos in batches.
    undoing: Mapping[str, Progress] = {}
    #: Files in batches of which some are committed; none where the log cannot be read.
    batching: Mapping[str, Progress] = {}
    distrust: Distrust = Distrust()  #: who may have forged what is here
    #: What other histories hold, where this one is empty: schema, version, checksum.
    others: Mapping[str, Mapping[str, str | None]] = {}
    at_work: dict[str, Any] | None = None  #: the runner that holds the lock, where that was asked
    format: str | None = None  #: whose rules the folder followed; None where that is not known
    started: bool = False  #: something was recorded once, even if nothing of it is left
    owed: bool = False  #: the hook after the migrations is to run, where that was asked

    def seen(self) -> list[tuple[str, str | None]]:
        """What the flight's guard compares, see `guard.head`."""
        return [(row.version, row.checksum) for row in self.rows]


def read_history(
    session: Session,
    place: Place,
    lock_timeout_ms: int,
    readers: Sequence[str] = (),
    *,
    others_too: bool = False,
    at_work: bool = False,
    hooks: bool = False,
) -> History:
    """All that is recorded, in one round trip; an empty history where there is no table.

    With `others_too` an empty one comes with what other histories of the database hold, with
    `at_work` any one with the runner that is at work, with `hooks` whether one is owed.

    Raises AccessError when the role may not read it or does not see all its rows, ConfigError
    when the tables are another tool's, ServerError for what may pass.
    """
    block = _read_block(place, readers, others_too=others_too, at_work=at_work, hooks=hooks)
    text = first(
        marker(place, "reads its tables"),
        f"SET LOCAL lock_timeout = {lock_timeout_ms}",
        "SET LOCAL statement_timeout = 0",
        do(block, READ_DECLARE),
        "SELECT current_setting('migrator.answer')",
    )
    try:
        answer = json.loads(session.send(text)[0][0])
    except ServerError as error:
        if error.refusal.sqlstate in PASSING:
            raise
        raise no_access("read", place, error, session) from error
    distrust = Distrust.of(answer["fence"])
    _check(place, answer, distrust)
    return _understood(answer, distrust, readers)


def _read_block(
    place: Place, readers: Sequence[str], *, others_too: bool, at_work: bool, hooks: bool
) -> str:
    """The statements of the block that reads all of it."""
    which = UNFINISHED.format(history=place.history, log=place.log)
    schema, (history, log) = literal(place.schema), place.tables
    return READ.format(
        schema=schema,
        oid=OID.format(schema=schema, name=literal(history.name)),
        log_oid=OID.format(schema=schema, name=literal(log.name)),
        plain=plain(len(place.tables), Access.READ, "ARRAY[place, log]"),
        question=literal(question(place.tables, place.server_version, Access.READ)),
        name=literal(str(history)),
        history=place.history,
        log=place.log,
        readers=_array(readers),
        view=_not_seen(place) if readers else "false",
        columns=_array(HISTORY_COLUMNS),
        query=literal(READ_ROWS.format(history=place.history)),
        journal=literal(
            f"SELECT ({lines_query(place.log, which)}), ({FORMAT.format(log=place.log)}), "
            f"({STARTED.format(log=place.log)}), "
            + (f"({OWED.format(log=place.log)})" if hooks else "NULL")
        ),
        others=OTHERS.format(look=look_for_others(place)) if others_too else "",
        at_work=_look_for_worker(place) if at_work else "",
    )


def _look_for_worker(place: Place) -> str:
    from migrator.history.at_work import look_for_worker  # for those who ask for it

    return look_for_worker(place)


def _not_seen(place: Place) -> str:
    from migrator.history.status_view import reader_lacks_view  # for those who have readers

    return reader_lacks_view(place)


def _check(place: Place, answer: dict[str, Any], distrust: Distrust) -> None:
    """Raise what forbids to use the tables."""
    if answer["exists"]:
        columns = answer.get("columns", {})
        if set(columns) >= NEEDED:
            distrust.refuse_code([str(place.tables[0])])
        _check_ours(place, answer, columns)
        _check_visible(place, answer)
    if set(answer["log"]) >= LOG_COLUMNS:
        distrust.refuse_code()
    _check_log(place, answer["log"])
    _check_versions(place, [row[0] for row in answer["rows"]])


def _understood(answer: dict[str, Any], distrust: Distrust, readers: Sequence[str]) -> History:
    columns = answer.get("columns", {})
    started = fold(read_lines(answer["journal"])) if distrust.believable else {}
    recorded = {row[0] for row in answer["rows"]}
    forth = {v: p for v, p in started.items() if p.way is Way.FORTH and v not in recorded}
    return History(
        rows=tuple(sorted((_applied(row) for row in answer["rows"]), key=_order)),
        schema_exists=answer["schema_exists"],
        exists=answer["exists"],
        log_exists=bool(answer["log"]),
        complete=bool(answer["log"]) and set(HISTORY_COLUMNS) | {"rollback_sql"} <= set(columns),
        readers_lacking=tuple(answer.get("readers_lacking", readers)),
        read_only=answer["read_only"],
        columns=frozenset(columns),
        dirty={v: p for v, p in forth.items() if p.batches is None},
        undoing={v: p for v, p in started.items() if p.way is Way.BACK and v in recorded},
        batching={v: p for v, p in forth.items() if p.batches is not None},
        distrust=distrust,
        others=others(answer.get("others", {})),
        at_work=_worker(answer),
        format=answer.get("format") if distrust.believable else None,
        started=bool(answer["rows"] or answer.get("started")),
        owed=bool(answer.get("owed")) and distrust.believable,
    )


def read_log(
    session: Session, place: Place, lock_timeout_ms: int, limit: int
) -> tuple[list[dict[str, Any]], Distrust]:
    """The newest `limit` lines of the log, oldest first, and who could have forged them.

    None where there is no log yet.

    Raises AccessError for a role that may not read it or does not see all of it: who may read
    the history need not read the log.
    """
    check = asked([place.tables[1]], place.server_version, Access.READ, Owners.ANY)
    asks = question([place.tables[1]], place.server_version, Access.READ)
    query = READ_LOG.format(log=place.log, name=literal(place.log), limit=limit, question=asks)
    limits = f"SET LOCAL lock_timeout = {lock_timeout_ms}"
    text = first(marker(place, "reads its log"), limits, do(check, DECLARE), query)
    try:
        hidden, role, lines, doubts = session.send(text)[0]
    except ServerError as error:
        if error.refusal.sqlstate in PASSING:
            raise
        session.tidy()
        if error.refusal.sqlstate == NO_SUCH_TABLE:
            return [], Distrust()
        if error.refusal.sqlstate == UNTRUSTED:
            raise explain(error.refusal.detail) from error
        raise no_access("read", place, error, session) from error
    if hidden:
        raise AccessError(
            f"the role {role} does not see all rows of {place.log}",
            remedy="Run as the owner of that table.",
        )
    return list(lines or []), Distrust.of(doubts)


def find_run(session: Session, place: Place, version: str) -> tuple[str | None, int] | None:
    """The run that applied `version` and its ms, None if none did; looked up under the lock.

    A look without the lock can come before the COMMIT it looks for. Raises ServerError with
    HELD while another holds the lock, the orphan of our own lost connection too, and with MOVED
    where the tables are gone.
    """
    find = FIND.format(history=place.history, version=literal(version))
    rows = session.send(looking(place, version, find))
    return (rows[0][0], rows[0][1] or 0) if rows else None


def is_standby(session: Session) -> bool:
    """Whether the server replays another one's commits, and may lack the newest."""
    return bool(session.send(first("/* migrator */", "SELECT pg_is_in_recovery()"))[0][0])


def _worker(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    if answer.get("at_work") is None:
        return None
    from migrator.history.at_work import worker  # few ask for it

    return worker(answer)


def _suits(kind: str, pattern: str) -> bool:
    """Whether a column of this type will do; ours is text, and needs no pattern."""
    return kind == "text" or re.fullmatch(pattern, kind) is not None


def _check_ours(place: Place, answer: dict[str, Any], columns: dict[str, str]) -> None:
    known = set(columns) >= NEEDED
    if (
        known
        and answer["relkind"] in {"r", "p"}
        and _suits(columns["version"], SUITABLE_VERSION)
        and _suits(columns["checksum"], SUITABLE_CHECKSUM)
    ):
        return
    plain = {name: kind.partition("(")[0] for name, kind in columns.items()}
    from migrator.history.other_tables import tool_of  # needed only when it is refused

    tool, adopted = tool_of(plain, rails=answer["rails"]) or (None, None)
    raise ConfigError(
        f"{place.schema}.schema_migrations is not ours: "
        + (f"it looks like {tool}'s" if tool else "it has other columns")
        + "; it was not touched",
        remedy=ELSEWHERE
        + PENDING
        + (f", until `adopt --from {adopted}` takes it over." if adopted else "."),
    )


def _check_log(place: Place, columns: dict[str, str]) -> None:
    if columns and not set(columns) >= LOG_COLUMNS:
        raise ConfigError(
            f"{place.schema}.schema_migrations_log is not ours: it has other columns; it was not "
            "touched",
            remedy=ELSEWHERE,
        )


def _check_versions(place: Place, versions: list[str | None]) -> None:
    if None in versions or len(set(versions)) < len(versions):
        raise ConfigError(
            f"{place.schema}.schema_migrations has a version twice, or a row without one",
            remedy="Give the table its PRIMARY KEY (version) once a person has seen to those rows.",
        )


def _check_visible(place: Place, answer: dict[str, Any]) -> None:
    if answer["readable"] and answer["sees_all"]:
        return
    what = "does not see all rows of" if answer["readable"] else "may not read"
    raise AccessError(
        f"the role {answer['role']} {what} {place.schema}.schema_migrations",
        remedy="Run as the owner of that table, or name the role in the next `up`: "
        "--history-readers ROLE (HISTORY_READERS).",
    )


def _applied(row: list[Any]) -> Applied:
    version, checksum, kind, applied_at, spent, run_id, floor = row
    return Applied(
        version=version,
        number=number_of(version),
        checksum=checksum,
        kind=KINDS.get(kind, Kind.VERSIONED),
        applied_at=applied_at,
        execution_time_ms=spent,
        run_id=run_id,
        floor=bool(floor),
    )


def _order(row: Applied) -> tuple[object, ...]:
    return row.order[1:]


def _array(names: Sequence[str]) -> str:
    return "ARRAY[" + ", ".join(literal(name) for name in names) + "]"
