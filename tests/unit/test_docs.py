"""The pages, the Makefile and the files for hosted CI say what the code does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from migrator import __version__
from migrator.cli.logs import NOTICES
from migrator.commands.table import COMMANDS
from migrator.config import SETTINGS, URLS
from migrator.display import LENGTHS, TEXT_CHARS
from migrator.masking import BY_VALUE_CHARS, FINDINGS
from tests.pages import error_classes, table, told_events

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
DESIGN = (ROOT / "docs" / "design.md").read_text()


def test_the_reference_lists_every_setting_with_its_default_and_meaning() -> None:
    expected = [[name, "", text] for name, text in URLS.items()]
    expected += [[s.name, s.default or "", s.help.replace("`", "")] for s in SETTINGS]
    assert table(REFERENCE, "Settings") == expected


def test_the_reference_lists_every_exit_code() -> None:
    rows = table(REFERENCE, "Exit codes")
    assert {int(row[0]): row[1] for row in rows if row[1]} == error_classes()


def test_the_design_lists_the_exit_codes_of_the_code() -> None:
    heading = re.search(r"^## (7\. Exit codes.*)$", DESIGN, re.MULTILINE)
    assert heading
    rows = table(DESIGN, heading[1])
    built = {int(row[0]): row[1] for row in rows if row[1] and "later" not in row[1]}
    assert built == error_classes()


def test_the_reference_lists_every_event() -> None:
    assert {row[0] for row in table(REFERENCE, "Events")} == told_events()


def test_the_design_lists_every_event() -> None:
    section = DESIGN.partition("\n## 10. Events\n")[2].partition("*(later)*")[0]
    assert set(re.findall(r"`([a-z_]+\.[a-z]+)`", section)) == told_events()


def test_the_reference_lists_every_command() -> None:
    assert [row[0].split()[0] for row in table(REFERENCE, "Commands")] == list(COMMANDS)


def test_every_setting_is_in_the_design() -> None:
    section = DESIGN.partition("\n## 8. Settings")[2].partition("\n## ")[0]
    assert [s.name for s in SETTINGS if s.name not in section] == []


PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
)
README_LINES = 200


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    links = set(re.findall(r"\]\((?!https?:)([^)#]+)", text))
    named = set(re.findall(r"`((?:k8s|docs|tests|migrator|migrations|bench)/[\w./-]*)`", text))
    examples = {"migrations/004_add_orders.sql", "migrations/004_add_orders.down.sql"}
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []
    assert [path for path in named if not (ROOT / path).exists() and path not in examples] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_heading_that_a_page_points_to_is_there(page: str) -> None:
    for path, anchor in re.findall(
        r"\]\((?!https?:)([^)#]*)#([\w-]+)\)", (ROOT / page).read_text()
    ):
        target = (ROOT / page).parent / path if path else ROOT / page
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        names = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in names, (page, path, anchor)


def test_nobody_is_told_to_read_the_log_of_a_job_by_its_name() -> None:
    """kubectl takes the oldest of its pods, and that is the verdict of a try that was repeated."""
    manifests = [file for file in (ROOT / "k8s").rglob("*") if file.is_file()]
    texts = [file.read_text() for file in (*(ROOT / page for page in PAGES), *manifests)]
    assert [text for text in texts if "logs job/migrator" in text] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= README_LINES


def test_every_page_is_listed_by_the_question_that_it_answers() -> None:
    listed = (ROOT / "docs" / "README.md").read_text()
    links = set(re.findall(r"\]\(([\w./-]+)\)", listed))
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert links == pages | {"../SECURITY.md", "../CHANGELOG.md", "../CONTRIBUTING.md"}


def test_the_map_of_the_rooms_names_every_room() -> None:
    rooms = table((ROOT / "CONTRIBUTING.md").read_text(), "The rooms")
    folders = {f"{path.parent.name}/" for path in (ROOT / "migrator").glob("*/__init__.py")}
    assert {row[0] for row in rooms} == folders | {"files beside the rooms"}


def test_hosted_ci_calls_what_anyone_can_run() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    called = set(re.findall(r"'(\.ci/\w+)'", workflow))
    assert called == {".ci/run", ".ci/full"}
    assert all(os.access(ROOT / script, os.X_OK) for script in called)


def test_a_release_takes_its_version_from_its_one_source() -> None:
    reading = re.compile(r"sed -n (\S+ = .*?') migrator/__init__\.py")
    places = (".github/workflows/release.yml", "docs/releasing.md", "Makefile")
    ways = [reading.search((ROOT / place).read_text()) for place in places]
    assert len({way[1] for way in ways if way}) == 1
    assert all(ways)
    command = f"sed -n {ways[0][1] if ways[0] else ''} migrator/__init__.py"
    made = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, check=True)
    assert made.stdout.decode().strip() == __version__
    assert 'version = { attr = "migrator.__version__" }' in (ROOT / "pyproject.toml").read_text()


def test_every_make_target_that_a_page_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    texts = [(ROOT / page).read_text() for page in PAGES]
    found = [re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE) for text in texts]
    named = {name for names in found for name in names}
    assert {"migrate", "test"} <= named
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.M)] == []


def test_make_faults_needs_a_database_and_an_engine() -> None:
    exported = re.findall(r"^faults: export (\w+) := 1$", (ROOT / "Makefile").read_text(), re.M)
    assert sorted(exported) == ["REQUIRE_DATABASE", "REQUIRE_DOCKER"]


def test_in_ci_nothing_is_skipped_for_want_of_a_program() -> None:
    sources = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r'environ\.get\("(REQUIRE_\w+)"', text)}
    assert {"REQUIRE_DATABASE", "REQUIRE_DOCKER", "REQUIRE_NETWORK"} <= read
    machine = (ROOT / ".ci" / "machine").read_text()
    exported = [name for name in read if re.search(rf"^export .*\b{name}=1\b", machine, re.M)]
    assert sorted(exported) == sorted(read)
    for script in ("run", "full"):
        text = (ROOT / ".ci" / script).read_text()
        assert re.search(r'^source "\$\(dirname .*\)/machine"$', text, re.M), script


def test_the_security_page_has_the_numbers_of_the_code() -> None:
    page = " ".join((ROOT / "SECURITY.md").read_text().split())
    assert f"A text is cut at {TEXT_CHARS:,} characters" in page
    assert f"an undo at {LENGTHS['undo']:,} and a traceback at {LENGTHS['traceback']:,}" in page
    assert f"{NOTICES} notices of each level are logged, and {FINDINGS} findings" in page
    assert BY_VALUE_CHARS == 6
    assert "password of under six characters" in page


def test_the_changelog_speaks_of_the_version_that_the_code_has() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog or "## [0.1.0]" in changelog
