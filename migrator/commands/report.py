"""`report`: the whole state, for a pull request or an incident."""

from __future__ import annotations

from typing import Any

from migrator import __version__
from migrator.apply.run import Run
from migrator.commands.overview import graph_of, half_done_files, judged, log_line, states
from migrator.commands.report_rules import owing, started_rows, verdict, way_out
from migrator.commands.source import read_folder
from migrator.commands.table import Output
from migrator.config import Preflight
from migrator.errors import AccessError

REPORT_LINES = 20  #: of the log that are shown
PAGE_LINES = 10_000  #: of a page, which has them by day and run


def report(run: Run, *, markdown: bool, pending: bool, html: str | None) -> Output:
    """Show the whole state, for a pull request or an incident; changes nothing.

    With --pending: what is to be applied, and what is in its way.
    """
    migrations = read_folder(run)
    view = run.look(migrations, at_work=True)
    failures, found, scripts = judged(run, view, migrations)
    preflight: dict[str, Any] | None = None
    if scripts and run.config.preflight is not Preflight.OFF:
        from migrator.preflight.gate import look_ahead  # only where something is pending

        ahead = look_ahead(run, scripts, migrations)
        preflight = ahead.as_dict()
        failures = (ahead.refusal,) if ahead.refusal else ()
    findings = (*view.decision.findings, *found, *half_done_files(run, view), *owing(run.owed))
    said = verdict(failures, view.dirty, run.pending, run.owed, run.deferred)
    run.outcome = said.removesuffix(".")
    log, unseen = _newest_lines(run, PAGE_LINES if html else 0 if pending else REPORT_LINES)
    rows = [row for row in states(run, view) if not pending or row["state"] != "applied"]
    graph, session = graph_of(run, view, migrations), run.link.connect()
    server = divmod(session.server_version, 10_000)
    return {
        "database": str(session.target),
        "server": f"PostgreSQL {server[0]}.{server[1]}",
        "history": run.link.place_of(session).history,
        "folder": run.config.migrations_dir,
        "format": view.format,
        "migrator": __version__,
        "taken_at": run.started_at.isoformat(timespec="seconds"),
        "newest": run.current,
        "verdict": said + way_out(failures),
        "findings": [finding.as_dict() for finding in findings],
        "preflight": preflight,
        "at_work": view.history.at_work,
        "dirty": started_rows(
            {**view.history.dirty, **view.history.undoing}, view.dirty + view.undoing
        ),
        "migrations": rows,
        "graph": graph,
        **({"requires": graph.needs, "seen": _seen(run, view.history.at_work)} if html else {}),
        "log": log,
        "log_unseen": unseen,
    }


def _seen(run: Run, at_work: dict[str, Any] | None) -> dict[str, Any]:
    """What the runner at work waits for, behind whom, and how far it has come."""
    if not at_work or "run_id" not in at_work:
        return {}
    from migrator.database.tries import ask
    from migrator.postgres.blockers import read_seen

    return ask(run.link, lambda session, _place: read_seen(session, at_work["run_id"]))


def _newest_lines(run: Run, count: int) -> tuple[list[dict[str, Any]], str | None]:
    """The newest lines of the log; none, and why, for a role that may not see them."""
    if not count:
        return [], None
    try:
        return [log_line(line) for line in run.read_log(count)], None
    except AccessError as error:
        return [], (
            f"{error.message}: the log is not shown, and whether a migration is dirty is not "
            f"known. {error.remedy}"
        )
