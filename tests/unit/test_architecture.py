"""The floors of the house: who may import whom, and what may be touched where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrator

#: Every module, floor by floor; each imports only modules that stand before it.
GROUND = (
    *("display", "masking", "model", "report", "errors", "durations", "text", "statements"),
    *("scanner", "sensitive", "parts", "effects", "order", "parse", "url", "refusals"),
    *("config", "plan", "quoting", "fence", "flight", "journal"),
    *("undo", "declare", "snapshot", "diagnosis", "settle", "steps", "mirror", "trackers"),
    *("adoption", "answers", "overview"),
)
FIRST = (
    *("source", "files", "git", "watch", "database", "connect", "observer", "lock", "history"),
    *("archive", "catalog", "sights", "foreign", "orphan"),
)
SECOND = (
    *("link", "sync", "alone", "reader", "flier", "runner", "rollback", "scratch", "rehearse"),
    *("baseline", "repair", "adopt", "logs", "commands", "cli", "__main__"),  # the roof
)
MODULES = (*GROUND, *FIRST, *SECOND)

#: What reaches outside: files, sockets, processes, clocks and chance.
OUTSIDE = frozenset(
    """
    asyncio glob io multiprocessing os pathlib random secrets select shutil signal socket
    subprocess sys tempfile threading time uuid
    """.split()  # noqa: SIM905 - a list would take a line for each word
)
#: Modules that may be imported in some places only.
RESERVED = {
    "psycopg2": {*FIRST, *SECOND} - {"commands", "cli", "__main__"},
    "tenacity": {"watch"},
    "pythonjsonlogger": {"logs"},
}
PACKAGE = Path(migrator.__file__).parent


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text())


def imports(module: str) -> Iterator[str]:
    """Every module that is imported, wherever the import stands: migrator.url, os, …"""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module
            if node.module == "migrator":
                yield from (f"migrator.{name.name}" for name in node.names)
            else:
                yield node.module


def names(module: str) -> set[str]:
    """Every name and attribute that the module's code speaks."""
    nodes = list(ast.walk(tree(module)))
    spoken = {node.id for node in nodes if isinstance(node, ast.Name)}
    return spoken | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_every_module_has_its_place() -> None:
    found = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert found == set(MODULES)
    assert len(MODULES) == len(set(MODULES))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    ours = {name.partition(".")[2] for name in imports(module) if name.startswith("migrator.")}
    ours.discard("__version__")
    assert ours <= set(MODULES[: MODULES.index(module)])


@pytest.mark.parametrize("module", GROUND)
def test_the_ground_floor_touches_nothing_outside(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(module)}
    assert not roots & OUTSIDE
    assert not names(module) & {"open", "print", "input", "now", "today", "utcnow", "monotonic"}


@pytest.mark.parametrize("package", RESERVED)
def test_a_package_is_imported_where_it_belongs(package: str) -> None:
    users = {m for m in MODULES if any(re.match(rf"{package}\b", name) for name in imports(m))}
    assert users <= RESERVED[package]
    assert users


@pytest.mark.parametrize("module", [module for module in MODULES if module != "cli"])
def test_the_environment_is_read_by_the_roof_alone(module: str) -> None:
    assert not names(module) & {"environ", "environb", "getenv", "getenvb"}


def test_the_package_says_the_same_of_its_floors() -> None:
    said = re.findall(r"`(\w+)`", migrator.__doc__ or "")
    assert tuple(said) == MODULES
