"""Tools that give each migration a folder, or list their files in a journal."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from types import MappingProxyType

from migrator.folder.formats.delimiter import with_semicolons
from migrator.folder.formats.format import OUTSIDE, Cut, Format, Pick, Read, numbered
from migrator.folder.names import JOURNAL
from migrator.model import Finding

HEAD_CHARS = 200  #: of a text, in which Hasura's mark is
BREAK = "--> statement-breakpoint"
#: As Drizzle's generator writes it: to the server it is a comment.
_PLAIN_BREAK = re.compile(rf";[ \t\n]*{BREAK}[ \t]*(?=\n|\Z)")


class Prisma(Format):
    """Prisma up to 7: NAME/migration.sql; a down.sql beside it is never run."""

    name = "prisma"
    by_text = by_name = True
    file = "migration.sql"

    def claims(self, names: Sequence[str], read: Read) -> bool:
        folders = _folders(names)
        return any(self.file in files for files in folders.values())

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        picks, findings = [], []
        for folder, files in _folders(names).items():
            if self.file in files:
                picks.append(Pick(folder, f"{folder}/{self.file}"))
            else:
                findings.append(
                    Finding(folder, f"holds no {self.file}", "Restore that file or remove it.")
                )
        found, wrong = numbered(self, picks)
        return found, [*findings, *_unnumbered(found), *wrong]


class Drizzle(Prisma):
    """Drizzle 1: NAME/migration.sql with NAME/snapshot.json."""

    name = "drizzle"
    cuts = True

    def claims(self, names: Sequence[str], read: Read) -> bool:
        return JOURNAL in names or any(
            "snapshot.json" in files for files in _folders(names).values()
        )

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        if JOURNAL in names:
            return self._journal(names, read(JOURNAL))
        found = [name for name in names if name.endswith(f"/{self.file}")]
        return super().pick(found, read)

    def cut(self, text: str) -> Cut:
        """Drizzle cuts at each mark wherever it is: a statement ends there, a line does not."""
        count = text.count(BREAK)
        if not count or count == len(_PLAIN_BREAK.findall(text)):
            return Cut(text)
        marks = [(found.start(), found.end()) for found in re.finditer(BREAK, text)]
        return Cut(with_semicolons(text, marks))

    def _journal(self, names: Sequence[str], text: str) -> tuple[list[Pick], list[Finding]]:
        """Drizzle before 1: the entries of meta/_journal.json, in the order that they have."""
        try:
            tags = [str(entry["tag"]) for entry in json.loads(text)["entries"]]
        except (ValueError, KeyError, TypeError):
            problem = "cannot be read as the journal of Drizzle"
            return [], [Finding(JOURNAL, problem, "Restore it from version control.")]
        lacking = [tag for tag in tags if f"{tag}.sql" not in names]
        findings = [
            Finding(f"{tag}.sql", f"{JOURNAL} lists it, and it is missing", "Restore the file.")
            for tag in lacking
        ]
        picks = [Pick(tag, f"{tag}.sql") for tag in tags if tag not in lacking]
        found, wrong = numbered(self, picks)
        if not wrong and [pick.version for pick in found] != [pick.version for pick in picks]:
            problem = "lists the files in another order than that of their numbers"
            findings.append(Finding(JOURNAL, problem, "Give them numbers in that order."))
        return found, [*findings, *_unnumbered(found), *wrong]


class Diesel(Format):
    """Diesel, and Hasura: NAME/up.sql and NAME/down.sql."""

    name = "diesel"
    new = MappingProxyType({"/up.sql": "-- What it is for.\n", "/down.sql": "-- Undoes it.\n"})
    by_text = True
    cuts = True

    def claims(self, names: Sequence[str], read: Read) -> bool:
        return any("up.sql" in files for files in _folders(names).values())

    def cut(self, text: str) -> Cut:
        if "hasura" not in text[:HEAD_CHARS]:  # as in most: a pattern counts at 1000 files
            return Cut(text)
        return Cut(re.sub(r"\A[ \t]*-- hasura:no-transaction[ \t]*(?=\n|\Z)", OUTSIDE, text))

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        picks, findings = [], []
        for folder, files in _folders(names).items():
            if files == {""}:  # Diesel passes an empty one over
                continue
            if "up.sql" not in files:
                findings.append(Finding(folder, "holds no up.sql", "Restore that file."))
                continue
            down = f"{folder}/down.sql" if "down.sql" in files else None
            alone = "metadata.toml" in files and _runs_alone(read(f"{folder}/metadata.toml"))
            picks.append(Pick(folder, f"{folder}/up.sql", down, alone, alone))
        found, wrong = numbered(self, picks)
        return found, [*findings, *_unnumbered(found), *wrong]


def _runs_alone(metadata: str) -> bool:
    """As Diesel reads it: a file without the key says no, one that cannot be read says nothing."""
    try:
        return not tomllib.loads(metadata).get("run_in_transaction", False)
    except tomllib.TOMLDecodeError:
        return False


def _folders(names: Sequence[str]) -> dict[str, set[str]]:
    """The folders and the files in each."""
    found: dict[str, set[str]] = {}
    for name in names:
        folder, slash, file = name.partition("/")
        if slash and folder != "meta":
            found.setdefault(folder, set()).add(file)
    return found


def _unnumbered(picks: Sequence[Pick]) -> list[Finding]:
    return [
        Finding(pick.up, "its name does not begin with a number", "Give it a number: 001_name.")
        for pick in picks
        if not re.match(r"\d", pick.version)
    ]
