"""The rooms of the house: who may use whom, what may be touched where, one name for one thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import migrator

HALL = "hall"  #: records, errors and words that every room uses: files that lie in no room
#: The rooms in the order of a run; a file uses its own room and those below it. A file beside the
#: rooms has a place of its own here, or it is one of the hall.
ROOMS = (
    *("__main__", "cli", "page", "telemetry", "commands", "adopt", "preflight"),
    *(
        "scratch",
        "parallel",
        "batches",
        "no_transaction",
        "apply",
        "supabase",
        "database",
        "refusals",
    ),
    *("history", "plan", "folder", "sql", "config", "postgres", HALL),
)
IN_HALL = {"display", "durations", "errors", "masking", "model", "report"}

#: The files that touch nothing outside and use only each other. So does every NAME_rules.py.
PURE = {
    *IN_HALL,
    *("adopt.evidence", "adopt.keys", "adopt.message", "adopt.readings", "adopt.rules"),
    *("adopt.tools", "database.delay", "refusals.diagnosis", "refusals.remedies"),
    "folder.names",
    *("batches.cursor", "batches.message"),
    *("page.depends", "page.page", "page.runs", "page.style", "page.words"),
    *(
        "cli.cells",
        "cli.dangers",
        "cli.env_file",
        "cli.graph",
        "cli.help",
        "cli.markdown",
        "cli.phrases",
    ),
    *("cli.tables", "cli.terminal", "cli.words", "commands.table", "config"),
    *(
        f"folder.formats.{file}"
        for file in (
            *(
                "atlas",
                "delimiter",
                "flyway",
                "folders",
                "format",
                "liquibase",
                "marked",
                "paired",
                "refused",
                "table",
            ),
        )
    ),
    *(
        "history.distrust",
        "history.fence",
        "history.flight",
        "history.guard",
        "history.journal",
        "history.message",
        "history.place",
        "history.proof",
        "history.questions",
        "history.rows",
        "history.status_view",
        "plan.progress",
        "postgres.refusal",
        "no_transaction.settle",
    ),
    *(
        "no_transaction.steps",
        "plan.order",
        "plan.plan",
        "plan.policy",
        "plan.scope",
        "plan.second_history",
        "plan.undo",
    ),
    *("history.at_work", "history.other_histories", "plan.repeatables", "sql.created"),
    *("history.misfit", "preflight.compare", "preflight.facts", "preflight.judge"),
    *("preflight.look_query", "preflight.moment", "preflight.texts"),
    *("postgres.connect_failures", "postgres.quoting", "postgres.url", "scratch.snapshot"),
    *(
        "sql.asserts",
        "sql.grouped",
        "sql.in_parts",
        "sql.batched",
        "sql.effects",
        "sql.own_transaction",
        "sql.parts",
        "sql.scanner",
        "sql.script",
        "sql.sensitive",
    ),
    *("sql.envsub", "sql.filled", "sql.placeholders"),
    *(
        "plan.bases",
        "history.seen",
        "plan.together",
        "plan.widths",
        "sql.marks",
        "sql.statements",
        "sql.text",
        "sql.window",
    ),
}

#: What climbs, and what will end it: nothing. This list only shrinks.
CLIMBS: dict[tuple[str, str], str] = {}

#: What reaches outside: files, sockets, processes, clocks and chance.
OUTSIDE = frozenset(
    """
    asyncio glob io multiprocessing os pathlib random secrets select shutil signal socket
    subprocess sys tempfile threading time uuid psycopg2 pythonjsonlogger tenacity opentelemetry
    """.split()  # noqa: SIM905 - a list would take a line for each word
)
#: Packages that one room alone imports.
RESERVED = {
    "psycopg2": "postgres",
    "tenacity": "postgres",
    "pythonjsonlogger": "cli",
    "opentelemetry": "telemetry",
}
PACKAGE = Path(migrator.__file__).parent


def files() -> list[str]:
    """Every file of the package but those that open a room: model, sql.script, …"""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths if path.name != "__init__")


FILES = files()


def room(file: str) -> str:
    first, _, rest = file.partition(".")
    return HALL if not rest and first in IN_HALL else first


def is_pure(file: str) -> bool:
    return file in PURE or file.endswith("_rules")


def pure_paths() -> list[str]:
    """As `make cov` has them, which demands each of their branches."""
    return [f"migrator/{file.replace('.', '/')}.py" for file in FILES if is_pure(file)]


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{file.replace('.', '/')}.py").read_text())


def imports(file: str) -> Iterator[str]:
    """Every name that is imported, wherever the import stands: migrator.sql.script.Script, os, …"""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def ours(file: str) -> set[str]:
    """The files of the package that this one imports from."""
    found = set()
    for name in imports(file):
        root, _, rest = name.partition(".")
        if root == "migrator" and rest != "__version__":
            known = [other for other in FILES if f"{rest}.".startswith(f"{other}.")]
            assert known, f"{file} imports {name}, which is no file, or a name of a room itself"
            found.add(max(known, key=len))
    return found


def spoken(file: str) -> set[str]:
    """Every name and attribute in the file's code."""
    nodes = list(ast.walk(tree(file)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def touches_outside(file: str) -> bool:
    roots = {name.partition(".")[0] for name in imports(file)}
    clocks = {"open", "print", "input", "now", "today", "utcnow", "monotonic"}
    return bool(roots & OUTSIDE or spoken(file) & clocks)


def exported(file: str) -> Iterator[str]:
    """The public names that the file defines at its top level."""
    for node in tree(file).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))


