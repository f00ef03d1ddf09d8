"""The error tree. Each class carries one exit code and one remedy; the codes are a promise.

MigratorError            base; itself only where `migrator.apply` meets a bug of ours
├─ ConfigError        2  usage or settings
├─ RefusedError          nothing was run, fix something first:
│    SourceError 10 · DriftError 11 · MissingError 12 · LateError 13 · DirtyError 14 ·
│    AccessError 16 · PolicyError 17
├─ StatementError    15  PostgreSQL refused a statement of a file
├─ FleetError            some of many databases failed, with the code of the worst
└─ TransientError        safe to run again:
     UnreachableError 20 · LockedError 21 · BusyError 22 · StoppedError 23 · PendingError 24

The first digit says what a cluster does: 0 done, 1 a bug of ours (with traceback), 2 usage,
1x fix something first, 2x run it again. `k8s/base/job.yaml` repeats these codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.model import Finding
    from migrator.report import Report


class MigratorError(Exception):
    """Something went wrong that we know by name."""

    exit_code = 1
    remedy = ""
    report: Report | None = None  #: what the run did before, for callers of `migrator.apply`

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        findings: Sequence[Finding] = (),
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.findings = tuple(findings)
        self.details = details  #: plain values for the log line and the report
        if remedy is not None:
            self.remedy = remedy


class ConfigError(MigratorError):
    """A setting or an argument cannot be used."""

    exit_code = 2
    remedy = "Correct the setting named above; `migrator help settings` lists them all."


class RefusedError(MigratorError):
    """Nothing was run."""


class SourceError(RefusedError):
    """The folder of migrations cannot be used as it is."""

    exit_code = 10
    remedy = "Fix the files named above; nothing was run."


class DriftError(RefusedError):
    """Applied files no longer match the checksums recorded when they ran."""

    exit_code = 11
    remedy = (
        "Restore these files from version control; put the change in a new migration. What was "
        "changed on purpose: `repair --accept-checksum VERSION --reason WHY`."
    )


class MissingError(RefusedError):
    """Migrations were applied whose files are gone."""

    exit_code = 12
    remedy = (
        "Restore these files from version control, or let it pass: --on-missing warn "
        "(ON_MISSING=warn). What was renamed: `repair --rename OLD NEW --reason WHY`."
    )


class LateError(RefusedError):
    """Pending migrations are older than the newest applied one."""

    exit_code = 13
    remedy = (
        "Give these files numbers above the newest applied (`new --renumber VERSION`), or choose "
        "--on-late apply or --on-late skip (ON_LATE)."
    )


class DirtyError(RefusedError):
    """A no-transaction migration or undo began and did not finish, and a person must see to it."""

    exit_code = 14
    remedy = (
        "Run `up`: it settles by the catalog what can be settled, and asks about the rest, which "
        "`repair --done VERSION --reason WHY` or `repair --retry VERSION --reason WHY` answers."
    )


class AccessError(RefusedError):
    """The login, the tenant or TLS was refused, or the role may not do what is needed."""

    exit_code = 16
    remedy = "Give the role what the message names, or use another role."


class PolicyError(RefusedError):
    """Pending files would do to tables in use what PREFLIGHT=fail does not let pass."""

    exit_code = 17
    remedy = (
        "Change these files as said of each; or let one pass by a line in it, "
        '`-- migrator: allow CLASS RELATION "reason"`.'
    )


class StatementError(MigratorError):
    """PostgreSQL refused a statement of a file; the file's transaction was rolled back."""

    exit_code = 15
    remedy = "Fix the file and run again."


class TransientError(MigratorError):
    """It may work the next time; running again is safe."""


class UnreachableError(TransientError):
    """No connection within CONNECT_TIMEOUT, or the connection was lost for good."""

    exit_code = 20
    remedy = "Check that the server runs and can be reached from here, then run again."


class LockedError(TransientError):
    """Another runner held the lock for all of WAIT_TIMEOUT."""

    exit_code = 21
    remedy = "See whether the other runner is at work or stuck, then run again."


class BusyError(TransientError):
    """Locks on tables were not available within LOCK_RETRY_TIMEOUT."""

    exit_code = 22
    remedy = "Run again when the tables are less busy, or raise --lock-timeout (LOCK_TIMEOUT)."


class StoppedError(TransientError):
    """SIGTERM, SIGINT or the deadline ended the run."""

    exit_code = 23
    remedy = "Run again; what was applied stays applied."


class PendingError(TransientError):
    """`verify` found pending migrations, or `wait` ran out of time."""

    exit_code = 24
    remedy = "Run `up` with this folder."


class FleetError(MigratorError):
    """Some of many databases failed; the exit code is that of the worst failure."""

    def __init__(self, message: str, *, remedy: str, exit_code: int, outcome: str) -> None:
        super().__init__(message, remedy=remedy, outcome=outcome)
        self.exit_code = exit_code
