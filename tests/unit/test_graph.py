"""The picture of what requires what."""

from __future__ import annotations

import pytest

from migrator.cli.graph import COLOURS, mermaid
from migrator.plan.order import Graph


def test_a_picture_shows_states_and_what_requires_what() -> None:
    states = [
        ("001_a", "applied"),
        ("002_b", "applied"),
        ("003_c", "pending"),
        ("R__a", "held"),
    ]
    wanted = {"003_c": ["001_a", "001_a", "000_x"], "R__a": ["003_c"], "001_a": []}
    assert mermaid(Graph(states, wanted)) == (
        "graph TD\n"
        '  m1["001_a<br/>applied"]:::applied\n'
        '  m2["003_c<br/>pending"]:::pending\n'
        '  m3["R__a<br/>held"]:::held\n'
        '  m4["000_x<br/>unknown"]:::unknown\n'
        "  m1 --> m2\n"
        "  m4 --> m2\n"
        "  m2 --> m3\n"
        f"  classDef applied {COLOURS['applied']}\n"
        f"  classDef pending {COLOURS['pending']}\n"
        f"  classDef held {COLOURS['held']}\n"
        f"  classDef unknown {COLOURS['unknown']}\n"
    )


def test_a_picture_of_nothing_is_a_picture() -> None:
    assert mermaid(Graph([("001_a", "applied")], {})) == "graph TD\n"


def test_a_row_of_the_history_may_have_any_name() -> None:
    assert '  m1["a#34;#93;#10;b<br/>missing"]:::missing\n' in mermaid(
        Graph([('a"]\nb', "missing")], {})
    )


@pytest.mark.parametrize(
    "state", ["applied", "pending", "late", "held", "drifted", "missing", "dirty", "unknown"]
)
def test_every_state_has_its_colour(state: str) -> None:
    graph = mermaid(Graph([("002_b", state)], {"002_b": ["001_a"]}))
    assert f"  classDef {state} {COLOURS[state]}\n" in graph
