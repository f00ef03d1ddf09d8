"""What a stop does in each state of the watch, with a connection that only a test decides."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import extensions

from migrator.errors import StoppedError
from migrator.postgres.cancel import STOPS
from migrator.postgres.stop import TimeIsUpError, Watch


class Peer:
    """A connection in the eyes of the watch: it waits until `answer` or a cancel."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._cancels, self._cancelled = os.pipe()

    def fileno(self) -> int:
        return self._ours.fileno()

    def poll(self) -> int:
        if select.select([self._ours], [], [], 0)[0]:
            if not self._ours.recv(1):
                raise psycopg2.OperationalError("the socket was shut down")
            return extensions.POLL_OK
        return extensions.POLL_READ

    def answer(self) -> None:
        self._theirs.send(b"x")

    def cancel(self) -> None:
        """Called in a child process, which shares the pipes."""
        os.write(self._cancelled, b"x")
        self.answer()

    @property
    def cancelled(self) -> bool:
        return bool(select.select([self._cancels], [], [], 0)[0])

    @property
    def is_shut_down(self) -> bool:
        return bool(select.select([self._theirs], [], [], 0)[0])

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()
        os.close(self._cancels)
        os.close(self._cancelled)


@pytest.fixture
def watch() -> Iterator[Watch]:
    made = Watch()
    yield made
    made.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def test_an_answer_ends_the_wait(watch: Watch, peer: Peer) -> None:
    peer.answer()
    watch.wait(peer)
    assert watch.take_failure() is None
    assert not peer.cancelled


def test_a_stop_cancels_the_statement_and_waits_for_its_end(watch: Watch, peer: Peer) -> None:
    watch.stop("SIGTERM")
    watch.wait(peer)
    assert peer.cancelled
    assert watch.take_failure() is None
    assert not peer.is_shut_down


def test_a_stop_during_the_wait_is_noticed(watch: Watch, peer: Peer) -> None:
    threading.Timer(0.05, watch.stop, ["SIGTERM"]).start()
    watch.wait(peer)
    assert peer.cancelled


def test_a_limit_ends_the_connection_and_is_kept(watch: Watch, peer: Peer) -> None:
    with watch.limited(0.01):
        watch.wait(peer)
    assert isinstance(watch.take_failure(), TimeIsUpError)
    assert watch.take_failure() is None
    assert peer.is_shut_down


def test_a_stop_ends_a_connect_with_nothing_to_cancel(watch: Watch, peer: Peer) -> None:
    watch.stop("SIGTERM")
    with pytest.raises(StoppedError), watch.connecting(60):
        watch.wait(peer)
    assert not peer.cancelled
    assert watch.take_failure() is None


def test_a_limit_ends_a_connect(watch: Watch, peer: Peer) -> None:
    with pytest.raises(TimeIsUpError), watch.connecting(0.01):
        watch.wait(peer)


def test_a_clean_up_does_not_hear_the_stop_that_brought_it(watch: Watch, peer: Peer) -> None:
    watch.stop("SIGTERM")
    threading.Timer(0.05, peer.answer).start()
    with watch.cleaning_up():
        watch.check()
        watch.wait(peer)
    assert not peer.cancelled
    assert watch.take_failure() is None
    with pytest.raises(StoppedError):
        watch.check()


def test_a_clean_up_may_connect(watch: Watch, peer: Peer) -> None:
    watch.stop("SIGTERM")
    threading.Timer(0.05, peer.answer).start()
    with watch.cleaning_up():
        with watch.connecting(60):
            watch.wait(peer)
        with pytest.raises(TimeIsUpError), watch.connecting(0.01):
            watch.wait(peer)
        watch.check()
    assert not peer.cancelled


def test_a_stop_while_thinking_raises_where_it_is(watch: Watch) -> None:
    with pytest.raises(StoppedError, match="SIGINT"), watch.thinking():
        watch.stop("SIGINT")


def test_thinking_does_not_begin_after_a_stop(watch: Watch) -> None:
    watch.stop("SIGTERM")
    with pytest.raises(StoppedError), watch.thinking():
        pytest.fail("it began")


@pytest.mark.parametrize("state", ["connecting", "cleaning_up", "thinking"])
def test_each_state_ends_with_its_block(watch: Watch, peer: Peer, state: str) -> None:
    with ExitStack() as stack:
        enter = getattr(watch, state)
        stack.enter_context(enter(60) if state == "connecting" else enter())
    watch.stop("SIGTERM")  # does not raise
    watch.wait(peer)
    assert peer.cancelled


def test_a_closed_watch_notes_a_stop() -> None:
    watch = Watch()
    watch.close()
    watch.stop("SIGTERM")
    assert watch.stopped_by == "SIGTERM"


def test_the_first_reason_is_kept(watch: Watch) -> None:
    watch.stop("DEADLINE")
    watch.stop("SIGTERM")
    assert watch.stopped_by == "DEADLINE"


@pytest.mark.parametrize("start", ["entrypoint.py", "migrator/__main__.py"])
def test_each_way_to_start_keeps_the_signals_that_end_a_run(start: str) -> None:
    text = (Path(__file__).parents[2] / start).read_text()
    blocked = text.partition("SIG_BLOCK, {")[2].partition("}")[0]
    assert set(blocked.split(", ")) == {f"signal.{number.name}" for number in STOPS}
