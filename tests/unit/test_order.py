"""What needs what: the order that it makes, what cannot be had, and the picture of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.model import Migration
from migrator.plan.order import arrange, closure, cycles, unmet
from migrator.sql.script import Requirement
from tests.builders import a_migration

FILES = [*(a_migration(f"00{n}_{letter}") for n, letter in enumerate("abcdef", 1))]
REPEATABLES = [a_migration("R__a"), a_migration("R__b")]
BY_LETTER = {m.version[-1]: m.version for m in FILES} | {"A": "R__a", "B": "R__b"}


def names(letters: str) -> list[str]:
    """Versions by their letters; capital ones are repeatables."""
    return [BY_LETTER[letter] for letter in letters]


def needs(words: str) -> dict[str, list[str]]:
    """ "ac ba" says that a needs c and b needs a."""
    found: dict[str, list[str]] = {}
    for word in words.split():
        found.setdefault(BY_LETTER[word[0]], []).extend(names(word[1:]))
    return found


def migrations(letters: str) -> list[Migration]:
    return [m for m in (*FILES, *REPEATABLES) if m.version in names(letters)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("", "abcdefAB", id="nothing is required: by number, then repeatables"),
        pytest.param("ba cab Aa", "abcdefAB", id="the numbers say the same"),
        pytest.param("ac", "bcadefAB", id="it waits, and nothing else moves"),
        pytest.param("ad bd", "cdabefAB", id="two wait for one, in their order"),
        pytest.param("ac ce", "bdecafAB", id="it waits for what waits"),
        pytest.param("acbc", "bcadefAB", id="twice the same"),
        pytest.param("AB", "abcdefBA", id="a repeatable waits for another"),
        pytest.param("AfB", "abcdefBA", id="and for a versioned one, as they all do"),
        pytest.param("ac ca", "bdefAB", id="a cycle is left out"),
        pytest.param("ac ca dc ed", "bfAB", id="and so is what requires it"),
        pytest.param("aa", "bcdefAB", id="as is what requires itself"),
    ],
)
def test_a_file_waits_for_what_it_requires(words: str, expected: str) -> None:
    found = arrange(migrations("abcdefAB"), needs(words))
    assert [migration.version for migration in found] == names(expected)


def test_what_is_not_to_be_run_is_waited_for_by_nobody() -> None:
    found = arrange(migrations("ac"), needs("ab cb"))
    assert [migration.version for migration in found] == names("ac")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("ab bc", [], id="none"),
        pytest.param("ac ca", ["aca"], id="of two"),
        pytest.param("ac cb ba", ["acba"], id="it begins with its first file"),
        pytest.param("bb", ["bb"], id="of one"),
        pytest.param("ac cd dc", ["cdc"], id="what leads into it is no part of it"),
        pytest.param("ab ba ef fe", ["aba", "efe"], id="all of them"),
        pytest.param("abc bca ca", ["abca"], id="one of those that share a file"),
        pytest.param("AB BA", ["ABA"], id="of repeatables"),
    ],
)
def test_cycles_are_found(words: str, expected: list[str]) -> None:
    found = cycles(migrations("abcdefAB"), needs(words))
    assert found == tuple(tuple(names(letters)) for letters in expected)


def test_a_long_chain_is_no_matter_of_depth() -> None:
    chain = [a_migration(number) for number in range(1, 5001)]
    up = {a.version: [b.version] for a, b in pairwise(chain)}
    assert arrange(chain, up) == tuple(reversed(chain))
    assert len(closure(chain[0].version, up)) == 5000
    up[chain[-1].version] = [chain[0].version]
    ((*cycle, _),) = cycles(chain, up)
    assert cycle == [migration.version for migration in chain]


@given(st.dictionaries(st.sampled_from("abcdefAB"), st.lists(st.sampled_from("abcdefAB"))))
def test_whatever_is_required_is_there_before_or_in_a_cycle(found: dict[str, list[str]]) -> None:
    wanted = {BY_LETTER[k]: [BY_LETTER[v] for v in values] for k, values in found.items()}
    everything = migrations("abcdefAB")
    arranged = [migration.version for migration in arrange(everything, wanted)]
    for place, version in enumerate(arranged):
        assert set(wanted.get(version, [])) <= set(arranged[:place])
    told = cycles(everything, wanted)
    assert (len(arranged) == len(everything)) == (not told)
    for cycle in told:
        assert cycle[0] == cycle[-1]
        assert all(b in wanted[a] for a, b in pairwise(cycle))


@pytest.mark.parametrize(
    ("file", "required", "problem", "remedy"),
    [
        pytest.param(
            "a",
            "009_x",
            "requires 009_x, which is neither in the folder nor applied",
            "Name a version of the folder, such as 006_f.",
            id="an unknown name",
        ),
        pytest.param(
            "a", "002_b.sql", "requires 002_b.sql, which", "Write 002_b.", id="a file's name"
        ),
        pytest.param("a", "003", "requires 003, which", "Write 003_c.", id="a number alone"),
        pytest.param(
            "a",
            "R__a",
            "requires R__a, but repeatables run after all versioned migrations",
            "Make 001_a a repeatable, or move the statements that need it to one.",
            id="a repeatable for a versioned one",
        ),
        pytest.param(
            "a",
            "002_b",
            "requires 002_b, which is late and skipped by ON_LATE=skip",
            "Give --on-late apply (ON_LATE=apply), or 002_b a number above the newest applied: "
            "`new --renumber 002_b`.",
            id="a skipped one",
        ),
        pytest.param(
            "a",
            "001_a",
            "requires itself: 001_a -> 001_a",
            "Remove one of these `requires`.",
            id="itself",
        ),
    ],
)
def test_what_cannot_be_had_is_a_finding(
    file: str, required: str, problem: str, remedy: str
) -> None:
    requirements = {BY_LETTER[file]: [Requirement("003_c", 1), Requirement(required, 4)]}
    known = names("abcdefAB")
    (finding,) = unmet(migrations("ac"), requirements, known, names("b"))
    assert (finding.file, finding.line, finding.remedy) == (f"{BY_LETTER[file]}.sql", 4, remedy)
    assert finding.problem.startswith(problem)


def test_what_can_be_had_is_none() -> None:
    requirements = {
        "001_a": [Requirement("000_gone", 1)],
        "R__a": [Requirement("R__b", 1), Requirement("001_a", 1)],
    }
    known = [*names("abcAB"), "000_gone"]
    assert unmet(migrations("acAB"), requirements, known, ()) == ()


def test_all_findings_are_told_and_cycles_with_their_line() -> None:
    requirements = {
        "001_a": [Requirement("009_x", 1), Requirement("003_c", 2), Requirement("003_c", 3)],
        "003_c": [Requirement("001_a", 5)],
        "005_e": [Requirement("008_y", 6)],
    }
    found = unmet(migrations("abcdef"), requirements, names("abcdef"), ())
    assert [(finding.file, finding.line) for finding in found] == [
        ("001_a.sql", 1),
        ("005_e.sql", 6),
        ("001_a.sql", 2),
    ]
    assert found[-1].problem == "requires itself: 001_a -> 003_c -> 001_a"
