"""What requires what -> a picture from left to right, in the direction of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migrator.page.words import NEUTRAL, TONES, esc

NODES = 300  #: that are drawn; a table has all
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 200, 40, 260, 56


def picture(states: Mapping[str, str], needs: Mapping[str, Sequence[str]]) -> str:
    """Each version to the right of what it requires; an arrow leads from that to it."""
    levels = levels_of(needs)
    shown = [version for version in states if version in levels]
    shown += [version for version in levels if version not in states]
    shown = shown[-NODES:]
    places: dict[str, tuple[int, int]] = {}
    rows: dict[int, int] = {}
    for version in shown:
        level = levels[version]
        row = rows.get(level, 0)
        rows[level] = row + 1
        places[version] = (4 + level * _ACROSS, 4 + row * _DOWN)
    arrows = [
        _arrow(places[need], places[version])
        for version in shown
        for need in dict.fromkeys(needs.get(version, ()))
        if need in places
    ]
    boxes = [_box(places[v], v, states.get(v, "unknown")) for v in shown]
    wide = max(x for x, _ in places.values()) + _WIDTH + 4
    high = max(y for _, y in places.values()) + _HEIGHT + 4
    return (
        f'<svg class="graph" role="img" aria-label="What requires what; the table below says the'
        f' same" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"><defs><marker id="tip"'
        ' viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L8 4L0 8z"/></marker></defs>{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def levels_of(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many steps come before each version that has a part in a requirement."""
    found: dict[str, int] = {}
    left = {version: set(wanted) for version, wanted in needs.items() if wanted}
    for wanted in list(left.values()):
        for need in wanted:
            if need not in left:
                found[need] = 0
    while left:
        free = [version for version, wanted in left.items() if wanted <= found.keys()]
        for version in free or list(left):  # a circle has no first one
            wanted = left.pop(version)
            found[version] = 1 + max((found.get(need, 0) for need in wanted), default=0)
    return found


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x, y), (to_x, to_y) = start, end
    x, y, to_y = x + _WIDTH, y + _HEIGHT // 2, to_y + _HEIGHT // 2
    middle = (x + to_x) // 2
    return f'<path class="arrow" d="M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}"/>'


def _box(place: tuple[int, int], version: str, state: str) -> str:
    x, y = place
    name = version if len(version) <= 26 else f"{version[:25]}…"
    return (
        f'<g class="{TONES.get(state, NEUTRAL)}"><title>{esc(version)}: {esc(state)}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        f'<text x="{x + 8}" y="{y + 17}">{esc(name)}</text>'
        f'<text class="state" x="{x + 8}" y="{y + 33}">{esc(state)}</text></g>'
    )
