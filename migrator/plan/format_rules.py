"""Whether the folder is still read by the rules of the tool by which its files were applied."""

from __future__ import annotations

from collections.abc import Sequence

from migrator.errors import SourceError
from migrator.model import Migration

AUTO = "auto"  #: of FOLDER_FORMAT: the folder says it by its marks and names


def format_of(migrations: Sequence[Migration]) -> str | None:
    """Whose rules the folder follows; None of an empty one."""
    return ", ".join(sorted({migration.format for migration in migrations})) or None


def changed_format(
    migrations: Sequence[Migration], recorded: str | None, wanted: str
) -> SourceError | None:
    """What a run is refused with whose folder is `recorded` as that of another format.

    A setting other than AUTO says that the change is meant; what is applied next records it.
    """
    formats = {migration.format for migration in migrations}
    if wanted != AUTO or recorded is None or not formats or recorded in formats:
        return None
    found = format_of(migrations)
    return SourceError(
        f"the folder is read as {found}, and what is applied here was read as {recorded}",
        remedy=f"If it is still {recorded}: --folder-format {recorded} (FOLDER_FORMAT={recorded}) "
        f"says so, or remove the file that makes it look like {found}. If the change is meant, "
        f"give --folder-format {min(formats)} (FOLDER_FORMAT={min(formats)}).",
    )
