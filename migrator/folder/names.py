"""The names and bytes of the folder's files -> migrations in their order, or findings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from migrator.model import Finding, Migration
from migrator.sql.text import Text, read_text

_NAME = re.compile(r"(?P<version>(?:(?P<number>[0-9]+)_|R__)[a-z0-9_]+)(?P<down>\.down)?\.sql")


def gather(
    files: Iterable[tuple[str, bytes | Iterable[bytes] | Finding]],
) -> tuple[tuple[Migration, ...], tuple[Finding, ...]]:
    """The migrations in their order; or none, and all that is wrong with the folder.

    `files` are the names that end in .sql, in whatever case, each with its bytes, a large one's
    in blocks that can be read again, or with why they cannot be read. A version fits 255
    characters, because no file system allows longer names.
    """
    read = {file: _read(file, data) for file, data in files}
    names = [name for file in read if (name := _NAME.fullmatch(file))]
    findings = [text for text in read.values() if isinstance(text, Finding)] + _unpaired(names)
    if findings:
        return (), tuple(sorted(findings, key=lambda finding: finding.file))
    texts = {file: text for file, text in read.items() if not isinstance(text, Finding)}
    migrations = [_migration(name, texts) for name in names if not name["down"]]
    return tuple(sorted(migrations, key=lambda m: m.order)), ()


def versions(names: Iterable[str]) -> tuple[str, ...]:
    """The numbered versions of these file names, in order, even if the folder has faults."""
    found = [name for file in names if (name := _NAME.fullmatch(file)) and name["number"]]
    ups = sorted((int(name["number"]), name["version"]) for name in found if not name["down"])
    return tuple(version for _, version in ups)


def _read(file: str, data: bytes | Iterable[bytes] | Finding) -> Text | Finding:
    if not _NAME.fullmatch(file):
        return _misnamed(file)
    return data if isinstance(data, Finding) else read_text(data, file)


def _misnamed(file: str) -> Finding:
    return Finding(
        file,
        "the name fits no pattern, so that the file would never run",
        "Name it NNN_name.sql, NNN_name.down.sql or R__name.sql, with a-z, 0-9 and _ in the name.",
    )


def _unpaired(names: Iterable[re.Match[str]]) -> list[Finding]:
    """Two files with one number; a down file without its up file, or of a repeatable."""
    ups = {name["version"]: name for name in names if not name["down"]}
    by_number: dict[int, str] = {}
    findings = []
    for version in sorted(version for version, name in ups.items() if name["number"]):
        other = by_number.setdefault(int(ups[version]["number"]), version)
        if other != version:
            problem = f"{other}.sql has the same number"
            findings.append(Finding(f"{version}.sql", problem, "Give one of them another number."))
    for name in names:
        if name["down"] and not name["number"]:
            problem = "a repeatable has no undo"
            remedy = "Remove it; to go back, restore the older text of the repeatable and run `up`."
            findings.append(Finding(name.string, problem, remedy))
        elif name["down"] and name["version"] not in ups:
            problem = f"there is no {name['version']}.sql that it could undo"
            findings.append(Finding(name.string, problem, "Restore that file or remove this one."))
    return findings


def _migration(name: re.Match[str], texts: dict[str, Text]) -> Migration:
    text = texts[name.string]
    down = texts.get(f"{name['version']}.down.sql")
    return Migration(
        version=name["version"],
        number=int(name["number"] or -1),
        file=name.string,
        pieces=text.pieces,
        checksum=text.checksum,
        raw_checksum=text.raw_checksum,
        rollback_sql="".join(down.pieces) if down else None,
    )
