"""Atlas's plain folder: files by their names, and atlas.sum, which must fit them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

from migrator.folder.formats.delimiter import with_semicolons
from migrator.folder.formats.format import (
    OUTSIDE,
    Cut,
    Format,
    Pick,
    Read,
    WrongTextError,
    line_of,
    numbered,
    top,
)
from migrator.model import Finding

SUM = "atlas.sum"
_IGNORED = b"-- atlas:sum ignore"
_DIRECTIVE = re.compile(r"^-- atlas:(\w+)(?:[ \t]+([^\n]*))?$", re.MULTILINE)
#: The lines at the top of a file that are about all of it; an empty line ends them.
_HEAD = re.compile(r"\A(?:(?:--|#)[^\n]*\n)+(?=\n)")
_REMEDIES = {
    "checkpoint": "Leave the file out; a new database runs all others.",
    "import": "Write out what it imports.",
    "assert": "Write what it asserts as a statement that fails.",
    "txtar": "Write its parts as NAME.sql and NAME.down.sql.",
}


class Atlas(Format):
    """Atlas: NUMBER_name.sql, `atlas:txmode`, `atlas:delimiter`, and atlas.sum."""

    name = "atlas"
    by_text = True
    cuts = True
    sure = True

    def claims(self, names: Sequence[str], read: Read) -> bool:
        return SUM in names

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        found = [name for name in top(names) if name.endswith(".sql")]
        bare = self.left_out(names)
        given = (Pick(name.removesuffix(".sql"), name) for name in found if name not in bare)
        picks, findings = numbered(self, given)
        problem, remedy = "its name does not begin with a number", "Give it a number: 001_name."
        return picks, [*findings, *(Finding(name, problem, remedy) for name in sorted(bare))]

    def left_out(self, names: Sequence[str]) -> set[str]:
        """Files without a number, each of which `pick` has found."""
        return {name for name in top(names) if name.endswith(".sql") and not name[0].isdigit()}

    def proved(
        self, names: Sequence[str], read: Read, data: Callable[[str], Iterable[bytes]]
    ) -> list[Finding]:
        if SUM not in names:
            return []
        files = sorted(name for name in top(names) if name.endswith(".sql"))
        return _compared(read(SUM), ((name, data(name)) for name in files))

    def cut(self, text: str) -> Cut:
        head = _HEAD.match(text)
        ends = head.end() if head else 0
        alone, delimiter = False, ""
        for found in _DIRECTIVE.finditer(text):
            name, value = found[1], (found[2] or "").strip()
            line = line_of(text, found.start())
            if name in ("nolint", "sum"):
                continue
            if name in _REMEDIES:
                raise WrongTextError(f"atlas:{name} is not supported", _REMEDIES[name], line)
            if name == "delimiter" and found.start() == 0:
                delimiter = value.encode().decode("unicode_escape")
            elif name == "txmode" and found.start() < ends and value in ("none", "file"):
                alone = alone or value == "none"
            else:
                raise _out_of_place(name, value, line)
        return Cut(_run(text, delimiter, ends, alone=alone))


def _out_of_place(name: str, value: str, line: int) -> WrongTextError:
    if name == "txmode" and value not in ("none", "file"):
        return WrongTextError(f"atlas:txmode {value} is not supported", "Write none or file.", line)
    if name == "txmode":
        problem = "Atlas takes this line for a comment of the statement below it"
        return WrongTextError(problem, "Move it to the top, with an empty line below it.", line)
    if name == "delimiter":
        problem = "Atlas takes a delimiter from the first line alone"
        return WrongTextError(problem, "Make it the first line.", line)
    return WrongTextError(f"atlas:{name} is not known here", "Remove the line.", line)


def _run(text: str, delimiter: str, head: int, *, alone: bool) -> str:
    """What is sent: semicolons for delimiters, and our own directive for Atlas's."""
    if delimiter and delimiter != ";":
        first = text.find("\n") + 1
        ends = [(m.start(), m.end()) for m in re.finditer(re.escape(delimiter), text[first:])]
        ends = [(first + start, first + end) for start, end in ends]
        text = with_semicolons(text, ends) if first else text
    if not alone:
        return text
    return re.sub(r"(?m)^-- atlas:txmode[ \t]+none[ \t]*$", OUTSIDE, text, count=1)


def _compared(text: str, files: Iterable[tuple[str, Iterable[bytes]]]) -> list[Finding]:
    """What of atlas.sum does not fit the files; each hash is over all files up to its own."""
    said = dict(line.rsplit(" ", 1) for line in text.splitlines()[1:] if " " in line)
    running, total = hashlib.sha256(), hashlib.sha256()
    remedy = "Restore it; or run `atlas migrate hash`, if the change is meant."
    for name, blocks in files:
        running.update(name.encode())
        before = running.copy()
        ignored = False
        for place, block in enumerate(blocks):
            ignored = ignored or (not place and block.partition(b"\n")[0].rstrip() == _IGNORED)
            running.update(block)
        if ignored:  # its name counts alone, and has no line
            running = before
            continue
        own = base64.b64encode(running.digest()).decode()
        if name not in said:
            return [Finding(name, f"{SUM} does not list it", remedy)]
        if said.pop(name) != f"h1:{own}":
            return [Finding(name, f"is not what {SUM} has", remedy)]
        total.update(name.encode() + own.encode())
    if said:
        return [Finding(name, f"{SUM} lists it, and it is missing", remedy) for name in said]
    if text.partition("\n")[0].strip() != f"h1:{base64.b64encode(total.digest()).decode()}":
        return [Finding(SUM, "does not fit what it lists", "Run `atlas migrate hash`.")]
    return []
