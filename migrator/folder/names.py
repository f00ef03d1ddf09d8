"""The names and bytes of the folder's files -> migrations in their order, or findings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from migrator.model import Finding, Migration
from migrator.sql.text import Text, read_text

JOURNAL = "meta/_journal.json"  #: of Drizzle, whose files are named as ours may be
_NUMBERED = r"[0-9]+(?:[_-](?s:.*))?|R__(?s:.*)"
_ANY_WAY = r"[^.]*(?:\.up|\.down)?"
_ANY_CASE = re.IGNORECASE | re.DOTALL
_NAME = re.compile(r"(?P<version>(?:(?P<number>[0-9]+)_|R__)[a-z0-9_]+)(?P<down>\.down)?\.sql")


class _Unread(NamedTuple):
    """What a numbered file is that is not run."""

    ending: str  #: what follows its version, and .up or .down: a pattern
    sure: bool  #: it can only be a migration
    problem: str
    remedy: str


_NOT_RUN = "only files whose names end in .sql are run"
_CODE = "cjs|clj|cs|cts|ex|exs|fizz|fs|go|groovy|java|js|kt|kts|mjs|mts|php|pl|py|rb|rs|scala|sh|ts"
_TEMPLATE = "ejs|erb|hbs|in|j2|jinja|jinja2|liquid|mustache|template|tmpl|tpl"
_UNREAD = (
    _Unread(r"\.sql[^\w~]+", True, "something follows .sql, and ", "Rename it to {}."),
    _Unread(r"\.(?:ddl|dml|pgsql|plsql|psql|sql\.txt|sqlx)", True, "", "Rename it to {}."),
    _Unread(r"\.sql\.(?:7z|bz2|gz|lz4|xz|zip|zst)", True, "", "Unpack it to {}."),
    _Unread(
        rf"\.sql\.(?:{_TEMPLATE})",
        True,
        "is a template, and ",
        "Write what is made of it into {}, and move it out of the folder.",
    ),
    _Unread(
        rf"(?<!_test)\.(?:{_CODE})",
        True,
        "is code, and ",
        "Write what it does into {}, and move it out of the folder.",
    ),
    _Unread(".*", False, "is not run: ", "Rename it to {}, or move it out of the folder."),
)


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


def fits(file: str) -> bool:
    """Whether a file of this name is one of ours."""
    return _NAME.fullmatch(file) is not None


def passed_over(names: Iterable[str]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Of a folder's files the numbered ones that are not run: what fails, and what is warned of.

    What can only be a migration fails, the rest is warned of. Where the migration of that name is
    there, the file is most likely a copy or a note: the former is warned of, the rest passes.
    """
    names = sorted(names)
    unread = [(file, kind) for file in names if (kind := _unread(file))]
    known = {name["version"] for file in names if (name := _NAME.fullmatch(file))} if unread else ()
    grades: tuple[list[Finding], ...] = [], [], []
    for file, kind in unread:
        stem = file.partition(".")[0]
        version = stem[0] + re.sub("[^a-z0-9_]", "_", stem[1:].lower())
        remedy = kind.remedy.format(f"{version}.down.sql" if ".down." in file else f"{version}.sql")
        if copy := version in known:
            remedy = f"Move it out of the folder, if {version}.sql is all of it."
        grades[(not kind.sure) + copy].append(Finding(file, kind.problem + _NOT_RUN, remedy))
    return tuple(grades[0]), tuple(grades[1])


def is_migration(file: str) -> bool:
    """Whether a file of this name can be nothing else, wherever it is."""
    kind = _unread(file)
    return file.lower().endswith(".sql") or (kind is not None and kind.sure)


def _unread(file: str) -> _Unread | None:
    """The row for a numbered file that is not read; None for one that is, or has no number."""
    stem = file.partition(".")[0]
    if file.lower().endswith(".sql") or not re.fullmatch(_NUMBERED, stem):
        return None
    ends = (kind for kind in _UNREAD if re.fullmatch(_ANY_WAY + kind.ending, file, _ANY_CASE))
    return next(ends)


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
