"""The lines of the log -> runs, by day: who ran what, when and for how long."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from migrator.page.words import (
    BAD,
    GOOD,
    NEUTRAL,
    TONES,
    WAITING,
    badge,
    clock,
    esc,
    moment,
    name,
    table,
    took,
)
from migrator.report import for_people

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RICH_LINES = 300  #: of the newest runs, which have tables
DAYS_SHOWN = 60  #: of the picture of days; the lists have all
HEADS = ("at", "what", "version", "took", "when in the run", "by", "why")


@dataclass(frozen=True, slots=True)
class PastRun:
    """The lines of one run, in their order."""

    number: int  #: 1-based, as its place in the page is called
    lines: tuple[Mapping[str, Any], ...]
    began: datetime
    ended: datetime

    @property
    def failed(self) -> bool:
        return any(TONES.get(line["event"]) == BAD for line in self.lines)

    @property
    def day(self) -> str:
        return f"{self.began:%Y-%m-%d}"

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.lines)


def runs_of(log: Iterable[Mapping[str, Any]]) -> tuple[PastRun, ...]:
    """The runs, in the order in which they began."""
    by_run: dict[str, list[Mapping[str, Any]]] = {}
    for line in log:
        by_run.setdefault(str(line["run_id"]), []).append(line)
    made = [(*_span(lines), tuple(lines)) for lines in by_run.values()]
    made.sort(key=lambda one: one[:2])
    return tuple(PastRun(number, lines, *span) for number, (*span, lines) in enumerate(made, 1))


def _span(lines: Sequence[Mapping[str, Any]]) -> tuple[datetime, datetime]:
    times = [(*_times(line), _waited(line)) for line in lines]
    return min(began - waited for began, _, waited in times), max(ended for _, ended, _ in times)


def _times(line: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """When what a line records began, once nothing was in its way, and ended."""
    ended = moment(line["at"]) or EPOCH
    return ended - timedelta(milliseconds=_spent(line) or 0), ended


def _spent(line: Mapping[str, Any]) -> int | None:
    """What it took, in ms; None for what is no time."""
    return _ms(line.get("execution_time_ms"))


def _ms(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 10**11 else None


def timeline(runs: Sequence[PastRun]) -> str:
    """All runs, the newest day and run first: days as a picture, each day with its runs."""
    days = {day: tuple(found) for day, found in groupby(runs, key=lambda run: run.day)}
    tables, newest = _tables(runs), runs[-1]
    parts = [_days(days)]
    for day, found in reversed(days.items()):
        rich = [run for run in found if run.number in tables]
        marks = _day(found, rich) if len(found) > 1 else ""
        listed = "".join(
            _run(run, tables[run.number], is_open=run is newest) for run in reversed(rich)
        )
        plain = _text(line for run in found[: len(found) - len(rich)] for line in run.lines)
        parts.append(
            f'<details class="day"{" open" if newest in found else ""}>'
            f"<summary><h3>{day}</h3> {_sum(found)}</summary>"
            f'<div id="day-{day}">{marks}{listed}{plain}</div></details>'
        )
    return "".join(parts)


def _tables(runs: Sequence[PastRun]) -> dict[int, int]:
    """How many of their newest lines the newest runs have in a table, by their numbers.

    All others are lines of text, a day at a time: for 10,000 lines as elements, or for elements of
    10,000 runs, a browser takes seconds, and for their text next to nothing.
    """
    left, found = RICH_LINES, {}
    for run in reversed(runs):
        if left <= 0:
            break
        found[run.number] = min(left, len(run.lines))
        left -= len(run.lines)
    return found


def _sum(runs: Sequence[PastRun]) -> str:
    applied, undone = (sum(run.count(e) for run in runs) for e in ("applied", "rolled_back"))
    failed = sum(run.failed for run in runs)
    said = [f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}", f"{applied} applied"]
    said += [f"{undone} undone"] if undone else []
    return esc(", ".join(said)) + (f" {badge(f'{failed} failed', BAD)}" if failed else "")


def _days(days: Mapping[str, Sequence[PastRun]]) -> str:
    """A bar for each day on which something ran, red as far as it failed; a click leads there."""
    shown = list(days.items())[-DAYS_SHOWN:]
    most = max(sum(len(run.lines) for run in found) for _, found in shown)
    step = 960 / max(len(shown), 12)
    bars = []
    for place, (day, found) in enumerate(shown):
        count, failed = sum(len(run.lines) for run in found), sum(run.failed for run in found)
        height = 12 + 80 * count / most
        red = max(6.0, height * failed / len(found)) if failed else 0.0
        words = f"{day}: {len(found)} runs, {failed} failed, {count} lines of the log"
        size = f'x="{place * step + 1:.1f}" width="{max(step - 2, 2):.1f}"'
        bars.append(
            f'<a href="#day-{day}" aria-label="{esc(words)}"><title>{esc(words)}</title>'
            f'<rect class="hit" x="{place * step:.1f}" y="0" width="{step:.1f}" height="96"/>'
            f'<rect class="{GOOD}" {size} y="{96 - height:.1f}" height="{height - red:.1f}"/>'
            f'<rect class="{BAD}" {size} y="{96 - red:.1f}" height="{red:.1f}"/></a>'
        )
    wide = 100 * len(shown) / max(len(shown), 12)
    ends = dict.fromkeys((shown[0][0], shown[-1][0]))
    return (
        f'<svg class="days" role="group" aria-label="Days" viewBox="0 0 960 96"'
        f' preserveAspectRatio="none">{"".join(bars)}</svg>'
        f'<p class="scale" style="max-width:max({wide:.0f}%,12rem)">'
        f"{''.join(f'<span>{day}</span>' for day in ends)}</p>"
    )


def _day(runs: Sequence[PastRun], rich: Sequence[PastRun]) -> str:
    """The 24 hours of a day, with a mark for each run; those with a table are linked to it."""
    hours = "".join(f"M{hour * 40} 0V30" for hour in range(24))
    plain = {GOOD: "", BAD: ""}
    links = []
    for run in runs:
        start = (run.began - run.began.replace(hour=0, minute=0, second=0)).total_seconds() / 90
        width = min(max(5.0, (run.ended - run.began).total_seconds() / 90), 960 - start)
        tone = BAD if run.failed else GOOD
        if run not in rich:
            plain[tone] += f"M{start:.1f} 6h{width:.1f}v18h-{width:.1f}z"
            continue
        words = f"{run.began:%H:%M:%S}: {len(run.lines)} lines of the log"
        links.append(
            f'<a href="#run-{run.number}" aria-label="{esc(words)}"><title>{esc(words)}</title>'
            f'<rect class="{tone}" x="{start:.1f}" y="6" width="{width:.1f}" height="18"/></a>'
        )
    paths = "".join(f'<path class="{tone}" d="{d}"/>' for tone, d in plain.items() if d)
    scale = "".join(f"<span>{hour:02}:00</span>" for hour in range(0, 24, 4))
    return (
        f'<svg class="hours" role="group" aria-label="{len(runs)} runs in 24 hours"'
        f' viewBox="0 0 960 30" preserveAspectRatio="none"><path class="hour" d="{hours}"/>'
        f'{paths}{"".join(links)}</svg><p class="scale hourly">{scale}</p>'
    )


def _run(run: PastRun, rows: int, *, is_open: bool) -> str:
    """A run with a table of its newest lines; those before them are text."""
    whole = (run.ended - run.began).total_seconds() * 1000
    who = name(run.lines[0]["runner"])
    counts = _sum((run,)).partition(", ")[2]
    caption = f"Run of {run.began:%Y-%m-%d %H:%M:%S} UTC by {run.lines[0]['runner']}"
    body = _text(run.lines[:-rows]) + table(caption, HEADS, _rows(run, run.lines[-rows:]), "log")
    return (
        f'<details class="run"{" open" if is_open else ""}><summary>'
        f"<b>{run.began:%H:%M:%S}</b> {who}: {counts}, {took(whole)}</summary>"
        f'<div id="run-{run.number}">{body}</div></details>'
    )


def _text(lines: Iterable[Mapping[str, Any]]) -> str:
    """Lines of the log as text."""
    said = "\n".join(map(_plainly, lines))
    return f"<pre>{said}</pre>" if said else ""


def _plainly(line: Mapping[str, Any]) -> str:
    parts = (
        *(clock(line["at"]), name(line["runner"]), esc(line["event"]), name(line["version"] or "")),
        *(took(_spent(line)), why(line, "{}")),
    )
    said = "  ".join(filter(None, parts))
    return f"<b>{said}</b>" if TONES.get(line["event"]) == BAD else said


def _rows(run: PastRun, lines: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    whole = (run.ended - run.began).total_seconds()

    def part(cls: str, start: datetime, end: datetime, least: float) -> str:
        left = (start - run.began).total_seconds() * 100 / whole if whole else 0
        wide = (end - start).total_seconds() * 100 / whole if whole else 0
        left, wide = min(max(left, 0), 99), max(wide, least)
        return f'<rect class="{cls}" x="{left:.1f}%" width="{wide:.1f}%" height="10"/>'

    for line in lines:
        began, ended = _times(line)
        waited = _waited(line)
        bar = part(WAITING, began - waited, began, 1) if waited else ""
        bar += part(TONES.get(line["event"], NEUTRAL), began, ended, 1)
        yield [
            clock(line["at"]).removeprefix(run.day).removesuffix("UTC").strip(),
            badge(line["event"]),
            f"<code>{esc(line['version'])}</code>" if line["version"] else "",
            took(_spent(line)),
            f'<svg class="bar" aria-hidden="true">{bar}</svg>',
            name(line["runner"]),
            why(line),
        ]


def _waited(line: Mapping[str, Any]) -> timedelta:
    """For how long something was in the way of it."""
    return timedelta(milliseconds=_ms(line["detail"].get("waited_ms")) or 0)


#: What the next run and monitoring read of a line, beside what no person does.
_NOT_SHOWN = ("format", "pending")


def why(line: Mapping[str, Any], mark: str = "<i>{}</i>") -> str:
    """The reason, and what else the line knows, each name as `mark` has it."""
    more = for_people(line["detail"])
    parts = [esc(line["reason"])] if line.get("reason") else []
    parts += [
        f"{mark.format(esc(name))} {esc(_plain(value))}"
        for name, value in more.items()
        if name not in _NOT_SHOWN
    ]
    return "; ".join(parts)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
