"""An event -> one word for its column, and a phrase for a person.

Each phrase takes the fields that it says out of the event. What is left is added with its name, so
that a field which is new is shown, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from migrator.cli.cells import Screen
from migrator.display import visible, with_short_checksums
from migrator.model import NATIVE
from migrator.report import blockers_in_words, in_words

Fields = dict[str, Any]

#: How many versions of a list are named.
LISTED = 8
#: The words that have a colour: what has become of a migration. Any warning is yellow.
COLOUR_OF = {
    **dict.fromkeys(("applied", "undone", "done"), "green"),
    **dict.fromkeys(("pending", "late", "held"), "yellow"),
    **dict.fromkeys(("drifted", "missing", "dirty", "failed"), "red"),
}


def phrase(name: str, level: str, fields: Fields, screen: Screen) -> tuple[str, str]:
    """The word and the phrase of an event; of one with other fields than it has today, their names.

    A line is never worth a run: it is not for this function to raise.
    """
    word, say = _EVENTS.get(name, (name, None))
    if word == "notice" and level == "warning":
        word = "warning"
    left, said = dict(fields), ""
    if say is not None:
        try:
            said = say(left, screen)
        except (KeyError, TypeError, ValueError, AttributeError):
            left = dict(fields)
    left.pop("file", None)  # the version says it
    rest = (f"{key.replace('_', ' ')} {words(value)}" for key, value in left.items() if says(value))
    return word, ", ".join(filter(None, (said, *rest)))


def says(value: Any) -> bool:
    return value not in (None, "", [], {})


def words(value: Any) -> str:
    """Any value, without Python's signs."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{str(k).replace('_', ' ')} {words(v)}" for k, v in value.items())
    if isinstance(value, list):
        return listed(value)
    return visible(with_short_checksums(str(value)))


def listed(values: list[Any]) -> str:
    """The first of them by name, and how many more there are."""
    named = ", ".join(words(value) for value in values[:LISTED])
    return f"{named} and {len(values) - LISTED} more" if values[LISTED:] else named


