"""Tools that keep the undo in a file of its own, or have none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

from migrator.folder.formats.format import (
    OUTSIDE,
    Cut,
    Format,
    Pick,
    Read,
    WrongTextError,
    fitting,
    has_repeatables,
    numbered,
    top,
)
from migrator.folder.names import fits, is_migration
from migrator.model import NATIVE, Finding


class GolangMigrate(Format):
    """golang-migrate: N_name.up.sql and N_name.down.sql; anything else is not looked at."""

    name = "golang-migrate"
    new = MappingProxyType({".up.sql": "-- What it is for.\n", ".down.sql": "-- Undoes it.\n"})
    pattern = r"(\d+_.*)\.(up|down)\.sql"

    def claims(self, names: Sequence[str], read: Read) -> bool:
        return any(fitting(r"\d+_.*\.up\.sql", top(names)))

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        found = [name for name in map(re.compile(self.pattern).fullmatch, top(names)) if name]
        ups = {name[1]: name[0] for name in found if name[2] == "up"}
        downs = {name[1]: name[0] for name in found if name[2] == "down"}
        picks, findings = numbered(self, (Pick(v, up, downs.get(v)) for v, up in ups.items()))
        for version in sorted(downs.keys() - ups.keys()):
            # the tool pairs by number alone, so that the names may differ
            number = int(version.partition("_")[0])
            ours = [pick for pick in picks if int(pick.version.partition("_")[0]) == number]
            if ours and ours[0].down is None:
                place = picks.index(ours[0])
                picks[place] = Pick(ours[0].version, ours[0].up, downs[version])
                continue
            problem = f"there is no {version}.up.sql that it could undo"
            findings.append(
                Finding(downs[version], problem, "Restore that file or remove this one.")
            )
        return picks, findings


class Sqlx(GolangMigrate):
    """sqlx: N_name.sql, or N_name.up.sql with N_name.down.sql; `-- no-transaction` at the start."""

    name = "sqlx"
    cuts = True
    mark = "-- no-transaction"

    def claims(self, names: Sequence[str], read: Read) -> bool:
        files = sorted(fitting(r"\d+_.*\.sql", top(names)))
        downs, known = [name for name in files if name.endswith(".down.sql")], set(files)
        if has_repeatables(names) or any(f"{name[:-9]}.up.sql" not in known for name in downs):
            return False
        return any(re.match(rf"{self.mark}[ \t\r]*(?:\n|\Z)", read(name)) for name in files[:5])

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        picks, findings = super().pick(names, read)
        simple = fitting(r"\d+_.*(?<!\.up)(?<!\.down)\.sql", top(names))
        both, again = numbered(self, [*picks, *(Pick(n.removesuffix(".sql"), n) for n in simple)])
        return both, [*findings, *(finding for finding in again if finding not in findings)]

    def cut(self, text: str) -> Cut:
        return Cut(_alone(text, rf"\A{self.mark}[^\n]*"))


class Native(Format):
    """Our own: NNN_name.sql and NNN_name.down.sql, when another format claims the folder too."""

    name = NATIVE

    def claims(self, names: Sequence[str], read: Read) -> bool:
        files = [name for name in top(names) if name.lower().endswith(".sql")]
        return bool(files) and all(map(fits, files)) and not has_repeatables(files)

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        files = {name for name in top(names) if fits(name)}
        ups = (name for name in files if not name.endswith(".down.sql"))
        stems = {name: name.removesuffix(".sql") for name in ups}
        picks = [
            Pick(stem, up, down if (down := f"{stem}.down.sql") in files else None)
            for up, stem in stems.items()
        ]
        found, wrong = numbered(self, picks)
        below = (name for name in names if "/" in name and is_migration(name.rpartition("/")[2]))
        return found, wrong + [Finding(name, "lies in a folder", "Move it.") for name in below]


class Supabase(Format):
    """Supabase CLI: N_name.sql with any name, in the order of their names."""

    name = "supabase"
    new = MappingProxyType({".sql": "-- What it is for.\n"})
    by_text = True
    cuts = True
    pattern = r"\d+_.*\.sql"

    def claims(self, names: Sequence[str], read: Read) -> bool:
        files = [name for name in top(names) if name.endswith(".sql")]
        if not all(map(re.compile(r"\d{14}_.*\.sql").fullmatch, files)):
            return False
        # what is left out another tool would run
        return not (self.left_out(names) or all(map(fits, files)))

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        found = {*fitting(self.pattern, top(names))}
        picked = found - self.left_out(names)
        return numbered(self, (Pick(name.removesuffix(".sql"), name) for name in picked))

    def left_out(self, names: Sequence[str]) -> set[str]:
        """The first file of an old project: the platform has made what is in it."""
        first = min(fitting(self.pattern, top(names)), default="")
        init = re.fullmatch(r"(\d{14})_init\.sql", first)
        return {first} if init and int(init[1]) < 20211209000000 else set()

    def cut(self, text: str) -> Cut:
        return Cut(_alone(text, r"\A-- pg-delta: transaction=false(?=\n|\Z)"))


class Graphile(Format):
    """graphile-migrate: committed/N-name.sql, each with the hash of the one before it."""

    name = "graphile-migrate"
    cuts = True
    pattern = r"(?:committed/)?(\d+(?:-[-\w]*)?)\.sql"

    def claims(self, names: Sequence[str], read: Read) -> bool:
        files = sorted(fitting(self.pattern, names))
        return bool(files) and read(files[0]).startswith("--! Previous:")

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        found = [name for file in names if (name := re.fullmatch(self.pattern, file))]
        return numbered(self, (Pick(name[1], name[0]) for name in found))

    def cut(self, text: str) -> Cut:
        head, _, body = text.partition("\n\n")
        if not head.startswith("--! Previous:"):
            raise WrongTextError(
                "it does not begin with the header of graphile-migrate",
                "Commit it with graphile-migrate, or move it elsewhere.",
                1,
            )
        placeholder = re.search(r"(?<![:\w]):[A-Z][A-Z0-9_]+\b", body)
        if placeholder:
            line = text.count("\n", 0, len(head) + 2 + placeholder.start()) + 1
            raise WrongTextError(
                f"the placeholder {placeholder[0]} is not supported", "Write the value.", line
            )
        own = _alone(body, r"\A--![ \t]*no-transaction\b[^\n]*")
        return Cut(f"{head}\n\n{own}")


def _alone(text: str, mark: str) -> str:
    return re.sub(mark, OUTSIDE, text, count=1)
