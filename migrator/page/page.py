"""The page: five questions in the order in which a person on call has them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from migrator.page.depends import levels_of, picture
from migrator.page.runs import runs_of, timeline
from migrator.page.style import CSS, SCRIPT
from migrator.page.words import (
    BAD,
    GOOD,
    NEUTRAL,
    TONES,
    WAITING,
    badge,
    clock,
    command,
    esc,
    said,
    since,
    table,
    took,
)
from migrator.report import for_people, how_to_end, in_words

_Answer = Mapping[str, Any]
LOADED = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
QUESTIONS = (
    ("now", "What is running now?"),
    ("failed", "What failed last, and what to do?"),
    ("pending", "What is pending, and what will it do?"),
    ("runs", "Who ran what, when, for how long, and behind whom?"),
    ("depends", "What depends on what?"),
)


def as_page(answer: _Answer) -> str:
    """What `report --html` answers, as one file without any other."""
    bodies = (_now, _failed, _pending, _runs, _depends)
    sections = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}" tabindex="-1">{question}</h2>'
        f"{''.join(body(answer))}</section>"
        for (name, question), body in zip(QUESTIONS, bodies, strict=True)
    )
    links = "".join(f'<li><a href="#{name}">{question}</a></li>' for name, question in QUESTIONS)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src '
        f"'unsafe-inline'; script-src '{LOADED}'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Migrations of {esc(answer['database'])}</title><style>{CSS}</style></head>"
        f'<body><a class="skip" href="#now">Skip to the answers</a>{_header(answer)}'
        f'<nav aria-label="Questions"><ul>{links}</ul></nav><main>{sections}</main>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _header(answer: _Answer) -> str:
    facts = [
        f"as of <b>{clock(answer['taken_at'])}</b>",
        *(esc(answer["server"]), f"migrator {esc(answer['migrator'])}"),
        f"newest applied: <code>{esc(answer['newest'] or 'none')}</code>",
        f"folder: <code>{esc(answer['folder'])}</code>",
    ]
    verdict = answer["verdict"]
    tone = BAD if _is_refused(answer) else WAITING
    tone = GOOD if "nothing to do" in verdict else tone
    if busy := _at_work(answer):
        verdict, tone = f"{busy}. After that: {verdict}", BAD if _blockers(answer) else WAITING
    return (
        f"<header><h1>Migrations of <code>{esc(answer['database'])}</code></h1>"
        f'<p class="facts">{" · ".join(facts)}</p>'
        f'<p class="card {tone}" role="status">{said(verdict)}</p></header>'
    )


def _blockers(answer: _Answer) -> Sequence[dict[str, Any]]:
    """Who is in the way of the run at work."""
    return (answer.get("seen") or {}).get("blockers") or ()


def _at_work(answer: _Answer) -> str:
    """What runs now and who is in its way, as a sentence; empty where nothing runs."""
    at_work = answer["at_work"]
    if not at_work:
        return ""
    version = f" on {at_work['version']}" if at_work.get("version") else ""
    behind = "; ".join(map(in_words, _blockers(answer)))
    blocked = f", blocked by {behind}" if behind else ""
    return f"{in_words(at_work)} is at work{version}{blocked}"


def _now(answer: _Answer) -> Iterator[str]:
    at_work = answer["at_work"]
    if not at_work:
        yield (
            f'<p class="card {NEUTRAL}">Nothing is running: nobody holds the lock of the runners.'
            "</p>"
        )
        return
    seen, blocked = answer.get("seen") or {}, _blockers(answer)
    rows = [
        ("runner", esc(in_words(at_work))),
        ("migration", esc(at_work.get("version", ""))),
        ("since", since(at_work.get("since", ""), answer["taken_at"])),
        ("run", esc(at_work.get("run_id", ""))),
    ]
    if relation := (seen.get("waits_for") or {}).get("relation"):
        rows.append(("waits for", f"<code>{esc(relation)}</code>"))
    for one in blocked:
        rows.append(("blocked by", esc(in_words(one))))
        if end := how_to_end(one):
            rows.append(("to end that", command(end)))
    if progress := seen.get("progress"):
        words = [
            str(progress[name]) for name in ("command", "phase", "relation") if name in progress
        ]
        words += [f"{progress['percent']} %"] if progress.get("percent") is not None else []
        rows.append(("progress", esc(", ".join(words))))
    yield f'<div class="card {BAD if blocked else WAITING}">{_list(rows)}</div>'


def _failed(answer: _Answer) -> Iterator[str]:
    log = answer["log"]
    failed = [place for place, line in enumerate(log) if TONES.get(line["event"]) == BAD]
    if failed:
        yield _failure(log[failed[-1]], log[failed[-1] + 1 :], answer)
    elif answer["log_unseen"]:
        yield f'<p class="card {WAITING}">{said(answer["log_unseen"])}</p>'
    else:
        yield f'<p class="card {GOOD}">The log has no failure ({len(log)} lines).</p>'
    for row in answer["dirty"]:
        facts = [("done", esc(row["done"])), ("interrupted", esc(row["interrupted"]))]
        yield (
            f'<div class="card {BAD}"><h3><code>{esc(row["version"])}</code> was started and is '
            f"not finished</h3>{_list(facts)}</div>"
        )
    for one in answer["findings"]:
        place = esc(one["file"]) + (f":{one['line']}" if one.get("line") else "")
        yield (
            f'<div class="card {WAITING}"><h3><code>{place}</code></h3>'
            f"{_list([('found', said(one['problem'])), ('what to do', said(one['remedy']))])}</div>"
        )


#: What a person types next, by the event that failed; other ones are looked at first.
_WAYS: dict[str, tuple[str, ...]] = {"rollback_failed": ("status", "rollback --plan")}


def _failure(line: _Answer, later: Sequence[_Answer], answer: _Answer) -> str:
    """The newest failure, and whether it is over: what failed is done by now."""
    states = {row["version"]: row["state"] for row in answer["migrations"]}
    state, event = states.get(line["version"]), line["event"]
    over = event == "failed" and state == "applied"
    over |= any(
        one["version"] == line["version"]
        and (TONES.get(one["event"]) == GOOD or one["event"] == "rolled_back")
        for one in later
    )
    detail = for_people(line["detail"])
    facts = [
        ("what", f"{badge(line['event'])} <code>{esc(line['version'])}</code>"),
        ("when", since(line["at"], answer["taken_at"])),
        ("by", esc(line["runner"])),
        ("message", esc(detail.get("message") or line["reason"] or "")),
        ("waited", esc(detail.get("waited") or "")),
        ("SQLSTATE", esc(detail.get("sqlstate") or "")),
        ("line", esc(detail.get("line") or "")),
        ("now", badge(state) if state else ""),
    ]
    if not over:
        ways = _WAYS.get(event, ("status", "plan --sql"))
        ways += () if _is_refused(answer) or event in _WAYS else ("up",)
        facts.append(("commands", " ".join(map(command, ways))))
    return f'<div class="card {NEUTRAL if over else BAD}">{_list(facts)}</div>'


def _pending(answer: _Answer) -> Iterator[str]:
    rows = [row for row in answer["migrations"] if row["state"] != "applied"]
    found = answer["preflight"]
    if not rows:
        yield f'<p class="card {GOOD}">Nothing is pending.</p>'
    else:
        cells = (
            [f"<code>{esc(row['version'])}</code>", badge(row["state"]), esc(row["kind"])]
            for row in rows
        )
        yield table("All that is not simply applied", ("version", "state", "kind"), cells)
    if found is None:
        yield _unknown(answer) if rows else ""
        return
    for part, tone in (("findings", BAD), ("allowed", NEUTRAL), ("advice", NEUTRAL)):
        for one in found[part]:
            yield _danger(one, part, tone)
    for one in found["other"]:
        yield f'<p class="card {WAITING}">{said(one["problem"])}. {said(one["remedy"])}</p>'
    if not any(found.values()):
        yield f'<p class="card {GOOD}">It harms no table in use.</p>'


def _unknown(answer: _Answer) -> str:
    if _is_refused(answer):
        return "<p>What it would do to which table is not judged, as it would not be run.</p>"
    made = command("check --write")
    return (
        "<p>What it will do to which table is not known here: no facts came with the files. "
        f"{made} makes them.</p>"
    )


def _is_refused(answer: _Answer) -> bool:
    """Whether `up` would run nothing."""
    return "would end with" in answer["verdict"]


def _danger(one: _Answer, part: str, tone: str) -> str:
    size = f" ({one['size']})" if one["size"] else ""
    waits = ", for ".join(filter(None, (one["shut_out"], one["how_long"])))
    facts = [
        ("does", esc(one["does"])),
        ("table", esc(f"{one['relation']}{size}")),
        ("shut out", esc(waits)),
        ("allowed", esc(one.get("reason", ""))),
        ("safe way", said(one["remedy"])),
    ]
    name = badge(part if part != "findings" else one["class"], tone)
    place = f"<code>{esc(one['file'])}:{one['line']}</code>"
    return f'<div class="card {tone}"><h3>{place} {name}</h3>{_list(facts)}</div>'


def _runs(answer: _Answer) -> Iterator[str]:
    log = answer["log"]
    if answer["log_unseen"]:
        yield f'<p class="card {WAITING}">{said(answer["log_unseen"])}</p>'
    elif log:
        yield "<p>Days on which something ran; a click leads to the day. Times are UTC.</p>"
        yield timeline(runs_of(log))
    else:
        yield "<p>Nothing is recorded yet.</p>"
    rows = (
        [
            f"<code>{esc(row['version'])}</code>",
            badge(row["state"]),
            esc(row["kind"]),
            clock(row.get("applied_at") or ""),
            took(row.get("execution_time_ms")),
        ]
        for row in answer["migrations"]
    )
    heads = ("version", "state", "kind", "applied at", "took")
    count = len(answer["migrations"])
    yield (
        f'<details class="paper"><summary>All {count} migrations</summary>'
        f"{table('All migrations', heads, rows)}</details>"
    )


def _depends(answer: _Answer) -> Iterator[str]:
    needs = answer["requires"]
    if not levels_of(needs):
        yield "<p>No file says that it requires another one: the order of the numbers decides.</p>"
        return
    states = {row["version"]: row["state"] for row in answer["migrations"]}
    yield "<p>In the direction of time: what is required is on the left.</p>"
    yield (
        f'<div class="wide" role="region" tabindex="0" aria-label="Picture of the requirements">'
        f"{picture(states, needs)}</div>"
    )
    rows = (
        [f"<code>{esc(v)}</code>", ", ".join(f"<code>{esc(need)}</code>" for need in wanted)]
        for v, wanted in needs.items()
        if wanted
    )
    yield (
        '<details class="paper"><summary>The same as a table</summary>'
        f"{table('What requires what', ('version', 'requires'), rows)}</details>"
    )


def _list(rows: Iterable[Sequence[str]]) -> str:
    """Names with their values, which are HTML already; empty ones are left out."""
    return f"<dl>{''.join(f'<dt>{esc(n)}</dt><dd>{value}</dd>' for n, value in rows if value)}</dl>"
