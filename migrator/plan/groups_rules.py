"""Which files form a group that may run at once; docs/design.md section 17. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from migrator.model import Finding, Migration
from migrator.sql.script import Script

#: Of a file, the name of its group; None where it is of none.
GroupOf = Callable[[Migration], str | None]


def form_groups(
    folder: Sequence[Migration], scripts: Mapping[str, Script], group_of: GroupOf
) -> dict[str, str]:
    """Of each pending script of a group, the first pending version of that.

    A group is files of one name that follow each other in the folder, applied ones among them.
    """
    groups: dict[str, str] = {}
    name, first, between = None, "", []  # of the newest pending script, and what came since
    for migration in folder:
        script = scripts.get(migration.version)
        if script is None:
            between.append(migration)
            continue
        same = name is not None and script.parallel == name
        same = same and all(group_of(one) == name for one in between)
        name, first, between = script.parallel, first if same else migration.version, []
        if name is not None:
            groups[migration.version] = first
    return groups


def needs_within(groups: Mapping[str, str], scripts: Mapping[str, Script]) -> tuple[Finding, ...]:
    """What the scripts require of their own groups, which run in no order."""
    return tuple(
        Finding(
            scripts[version].migration.file,
            f"requires {need.version}, which is of the same group and may run at the same time",
            f"Remove the line parallel from this file, or put {need.version} before the group.",
            need.line,
        )
        for version, group in groups.items()
        for need in scripts[version].requires
        if groups.get(need.version) == group
    )


def last_of_group(folder: Sequence[Migration], migration: Migration, group_of: GroupOf) -> str:
    """The last version of the group that the file is of."""
    name, last = group_of(migration), migration.version
    at = next(at for at, one in enumerate(folder) if one.version == last)
    for following in folder[at + 1 :]:
        if following.repeatable or group_of(following) != name:
            break
        last = following.version
    return last
