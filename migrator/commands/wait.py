"""`wait`: polls until a runner elsewhere has applied everything."""

from __future__ import annotations

from migrator.apply.run import Run
from migrator.commands.overview import half_done_files
from migrator.commands.source import read_full_folder
from migrator.commands.table import Output
from migrator.durations import limit_seconds
from migrator.errors import PendingError, StoppedError
from migrator.model import Event, Finding, Migration, Phase
from migrator.plan.policy import too_old
from migrator.postgres.retry import Trouble, retry

LAST_LOOK_SECONDS = 2.0  #: for the look that `wait` takes when its time is up


def wait(run: Run) -> Output:
    """Poll until the database holds every migration of the folder; for an initContainer.

    Those of the post phase, which belongs after the new code is out, are waited for only where
    PHASE says so.
    """
    phase = run.config.phase or Phase.PRE
    run.config = run.config._replace(phase=Phase.ALL if phase is Phase.POST else phase)
    _poll(run, read_full_folder(run))
    return {}


def _poll(run: Run, migrations: tuple[Migration, ...]) -> None:
    """Poll until the database holds every migration of the folder.

    Raises PendingError after WAIT_TIMEOUT, MissingError for an image that is below a floor, and
    ConfigError when another history holds the folder's files, SourceError when these were applied
    by the rules of another tool.
    Needs no lock and writes nothing.
    """

    class _NotYetError(Exception):
        pass

    def tell_retry(_error: _NotYetError, attempt: int) -> None:
        fields = {"pending": lacking(), "attempt": attempt}
        run.link.tell(Event("migrations.waiting", "info", fields))

    def lacking() -> list[str]:
        owed = [run.owed] if run.owed else []
        return [*run.pending, *(run.view.undoing if run.view else ()), *owed]

    found: tuple[Finding, ...] = ()

    def look() -> None:
        nonlocal found
        view = run.look(migrations)
        found = half_done_files(run, view)
        if view.plan.below_floor:
            raise too_old(view.plan)
        for error in filter(None, (view.second, view.changed)):
            raise error
        if lacking():
            raise _NotYetError

    watch, limit = run.link.watch, limit_seconds(run.config.wait_timeout)
    try:
        with watch.bounded(limit + LAST_LOOK_SECONDS, "WAIT_TIMEOUT"):
            retry(look, watch, Trouble(_NotYetError, lambda: limit, tell_retry, first_seconds=0.2))
    except (_NotYetError, StoppedError) as error:
        if isinstance(error, StoppedError) and watch.stopped_by != "WAIT_TIMEOUT":
            raise
        what = f"still pending after WAIT_TIMEOUT: {', '.join(lacking())}"
        what = "; ".join([what, *(f"{one.file} {one.problem}" for one in found)])
        if run.view is None:
            what = "the history could not be read within WAIT_TIMEOUT"
        raise PendingError(
            what, remedy="See whether the job that runs `up` has failed or still works."
        ) from None
