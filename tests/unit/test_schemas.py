"""The schemas of the log and of the answers name what the code names."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from migrator.commands.table import COMMANDS
from migrator.model import Kind
from migrator.no_transaction.settle import Next
from migrator.plan.progress import Answer, How
from tests.pages import error_classes, told_events
from tests.schemas import problems, schema


@pytest.mark.parametrize("name", ["event", "answer"])
def test_it_is_a_schema_of_draft_2020_12(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    used = {line["then"]["$ref"] for line in schema(name)["allOf"] if "then" in line}
    assert {ref.removeprefix("#/$defs/") for ref in used} <= set(schema(name)["$defs"])


def test_every_event_has_its_fields() -> None:
    event = schema("event")
    names = [line["if"]["properties"]["event"]["const"] for line in event["allOf"]]
    assert set(event["properties"]["event"]["enum"]) == set(names) == told_events()


def test_every_command_has_its_answer() -> None:
    cases = [line for line in schema("answer")["allOf"] if "if" in line]
    assert [line["if"]["properties"]["command"]["const"] for line in cases] == list(COMMANDS)
    result = schema("answer")["$defs"]["result"]
    assert result["properties"]["command"]["enum"] == ["", *COMMANDS]
    assert result == schema("event")["$defs"]["result"]
    assert sorted(result["properties"]["exit_code"]["enum"]) == [0, 1, *sorted(error_classes())]


def test_each_word_of_a_choice_is_one_of_the_code() -> None:
    defs = {**schema("answer")["$defs"], **schema("event")["$defs"]}
    settled = defs["statement.settled"]["properties"]["verdict"]["enum"]
    assert settled == [verdict.value for verdict in Next]
    assert defs["statement.done"]["properties"]["how"]["enum"] == [how.value for how in How]
    given = defs["repair.assuming"]["properties"]["answer"]["enum"]
    assert given == [answer.value for answer in Answer]
    assert defs["state"]["properties"]["kind"]["enum"] == [kind.value for kind in Kind]


def test_the_test_itself_refuses_a_field_that_is_not_named() -> None:
    line = {
        **{"timestamp": "2026-01-02T03:04:05.678+00:00", "level": "info", "run_id": "1"},
        **{"event": "lines.lost", "lines": 1},
    }
    assert problems("event", line) == []
    assert problems("event", {**line, "more": 1})
    assert problems("event", {key: line[key] for key in line if key != "lines"})
