"""What a refused undo means, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from migrator.errors import DirtyError
from migrator.history.guard import ESCAPED
from migrator.plan.undo import Origin, UndoStep
from migrator.sql.created import Created, created

DEPENDED_ON = "2BP01"


def remedy(step: UndoStep) -> str:
    """What to do about an undo that PostgreSQL refused."""
    file = step.script.migration.file
    if step.origin is Origin.FILE:
        return f"Fix {file} and run again."
    return (
        "This is the undo as it was stored: clear away what is in its way and run again, or "
        f"fix {file} and run `rollback --from-files`."
    )


def half_done(versions: Collection[str]) -> DirtyError:
    """Nothing is undone below batches of which some are committed."""
    names, first = ", ".join(versions), next(iter(versions))
    return DirtyError(
        f"applied in part, in batches: {names}",
        remedy="Run `up`, which finishes it, and then run again. To give it up, once nothing of it "
        f"is left or is to be undone: `repair --not-applied {first} --reason WHY`.",
        outcome="nothing was undone",
    )


def dependents(detail: str | None, repeatables: Mapping[str, str]) -> list[tuple[str, Created]]:
    """What repeatables have made that DETAIL names as dependent on what was to go, by file.

    `repeatables` are their texts. Names are looked for and no words, as the server may speak any
    language. It names what depends on a thing behind that thing; here that comes first.
    """
    found = []
    for file, text in repeatables.items():
        for made in created(text):
            name = re.escape(made.printed)
            if place := re.search(rf'(?<![\w$"])"?{name}"?(?![\w$"])', detail or ""):
                found.append((-place.start(), file, made))
    return [(file, made) for _, file, made in sorted(found, key=lambda one: one[:2])]


def remedy_for(step: UndoStep, found: Sequence[tuple[str, Created]]) -> str:
    """What to do where a repeatable's object is in the way: the next `up` makes it again."""
    down, files = step.script.migration.file, " and ".join(sorted({file for file, _ in found}))
    drops = " ".join(dict.fromkeys(made.drop for _, made in found))
    return (
        f"{files} made what depends on it. Run `{drops}` in the database and run again; or put "
        f"that at the top of {down} and run `rollback --from-files`. The next `up` runs {files} "
        "again."
    )


def what_it_means(
    step: UndoStep, sqlstate: str | None, untried: Sequence[str], outcome: str | None = None
) -> str:
    """The state after a refused undo; of one that commits in parts `outcome` is it."""
    version = step.row.version
    said = f"the undo of {version} was rolled back, and {version} is still applied"
    if outcome and (step.script.batches or not step.script.transactional):
        said = outcome
    elif sqlstate == ESCAPED:
        said = (
            f"what the undo of {version} did before its own COMMIT is committed, and {version} is "
            "still recorded as applied"
        )
    return f"{said}; not tried: {', '.join(untried)}" if untried else said
