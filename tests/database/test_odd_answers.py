"""Whatever answers, and however: a code and a text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.builders import write_folder
from tests.conftest import MakeStub
from tests.job import run_job
from tests.pooler_stub import DONE, READY, Welcome, answer, message

GREETING = {"server_version": "15.0", "client_encoding": "UTF8", "DateStyle": "ISO"}
INTEGER, JSONB = 23, 3802
DEEP = b"[" * 100_000 + b"]" * 100_000
EMPTY = {
    "role": "x",
    "fence": {"code": [], "owners": []},
    "read_only": False,
    "schema_exists": True,
    "exists": False,
    "readable": False,
    "log": {},
    "rails": False,
    "rows": [],
    "journal": [],
}
ODD = [
    pytest.param(answer(), id="no rows"),
    pytest.param(message(b"C", "DO") + READY, id="no result"),
    pytest.param(answer([None]), id="NULL"),
    pytest.param(answer([], columns=0), id="no columns"),
    pytest.param(answer([b"1", b"2"], columns=2), id="two columns"),
    pytest.param(answer([b"hello"]), id="no JSON"),
    pytest.param(answer([b"null"]), id="null of JSON"),
    pytest.param(answer([b"7"]), id="a number"),
    pytest.param(answer([b"[]"]), id="a list"),
    pytest.param(answer([b"{}"]), id="an empty object"),
    pytest.param(answer([DEEP]), id="deep JSON"),
    pytest.param(answer([b"\xff\xfe{}"]), id="bytes that are not UTF-8"),
    pytest.param(answer([b"{\0}"]), id="a NUL"),
    pytest.param(answer([b"7"], kind=INTEGER), id="an integer"),
    pytest.param(answer([b"x"], kind=INTEGER), id="an integer that is none"),
    pytest.param(answer([b"{"], kind=JSONB), id="jsonb that is none"),
    pytest.param(answer([DEEP], kind=JSONB), id="deep jsonb"),
    pytest.param(b"W\0\0\0\x07\0\0\0", id="the beginning of a COPY both ways"),
]
BROKEN = [
    pytest.param(b"I\0\0\0\x04" + READY, id="an empty query"),
    pytest.param(b"H\0\0\0\x07\0\0\0" + READY, id="COPY to stdout"),
    pytest.param(b"G\0\0\0\x07\0\0\0", id="COPY from stdin"),
    pytest.param(b"\x01\x02\x03\x04\x05\x06\x07\x08", id="garbage"),
    pytest.param(b"T\0\0\0\x06\0\1" + DONE, id="a short description"),
    pytest.param(b"E\0\0\0\x0cSERROR\0\0" + READY, id="an error without a number"),
]
SOON = {name: "300ms" for name in ("CONNECT_TIMEOUT", "LOCK_TIMEOUT", "WAIT_TIMEOUT")}


@pytest.mark.parametrize("command", ["up", "status", "wait", "history"])
@pytest.mark.parametrize("odd", ODD)
def test_an_answer_of_another_shape_has_a_code_and_a_text(
    stub: MakeStub, tmp_path: Path, command: str, odd: bytes
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    result = run_job(stub(Welcome(GREETING, (odd,))).url(), folder, command, **SOON)
    assert (result.code, result.error["type"]) == (16, "AccessError"), result.stderr
    assert "an answer of another shape" in result.error["message"]
    assert "traceback" not in result.stderr.lower()


@pytest.mark.parametrize("broken", BROKEN)
def test_what_breaks_the_protocol_is_a_lost_connection(
    stub: MakeStub, tmp_path: Path, broken: bytes
) -> None:
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    result = run_job(stub(Welcome(GREETING, (broken,))).url(), folder, **SOON)
    assert (result.code, result.error["type"]) == (20, "UnreachableError"), result.stderr


@pytest.mark.parametrize("odd", [*ODD, *BROKEN])
def test_so_has_one_that_comes_later(stub: MakeStub, tmp_path: Path, odd: bytes) -> None:
    first = answer([json.dumps(EMPTY).encode()])
    folder = write_folder(tmp_path, {"001_a.sql": "SELECT 1"})
    settings = {**SOON, "DEADLINE": "5s"}
    result = run_job(stub(Welcome(GREETING, (first, odd))).url(), folder, **settings)
    assert result.code in {15, 16, 20, 21, 23}, result.stderr
    assert "traceback" not in result.stderr.lower()
