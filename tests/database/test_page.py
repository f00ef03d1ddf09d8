"""`report --html`, of a database with a history, in a browser without a window."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from migrator.page.page import QUESTIONS, as_page
from tests.browser import PROGRAM, Browser
from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, run_job
from tests.unit.test_overview import an_answer
from tests.unit.test_page import DANGER, EVIL, FAILED, NOTHING, a_line, a_row

FILES = {
    "001_a.sql": "CREATE TABLE a (id int, note text);\n",
    "002_b.sql": "-- migrator: requires 001_a\nALTER TABLE a ADD COLUMN b int;\n",
}
TEXT = "document.body.innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if PROGRAM is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("REQUIRE_BROWSER=1, but this is missing: apt-get install chromium")
        pytest.skip("needs chromium: apt-get install chromium")
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.end()


def written(url: str, folder: Path, page: Path) -> str:
    result = run_job(url, folder, "report", "--html", str(page), LOG_FORMAT="text")
    assert (result.code, result.stdout) == (0, f"{page}\n"), result.stderr
    return page.read_text()


def opened(browser: Browser, page: Path) -> str:
    """What a person reads there; the page logs nothing and asks nobody for anything."""
    browser.open(page)
    text: str = browser.evaluate(TEXT)
    assert browser.console == []
    assert [url for url in browser.requests if url != page.as_uri()] == []
    return text


def test_a_failure_and_who_blocks_what_runs_are_on_the_page(
    database: Database, tmp_path: Path, browser: Browser
) -> None:
    folder, page = write_folder(tmp_path / "m", {"001_a.sql": FILES["001_a.sql"]}), tmp_path / "p"
    page = page.with_suffix(".html")
    assert run_job(database.url, folder).code == 0
    write_folder(folder, {"002_b.sql": "SELECT '<b>hunter2</b>' FROM nowhere;\n"})
    assert run_job(database.url, folder).code == 15
    written(database.url, folder, page)
    text = opened(browser, page)
    for words in ('relation "nowhere" does not exist', "42P01", "001_a", "migrator up"):
        assert words in text
    write_folder(folder, FILES)
    with database.connect() as other, other.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE a; SELECT pg_backend_pid()")
        [(pid,)] = cursor.fetchall()
        job = Job(database.url, folder, LOCK_TIMEOUT="60s", PROGRESS_INTERVAL="200ms")
        job.hear("migration.progress", lambda line: line.get("blockers"))
        written(database.url, folder, page)
        cursor.execute("ROLLBACK")
    assert job.result().code == 0
    text = opened(browser, page)
    assert f"SELECT pg_terminate_backend({pid})" in text
    assert "waits for\na" in text or "waits for\npublic.a" in text
    written(database.url, folder, page)
    text = opened(browser, page)
    assert "nobody holds the lock of the runners." in text
    assert "What requires what" in page.read_text()
    answer = run_job(database.url, folder, "report", "--html", str(page), "--json")
    assert json.loads(answer.stdout)["html"] == str(page)
    refused = run_job(database.url, folder, "report", "--html", str(tmp_path / "no" / "p.html"))
    assert (refused.code, "--html" in refused.error["message"]) == (2, True)


def an_incident(text: str = "name") -> dict[str, Any]:
    finding = {"file": f"{text}.sql", "line": 3, "problem": text, "remedy": f"`repair --x {text}`"}
    return an_answer(
        preflight={**NOTHING, "findings": [DANGER]},
        requires={"002_b": ["001_a"]},
        log=[a_line(text), {**FAILED, "detail": {"message": text, "sqlstate": "42P01"}}],
        migrations=[a_row("001_a"), a_row("002_b", "pending"), a_row(text, "dirty")],
        dirty=[{"version": text, "done": text, "interrupted": text}],
        findings=[finding],
        at_work={"pid": 7, "application_name": text, "version": text},
        seen={"blockers": [{"pid": 9, "application_name": text}]},
    )


def test_texts_of_others_run_nothing(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(as_page(an_incident(EVIL)))
    text = opened(browser, page)
    assert "alert('x')" in text
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.images.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_screen_and_paper(browser: Browser, tmp_path: Path, scheme: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(as_page(an_incident("a_rather_long_name_of_a_migration_that_is_on_call" * 2)))
    for width, media in ((320, "screen"), (1200, "screen"), (780, "print")):
        browser.show(width, scheme, media)
        opened(browser, page)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    dark = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark == "rgb(255, 255, 255)", "paper is white"
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.show(1200, scheme)
    back = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_keyboard_reaches_everything(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(as_page(an_incident()))
    browser.show(1200)
    opened(browser, page)
    seen = []
    for _ in range(60):
        browser.press("Tab")
        seen.append(browser.evaluate("document.activeElement.innerText || ''"))
    for words in ("Skip to the answers", "What is running now?", "Copy", "All 3 migrations"):
        assert any(words in one for one in seen), (words, seen)
    browser.evaluate("document.querySelector('details.paper summary').focus()")
    browser.press("Enter")
    assert browser.evaluate("document.querySelector('details.paper').open")
    nameless = (
        "[...document.querySelectorAll('a,button,summary,svg[role=img],[role=region]')]"
        ".filter(at => !(at.textContent.trim() || at.getAttribute('aria-label'))).length"
    )
    assert browser.evaluate(nameless) == 0
    assert browser.evaluate("document.querySelectorAll('h1').length") == 1


#: Of each text that is shown, its contrast with what is behind it (WCAG 2.2, 1.4.3).
CONTRASTS = """
const light = rgb => { const [r, g, b] = rgb.match(/[0-9.]+/g).slice(0, 3).map(v => {
  v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4});
  return 0.2126 * r + 0.7152 * g + 0.0722 * b};
