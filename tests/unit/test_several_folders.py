"""MIGRATIONS_DIR=migrations:seeds/dev: what the folders are, and what two of them share."""

from __future__ import annotations

import pytest

from migrator.config import first_folder, folders_of
from migrator.folder.places_rules import shared, two_hooks
from migrator.plan.plan import behind
from tests.builders import a_migration


@pytest.mark.parametrize(
    ("places", "folders"),
    [
        ("migrations/", ("migrations/",)),
        ("migrations/: seeds/dev", ("migrations", "seeds/dev")),
        ("/:/a", None),
        ("a::b", None),
        ("a:", None),
        ("a:b:a", None),
        ("a/b:a", None),
        ("a:ab:/", ("a", "ab", "/")),
    ],
)
def test_a_colon_divides_folders(places: str, folders: tuple[str, ...] | None) -> None:
    if folders is None:
        with pytest.raises(ValueError, match=r"has no name|hold the same files"):
            folders_of(places)
        return
    assert folders_of(places) == folders
    assert first_folder(places) == folders[0]


def test_what_two_folders_may_not_share() -> None:
    one = [a_migration(v) for v in ("1_a", "B2__b", "R__v")]
    two = [a_migration(v, file=f"two/{v}.sql") for v in ("01_c", "2_b", "R__v", "R__w", "3_c")]
    found = shared({"one": one, "two": two})
    assert [(finding.file, finding.problem) for finding in found] == [
        ("two/01_c.sql", "1_a.sql has the same number"),
        ("two/R__v.sql", "R__v.sql has the same name"),
    ]


def test_one_hook_of_each_moment() -> None:
    hook = a_migration("before", file="one/before.sql")
    other = hook._replace(file="two/before.sql")
    after = a_migration("after", file="two/after.sql")
    assert two_hooks([hook, after]) == []
    assert [finding.file for finding in two_hooks([hook, other])] == ["two/before.sql"]


def test_a_folder_that_begins_with_a_digit_is_no_number_of_a_branch() -> None:
    new = a_migration("005_e", file="9seeds/005_e.sql")
    folders = ("migrations", "9seeds")
    assert behind([new], ["9seeds/004_d.sql", "migrations/003_c.sql"], folders) == ()
    [found] = behind([new], ["9seeds/004_d.sql", "migrations/006_f.sql"], folders)
    assert "the branch goes up to 6" in found.problem


def test_paths_are_compared_below_their_folders() -> None:
    new = a_migration("b:x:1", file="z/b.sql")
    assert behind([new], ["a/a.sql", "z/x.txt"], ("a", "z")) == ()
    assert len(behind([new], ["a/c.sql"], ("a", "z"))) == 1
