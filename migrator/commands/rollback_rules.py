"""What a refused undo means, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.history.flight import ESCAPED
from migrator.plan.undo import Origin, Step


def remedy(step: Step) -> str:
    """What to do about an undo that PostgreSQL refused."""
    file = step.script.migration.file
    if step.origin is Origin.FILE:
        return f"Fix {file} and run again."
    return (
        "This is the undo as it was stored: clear away what stands in its way and run again, or "
        f"fix {file} and run `rollback --from-files`."
    )


def what_it_means(
    step: Step, sqlstate: str | None, untried: Sequence[str], standing: str | None = None
) -> str:
    """The state of the database after a refused undo; of a no-transaction one `standing` is it."""
    version = step.row.version
    said = f"the undo of {version} was rolled back, and {version} is still applied"
    if not step.script.transactional and standing:
        said = standing
    elif sqlstate == ESCAPED:
        said = (
            f"what the undo of {version} did before its own COMMIT stands, and {version} is still "
            "recorded as applied"
        )
    return f"{said}; not tried: {', '.join(untried)}" if untried else said