const behind = at => { for (; at; at = at.parentElement) {
  const svg = at.tagName === 'g' ? getComputedStyle(at.querySelector('rect')).fill : '';
  const found = svg || getComputedStyle(at).backgroundColor;
  if (!/, 0\\)$/.test(found)) return found } return 'rgb(255, 255, 255)'};
[...document.querySelectorAll('body *')].filter(at => at.checkVisibility()
  && [...at.childNodes].some(n => n.nodeType === 3 && n.data.trim())
  && !['SCRIPT', 'STYLE', 'title'].includes(at.tagName)).map(at => {
  const style = getComputedStyle(at);
  const pair = [light(at.tagName === 'text' ? style.fill : style.color), light(behind(at))];
  return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), at.textContent.slice(0, 60)]})
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser: Browser, tmp_path: Path, scheme: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(as_page(an_incident()))
    browser.show(1200, scheme)
    opened(browser, page)
    browser.evaluate("document.querySelectorAll('details').forEach(at => at.open = true)")
    found = browser.evaluate(
        f"(() => {{ {CONTRASTS.replace('[...document', 'return [...document', 1)} }})()"
    )
    assert len(found) > 60
    assert [one for one in found if one[0] < 4.5] == []


def test_who_listens_finds_the_parts_and_their_order(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(as_page(an_incident()))
    opened(browser, page)
    levels = browser.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    parts = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node.get("ignored") and "role" in node
    ]
    roles = [role for role, _ in parts]
    assert [roles.count(role) for role in ("main", "banner", "navigation")] == [1, 1, 1]
    regions = [name for role, name in parts if role == "region"]
    assert [name for name in regions if name.endswith("?")] == [
        question for _, question in QUESTIONS
    ]
    named = {"region", "link", "button", "navigation", "image", "table"}
    assert [part for part in parts if part[0] in named and not part[1]] == []
    assert browser.evaluate("document.getAnimations().length") == 0, "nothing moves"


@pytest.mark.parametrize("per_run", [1, 10, 10_000])
def test_ten_thousand_lines_are_all_there_and_a_link_opens_its_day(
    browser: Browser, tmp_path: Path, per_run: int
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    log = [
        a_line(
            f"{n:05}_a", run_id=f"r{n // per_run}", at=(start + timedelta(hours=n / 5)).isoformat()
        )
        for n in range(10_000)
    ]
    rows = [a_row(f"{n:04}_a", applied_at=start.isoformat()) for n in range(1_000)]
    page = tmp_path / "page.html"
    page.write_text(as_page(an_answer(preflight=None, requires={}, log=log, migrations=rows)))
    opened(browser, page)
    text = browser.evaluate("document.body.textContent")
    assert all(f"{n:05}_a" in text for n in (0, 5_000, 9_999))
    # a browser on a quiet machine takes 10 ms for 1,000 of them
    assert browser.evaluate("document.querySelectorAll('*').length") < 25_000
    link = "document.querySelector('.days a')"
    day = browser.evaluate(f"{link}.getAttribute('href').slice(1)")
    shown = f"document.getElementById('{day}').closest('details').open"
    assert browser.evaluate(shown) is (per_run == 10_000), "the newest day is open"
    browser.evaluate(f"{link}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    browser.evaluate("new Promise(done => requestAnimationFrame(done))")
    assert browser.evaluate(shown)
