"""The lines of the log -> runs, by day: who ran what, when and for how long."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from migrator.page.words import BAD, GOOD, TONES, badge, clock, esc, moment, table, took
from migrator.report import for_people

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RICH_LINES = 500  #: of the newest runs, which have tables
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
    times = [_times(line) for line in lines]
    return min(began for began, _ in times), max(ended for _, ended in times)


def _times(line: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """When what a line records began and ended."""
    ended = moment(line["at"]) or EPOCH
    return ended - timedelta(milliseconds=line.get("execution_time_ms") or 0), ended


def timeline(runs: Sequence[PastRun]) -> str:
    """All runs, the newest day and run first: days as a picture, each day with its runs."""
    days = {day: tuple(found) for day, found in groupby(runs, key=lambda run: run.day)}
    newest, rich = runs[-1], _rich(runs)
    parts = [_days(days)]
    for day, found in reversed(days.items()):
        marks = _day(found) if len(found) > 1 else ""
        listed = "".join(_run(run, rich, is_open=run is newest) for run in reversed(found))
        parts.append(
            f'<details class="day"{" open" if newest in found else ""}>'
            f"<summary><h3>{day}</h3> {_sum(found)}</summary>"
            f'<div id="day-{day}">{marks}{listed}</div></details>'
        )
    return "".join(parts)


def _rich(runs: Sequence[PastRun]) -> int:
    """The number of the oldest run that has a table; older ones are lines of text.

    A browser takes seconds for the tables of 10,000 lines, and none for their text.
    """
    lines = 0
    for run in reversed(runs):
        lines += len(run.lines)
        if lines > RICH_LINES:
            return run.number + 1
    return 1


def _sum(runs: Sequence[PastRun]) -> str:
    applied, undone = (sum(run.count(e) for run in runs) for e in ("applied", "rolled_back"))
    failed = sum(run.failed for run in runs)
    said = [f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}", f"{applied} applied"]
    said += [f"{undone} undone"] if undone else []
    return esc(", ".join(said)) + (f" {badge(f'{failed} failed', BAD)}" if failed else "")


def _days(days: Mapping[str, Sequence[PastRun]]) -> str:
    """A bar for each day on which something ran; a click leads to the day."""
    shown = list(days.items())[-DAYS_SHOWN:]
    most = max(sum(len(run.lines) for run in found) for _, found in shown)
    step = 960 / max(len(shown), 12)
    bars = []
    for place, (day, found) in enumerate(shown):
        count = sum(len(run.lines) for run in found)
        height = 12 + 68 * count / most
        tone = BAD if any(run.failed for run in found) else GOOD
        words = f"{day}: {len(found)} runs, {count} lines of the log"
        bars.append(
            f'<a href="#day-{day}" aria-label="{esc(words)}"><title>{esc(words)}</title>'
            f'<rect class="hit" x="{place * step:.1f}" y="0" width="{step:.1f}" height="96"/>'
            f'<rect class="{tone}" x="{place * step + 1:.1f}" y="{80 - height:.1f}"'
            f' width="{max(step - 2, 2):.1f}" height="{height:.1f}" rx="2"/></a>'
        )
    ends = f'<text x="0" y="96">{shown[0][0]}</text>'
    if len(shown) > 3:
        ends += f'<text x="960" y="96" text-anchor="end">{shown[-1][0]}</text>'
    return f'<svg class="days" viewBox="0 0 960 100">{"".join(bars)}{ends}</svg>'


def _day(runs: Sequence[PastRun]) -> str:
    """The 24 hours of a day, with a mark for each run."""
    hours = "".join(
        f'<line x1="{hour * 40}" x2="{hour * 40}" y1="0" y2="30"/>'
        + (f'<text x="{hour * 40 + 3}" y="44">{hour:02}:00</text>' if hour % 4 == 0 else "")
        for hour in range(24)
    )
    marks = []
    for run in runs:
        start = (run.began - run.began.replace(hour=0, minute=0, second=0)).total_seconds()
        width = max(5.0, (run.ended - run.began).total_seconds() / 90)
        words = f"{run.began:%H:%M:%S}: {len(run.lines)} lines of the log"
        marks.append(
            f'<a href="#run-{run.number}" aria-label="{esc(words)}"><title>{esc(words)}</title>'
            f'<rect class="{BAD if run.failed else GOOD}" x="{start / 90:.1f}" y="6"'
            f' width="{min(width, 960 - start / 90):.1f}" height="18" rx="2"/></a>'
        )
    return f'<svg class="hours" viewBox="0 0 960 50">{hours}{"".join(marks)}</svg>'


def _run(run: PastRun, rich: int, *, is_open: bool) -> str:
    whole = (run.ended - run.began).total_seconds() * 1000
    who = esc(run.lines[0]["runner"])
    counts = _sum((run,)).partition(", ")[2]
    if run.number >= rich or is_open:
        caption = f"Run of {run.began:%Y-%m-%d %H:%M:%S} UTC by {run.lines[0]['runner']}"
        body = table(caption, HEADS, _rows(run, whole), "log")
    else:
        body = f"<pre>{chr(10).join(map(_plainly, run.lines))}</pre>"
    return (
        f'<details class="run"{" open" if is_open else ""}><summary>'
        f"<b>{run.began:%H:%M:%S}</b> {who}: {counts}, {took(whole)}</summary>"
        f'<div id="run-{run.number}">{body}</div></details>'
    )


def _plainly(line: Mapping[str, Any]) -> str:
    """A line of the log as text."""
    parts = (
        *(clock(line["at"]), esc(line["event"]), esc(line["version"] or "")),
        *(took(line.get("execution_time_ms")), why(line)),
    )
    return "  ".join(filter(None, parts))


def _rows(run: PastRun, whole: float) -> Iterator[list[str]]:
    for line in run.lines:
        began, ended = _times(line)
        left = (began - run.began).total_seconds() * 100_000 / whole if whole else 0
        width = (ended - began).total_seconds() * 100_000 / whole if whole else 0
        tone = TONES.get(line["event"], "plain")
        bar = (
            f'<svg class="bar" aria-hidden="true"><rect class="{tone}" x="{min(left, 99):.1f}%"'
            f' width="{max(width, 1):.1f}%" height="10"/></svg>'
        )
        yield [
            clock(line["at"])[11:19] if moment(line["at"]) else esc(line["at"]),
            badge(line["event"]),
            f"<code>{esc(line['version'])}</code>" if line["version"] else "",
            took(line.get("execution_time_ms")),
            bar,
            esc(line["runner"]),
            why(line),
        ]


def why(line: Mapping[str, Any]) -> str:
    """The reason, and what else the line knows."""
    more = for_people(line["detail"])
    more.pop("format", None)
    parts = [esc(line["reason"])] if line.get("reason") else []
    parts += [f"<i>{esc(name)}</i> {esc(_plain(value))}" for name, value in more.items()]
    return "; ".join(parts)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