def test_every_file_is_in_a_room() -> None:
    assert {room(file) for file in FILES} == set(ROOMS)


def test_a_room_opens_with_its_docstring_and_nothing_else() -> None:
    apart = {"__pycache__", "schemas"}  # of bytecode, and of JSON that no run reads
    folders = {path for path in PACKAGE.rglob("*") if path.is_dir() and path.name not in apart}
    rooms = {file.rpartition(".")[0] for file in FILES if "." in file}
    assert {".".join(path.relative_to(PACKAGE).parts) for path in folders} == rooms
    for folder in folders:
        [only] = ast.parse((folder / "__init__.py").read_text()).body
        assert isinstance(only, ast.Expr), folder
        assert isinstance(only.value, ast.Constant), folder


@pytest.mark.parametrize("file", FILES)
def test_a_file_uses_its_own_room_and_those_below_it(file: str) -> None:
    above = ROOMS[: ROOMS.index(room(file))]
    climbs = {other for other in ours(file) if room(other) in above}
    assert climbs == {other for user, other in CLIMBS if user == file}


def test_no_file_comes_back_to_itself() -> None:
    """Inside a room neither; a climb that is known closes no circle here."""
    graph = {file: {other for other in ours(file) if (file, other) not in CLIMBS} for file in FILES}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


@pytest.mark.parametrize("file", [file for file in FILES if is_pure(file)])
def test_a_pure_file_touches_nothing_outside(file: str) -> None:
    assert not touches_outside(file)
    assert {other for other in ours(file) if not is_pure(other)} == set()


def test_every_file_that_could_be_pure_is_marked() -> None:
    marked = {file for file in FILES if is_pure(file)}
    assert marked >= PURE
    others = set(FILES) - marked
    assert {f for f in others if ours(f) <= marked and not touches_outside(f)} == set()


def test_make_cov_demands_every_branch_of_each_pure_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    makefile = (PACKAGE.parent / "Makefile").read_text()
    [code] = re.findall(r"^export PURE := (.*)$", makefile, re.MULTILINE)
    exec(code)  # noqa: S102 - the line of our own Makefile
    asked = capsys.readouterr().out.strip().split(",")
    assert set(asked) == {f"migrator/{f.replace('.', '/')}.py" for f in FILES if is_pure(f)}
    assert all((PACKAGE.parent / path).is_file() for path in asked)


@pytest.mark.parametrize("package", RESERVED)
def test_a_package_is_imported_in_one_room(package: str) -> None:
    users = {
        room(file)
        for file in FILES
        for name in imports(file)
        if f"{name}.".startswith(f"{package}.")
    }
    assert users == {RESERVED[package]}


@pytest.mark.parametrize("file", [file for file in FILES if room(file) != "cli"])
def test_only_cli_reads_the_environment_and_prints(file: str) -> None:
    assert not spoken(file) & {"environ", "environb", "getenv", "getenvb", "print"}


def test_a_name_is_exported_by_one_file() -> None:
    homes: dict[str, list[str]] = {}
    for file in FILES:
        for name in sorted(set(exported(file))):
            if not name.startswith("_"):
                homes.setdefault(name, []).append(file)
    assert {name: found for name, found in homes.items() if found[1:]} == {}


@pytest.mark.parametrize("file", FILES)
def test_a_tuple_with_names_has_no_default_of_a_dataclass(file: str) -> None:
    """`field(…)` would be the value there, and nothing that mypy sees."""
    tuples = [
        node
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ClassDef) and "NamedTuple" in map(ast.unparse, node.bases)
    ]
    defaults = [
        line.value for one in tuples for line in one.body if isinstance(line, ast.AnnAssign)
    ]
    calls = {ast.unparse(value.func) for value in defaults if isinstance(value, ast.Call)}
    assert "field" not in calls


def test_the_package_says_the_same_of_its_rooms() -> None:
    said = re.findall(r"^(\w+)  ", migrator.__doc__ or "", re.MULTILINE)
    assert (*said, HALL) == ROOMS