def spent(ms: int) -> str:
    """A time as a person says it."""
    if ms < 1000:
        return f"{ms} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f}".removesuffix(".0") + " s"
    minutes, seconds = divmod(round(ms / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _started(fields: Fields, _screen: Screen) -> str:
    folder, version = fields.pop("migrations_dir"), fields.pop("migrator")
    return f"migrator {version}: {fields.pop('command')}, migrations in {words(folder)}"


def _connected(fields: Fields, _screen: Screen) -> str:
    fields.pop("backend_pid")
    target, setting = words(fields.pop("target")), fields.pop("setting")
    major, minor = divmod(fields.pop("server_version"), 10_000)
    tls = "TLS" if fields.pop("tls") else "no TLS"
    by = "" if setting == "DATABASE_URL" else f" ({setting})"
    return f"{target}{by}, PostgreSQL {major}.{minor}, {tls}"


def _planned(fields: Fields, _screen: Screen) -> str:
    count, form = fields.pop("applied_count", 0), fields.pop("format", NATIVE)
    said = [] if fields.get("pending") or fields.get("would_undo") else ["nothing to do"]
    for name in ("pending", "would_undo", "deferred", "late", "held", "drifted", "missing"):
        if found := fields.pop(name, None):
            said.append(f"{len(found)} {'to undo' if name == 'would_undo' else name}: ")
            said[-1] += listed(found)
    said += [f"{count} applied"] if count else []
    said += [f"the folder is read as {words(form)}"] if form != NATIVE else []
    return "; ".join(said)


def _found(fields: Fields, screen: Screen) -> str:
    if "file" not in fields:  # the last line, of those that are not listed
        fields.pop("more", None)
        return f"… {words(fields.pop('problem'))}. {words(fields.pop('remedy'))}"
    place, problem = screen.place(words(fields.pop("file"))), words(fields.pop("problem"))
    line = fields.pop("line", None)
    return f"{place}{f':{line}' if line else ''}: {problem}. {words(fields.pop('remedy'))}"


def _prepared(fields: Fields, _screen: Screen) -> str:
    return f"the history, in schema {words(fields.pop('schema'))}"


def _number(fields: Fields) -> str:
    return f"{fields.pop('step')} of {fields.pop('steps')}"


def _migration(fields: Fields, _screen: Screen) -> str:
    return f"{words(fields.pop('version'))}, {_number(fields)}"


def _undo(fields: Fields, _screen: Screen) -> str:
    origin = {"stored": "", "file": " from the folder"}[fields.pop("from")]
    return f"the undo of {words(fields.pop('version'))}{origin}, {_number(fields)}"


def _ended(fields: Fields, _screen: Screen) -> str:
    return f"{words(fields.pop('version'))}{_in_time(fields)}"


def _forgotten(fields: Fields, _screen: Screen) -> str:
    version, undone = words(fields.pop("version")), words(fields.pop("undone"))
    return f"{version}, which ran after {undone}; the next `up` runs it again"


def _in_time(fields: Fields) -> str:
    took = fields.pop("execution_time_ms", None)
    return "" if took is None else f" in {spent(took)}"


def _statement(fields: Fields, _screen: Screen) -> str:
    number = f"{fields.pop('statement')} of {fields.pop('statements')}"
    how = "; found to be done" if fields.pop("how", "ran") == "settled" else ""
    said = f"{words(fields.pop('version'))}, {number}: {words(fields.pop('what'))}"
    return f"{said}{_in_time(fields)}{how}"


def _settled(fields: Fields, screen: Screen) -> str:
    seen, verdict = words(fields.pop("seen")), words(fields.pop("verdict"))
    return f"{_statement(fields, screen)}: {seen}; so: {verdict}"


def _progress(fields: Fields, _screen: Screen) -> str:
    """The version is that of the migration which was started last, but in a group."""
    version, group = fields.pop("version"), fields.pop("parallel", None)
    event, waits = fields.pop("wait_event", None), fields.pop("waits_for", None)
    said = [words(version)] if group else []
    said += [_how_far(fields.pop("progress"))] if "progress" in fields else []
    if waits:
        said.append(f"waits for a lock{_on(waits)}")
    elif event and "progress" not in fields and len(said) == bool(group):
        said.append(f"waits for {words(event)}")
    if blockers := fields.pop("blockers", None):
        said.append("behind " + "; ".join(map(in_words, blockers)))
    running_ms = fields.pop("running_ms")
    return ", ".join((*said, spent(running_ms // 1000 * 1000 or running_ms)))


def _walked(fields: Fields, _screen: Screen) -> str:
    """004_fill: 1,200,000 rows, 60 %, 88,000 a second, 9 s left."""
    said = f"{fields.pop('version')}: {fields.pop('rows'):,} rows"
    fields.pop("batches")
    if (percent := fields.pop("percent", None)) is not None:
        said += f", {percent} %"
    if (speed := fields.pop("rows_per_second", None)) is not None:
        said += f", {speed:,} a second"
    if (left := fields.pop("seconds_left", None)) is not None:
        said += f", {spent(left * 1000)} left"
    if waiting := fields.pop("waiting", None):
        said += ", waits for a lock" if waiting == "lock" else ", waits for a standby"
    return said


def _how_far(found: Fields) -> str:
    """building index on orders, 24 % (529 of 2,206 blocks)."""
    command, phase = str(found.get("command")), str(found.get("phase") or "").partition(":")[0]
    doing = command if command.startswith("COPY") else phase or command
    done, total, unit = found.get("done"), found.get("total"), found.get("unit")
    of = f"{done:,} of {total:,} {unit}" if done is not None and total else ""
    if found.get("percent") is not None:
        of = f"{round(found['percent'])} % ({of})"
    elif done:
        of = f"{done:,} {unit}"
    return ", ".join(filter(None, (f"{words(doing)}{_on(found)}", of)))


def _on(found: Fields) -> str:
    relation = words(found.get("relation") or "").removeprefix("public.")
    return f" on {relation}" if relation else ""


def _notice(fields: Fields, _screen: Screen) -> str:
    fields.pop("more", None)  # the notice says it
    who = words(fields.pop("version", None) or fields.pop("target", None))
    state = fields.pop("sqlstate", None)
    return f"{who}: {words(fields.pop('notice'))}{f' ({state})' if state else ''}"


def _again(fields: Fields, _screen: Screen) -> str:
    fields.pop("reason", None)
    whom = words(fields.pop("target", None) or fields.pop("version", None) or "the connection")
    count = fields.pop("attempt", None) or fields.pop("losses", None)
    state = fields.pop("sqlstate", None)
    said = f"{whom}, attempt {count} failed: {words(fields.pop('error'))}"
    behind = blockers_in_words(fields)
    for name in ("waits_for", "blockers"):
        fields.pop(name, None)
    if unknown := fields.pop("blockers_unknown", None):
        behind += f"; who blocks it is not known: {words(unknown)}"
    return f"{said}{f' ({state})' if state else ''}{behind}"


def _rerouted(fields: Fields, _screen: Screen) -> str:
    why = words(fields.pop("error", None) or fields.pop("reason"))
    return f"from {words(fields.pop('target'))} to {words(fields.pop('instead'))}: {why}"


def _locked(fields: Fields, _screen: Screen) -> str:
    waited, holder = fields.pop("waited_ms"), fields.pop("holder")
    whom = f", which {in_words(holder)} holds" if holder else ""
    return f"for the lock{whom}, for {spent(waited)}"


def _open(fields: Fields, _screen: Screen) -> str:
    relations = listed(fields.pop("relations"))
    who = in_words(fields)
    fields.clear()
    return f"an old transaction holds locks on {relations}: {who}"


def _polled(fields: Fields, _screen: Screen) -> str:
    pending = fields.pop("pending")
    return f"for {len(pending)} pending: {listed(pending)}; looked {fields.pop('attempt')} times"


def _assumed(fields: Fields, _screen: Screen) -> str:
    said = f"{words(fields['assumed'])} (reason: {words(fields['why'])})"
    fields.clear()  # the assumption says it
    return said


def _rehearsed(fields: Fields, screen: Screen) -> str:
    result = words(fields.pop("result"))
    return f"{_migration(fields, screen)}: {result}"


def _adopted(fields: Fields, _screen: Screen) -> str:
    return f"{fields.pop('count')} from {fields.pop('from')}, {words(fields.pop('table'))}"


def _baseline(fields: Fields, _screen: Screen) -> str:
    return f"{fields.pop('count')} recorded, up to {words(fields.pop('version'))}"


def _trimmed(fields: Fields, _screen: Screen) -> str:
    return f"{listed(fields.pop('parameters'))} of {fields.pop('setting')}: for other drivers"


def _says(text: str) -> Callable[[Fields, Screen], str]:
    """A phrase that is `text`, with one field or none in it."""

    def say(fields: Fields, _screen: Screen) -> str:
        names = [
            name for name in ("migrations_dir", "scratch", "lines", "path", "jobs") if name in text
        ]
        return text.format(**{name: words(fields.pop(name)) for name in names})

    return say


def _untraced(fields: Fields, _screen: Screen) -> str:
    return f"no trace was sent: {words(fields.pop('error'))}. {words(fields.pop('remedy'))}"


def _member(fields: Fields, _screen: Screen) -> str:
    """The end of one member of a fleet; a failure with its code and what to do."""
    name, ended = words(fields.pop("name")), fields.pop("exit_code")
    applied, outcome = fields.pop("applied"), words(fields.pop("outcome"))
    error, remedy = fields.pop("error"), fields.pop("remedy")
    took, at = spent(fields.pop("duration_ms")), fields.pop("current")
    pending = fields.pop("pending")
    if ended:
        return f"{name} failed ({ended}): {words(error)}; {outcome}. {words(remedy)}"
    place = f", at {words(at)}" if at else ""
    behind = f", {len(pending)} pending" if pending else ""
    return f"{name}, {len(applied)} applied{place}{behind} in {took}"


#: What each event is called in the column of words, and what is said of it.
_EVENTS: dict[str, tuple[str, Callable[[Fields, Screen], str]]] = {
    "run.started": ("started", _started),
    "source.empty": ("warning", _says("no migration in {migrations_dir}")),
    "url.trimmed": ("trimmed", _trimmed),
    "connection.retry": ("retry", _again),
    "connection.rerouted": ("rerouted", _rerouted),
    "connection.opened": ("connected", _connected),
    "connection.notice": ("notice", _notice),
    "plan.made": ("plan", _planned),
    "plan.warning": ("warning", _found),
    "lock.waiting": ("waiting", _locked),
    "history.prepared": ("prepared", _prepared),
    "history.baselined": ("baseline", _baseline),
    "history.adopted": ("adopted", _adopted),
    "mirror.absent": (
        "warning",
        _says("SYNC_SUPABASE_HISTORY is on, and the Supabase CLI has no history here"),
    ),
    "transaction.open": ("warning", _open),
    "migration.started": ("started", _migration),
    "migration.notice": ("notice", _notice),
    "migration.progress": ("running", _progress),
    "jobs.reduced": ("notice", _says("JOBS is {jobs} from here on")),
    "observer.unavailable": ("notice", _says("neither blockers nor progress can be seen")),
    "migration.retry": ("retry", _again),
    "statement.started": ("statement", _statement),
    "statement.done": ("done", _statement),
    "statement.settled": ("settled", _settled),
    "batch.progress": ("batches", _walked),
    "migration.applied": ("applied", _ended),
    "hook.done": ("hook", _ended),
    "undo.started": ("started", _undo),
    "migration.undone": ("undone", _ended),
    "repeatable.forgotten": ("forgotten", _forgotten),
    "repair.assuming": ("assumed", _assumed),
    "migration.rehearsed": ("rehearsed", _rehearsed),
    "scratch.left": ("warning", _says("the scratch database {scratch} could not be dropped")),
    "migrations.waiting": ("waiting", _polled),
    "member.finished": ("member", _member),
    "lines.lost": ("warning", _says("{lines} lines before were lost")),
    "telemetry.failed": ("warning", _untraced),
    "termination_log.failed": ("warning", _says("{path} could not be written")),
}
