"""A TCP proxy that counts round trips, delays, goes silent, and cuts at a chosen moment."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from urllib.parse import urlsplit

TERMINATE = b"X\x00\x00\x00\x04"


class Cut(Enum):
    """When a connection is cut, seen from the server."""

    BEFORE = "the message never reaches it"
    SENT = "it has just been handed the message, and the client never hears of it"
    DONE = "it has answered the whole message, and the client never hears of it"
    LATE = "it is handed the message, and answers it, just before the next one like it"


class Proxy:
    """Stands between clients and one server, in the clear; counts over all connections.

    A flight is a burst of the client after the server has spoken, counted from the first
    ReadyForQuery on: what a run costs in round trips once its connection is up. The client's
    good-bye is none. `bursts` counts those of the login too. `delay_seconds` is added to each
    direction; it limits no throughput.
    `largest_up` is the size of the client's largest message, in bytes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        delay_seconds: float = 0.0,
        listen: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        self.upstream = (host, port)
        self.delay_seconds = delay_seconds
        self.flights = self.bursts = self.connections = 0
        self.bytes_up = self.bytes_down = self.largest_up = 0
        self.silent = False
        self.needle: tuple[bytes, Cut] | None = None
        self.holding = False
        self._held: bytes | None = None
        self._let_go = threading.Event()
        self.late: Callable[[], None] | None = None  #: delivers what Cut.LATE has kept back
        self.at_cut: Callable[[], object] = _nothing
        self._links: list[_Link] = []
        self._listener = socket.create_server(listen, backlog=64)
        self.port = int(self._listener.getsockname()[1])
        _thread(self._accept)

    def through(self, url: str) -> str:
        """The same URL, but by way of the proxy, and without TLS, which it cannot read."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        query = "&".join(filter(None, (parts.query, "sslmode=disable")))
        return parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}", query=query).geturl()

    def reset(self) -> None:
        """Start counting again."""
        self.flights = self.bursts = self.connections = 0
        self.bytes_up = self.bytes_down = self.largest_up = 0

    def cut(self) -> None:
        """Cut every connection on both sides; new ones are let through."""
        for link in self._links:
            link.close()

    def cut_at(self, needle: bytes, moment: Cut, first: Callable[[], object] | None = None) -> None:
        """Cut a connection, once, when the client sends a message that holds `needle`.

        `first`, which may end the client, is called before anything of the cut reaches it.
        """
        self.at_cut = first or _nothing
        self.needle = (needle, moment)

    def hold_at(self, needle: bytes) -> None:
        """Hold back, once, the message that holds `needle`: `holding`, until `let_go`."""
        self._held = needle

    def let_go(self) -> None:
        """Forward what is held, if its connection is still there."""
        self._let_go.set()

    def held(self, whole: bytes) -> None:
        """Wait here with a message that is to be held."""
        if self._held is not None and self._held in whole:
            self._held, self.holding = None, True
            self._let_go.wait()
            self.holding = False

    def blackhole(self) -> None:
        """Forward nothing more and close nothing: a network that died."""
        self.silent = True

    def refuse(self) -> None:
        """Listen no more; what is open stays open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        self._listener.close()

    @property
    def looks(self) -> bool:
        """Whether messages are looked into, and so passed on whole."""
        return self.needle is not None or self._held is not None

    def stop(self) -> None:
        """Cut everything and listen no more."""
        self.refuse()
        self._let_go.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # stopped
            try:
                server = socket.create_connection(self.upstream)
            except OSError:
                client.close()
                continue
            self.connections += 1
            self._links.append(_Link(self, client, server))


class _Link:
    """One client's connection and ours to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.up, self.server_spoke = False, True  # the client speaks first
        self.waits_for_done = self.keeps_server = self.muted = False
        self.closed = threading.Event()
        self.header = b""  # what has come of the head of the client's next message
        self.body_bytes = 0  # what is still to come of its newest message
        self.asked = b""  # what the client has sent of a message that is not yet whole
        self.opening = b""  # what the server has said before its first ReadyForQuery
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _thread(lambda: self._pump(client, self._pipe_to(server), self._client_says))
        _thread(lambda: self._pump(server, self._pipe_to(client), self._server_says))

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):  # already closed by its peer
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.closed.set()

    def _keep_back(self, whole: bytes) -> None:
        """Cut the client's side alone, and keep the message for later."""

        def deliver() -> None:
            self.waits_for_done, self.opening = True, b""
            self.server.sendall(whole)
            self.closed.wait()

        self.keeps_server, self.proxy.late = True, deliver
        self.client.shutdown(socket.SHUT_RDWR)

    def _pump(
        self, source: socket.socket, send: Callable[[bytes], None], says: Callable[[bytes], bytes]
    ) -> None:
        with suppress(OSError):  # cut
            while chunk := source.recv(1 << 16):
                if not self.proxy.silent and (passed := says(chunk)):
                    send(passed)
        if not self.proxy.silent and not (self.keeps_server and source is self.client):
            send(b"")

    def _pipe_to(self, target: socket.socket) -> Callable[[bytes], None]:
        """A way to send to `target` after the delay; the empty chunk closes the link."""
        deliver = self._deliver(target)
        delay_seconds = self.proxy.delay_seconds
        if not delay_seconds:
            return deliver
        due: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def travel() -> None:
            while True:
                arrives, chunk = due.get()
                time.sleep(max(0.0, arrives - time.monotonic()))
                deliver(chunk)
                if not chunk:
                    return

        _thread(travel)
        return lambda chunk: due.put((time.monotonic() + delay_seconds, chunk))

    def _deliver(self, target: socket.socket) -> Callable[[bytes], None]:
        def deliver(chunk: bytes) -> None:
            try:
                if chunk:
                    target.sendall(chunk)
                else:
                    self.close()
            except OSError:
                self.close()

        return deliver

    def _client_says(self, chunk: bytes) -> bytes:
        """Count the chunk, and return what the server gets of it."""
        self.proxy.bytes_up += len(chunk)
        if self.up:
            self._measure(chunk)
        if self.server_spoke and chunk != TERMINATE:
            self.proxy.bursts += 1
            self.proxy.flights += self.up
        self.server_spoke = False
        if not self.proxy.looks or not self.up:
            chunk, self.asked = self.asked + chunk, b""
            return chunk
        whole, self.asked = _split(self.asked + chunk)
        self.proxy.held(whole)
        if self.proxy.needle is None:
            return whole
        needle, moment = self.proxy.needle
        if needle not in whole:
            return whole
        if moment is Cut.LATE and not self.proxy.late:
            self._keep_back(whole)
            return b""
        self.proxy.needle = None
        if self.proxy.late:
            self.proxy.late()
            return whole
        if moment is Cut.DONE:
            self.waits_for_done, self.opening = True, b""
            return whole
        if moment is Cut.SENT:
            self.muted = True  # first: the answer may be here before the cut
            self.server.sendall(whole)
        self.proxy.at_cut()
        self.close()
        return b""

    def _measure(self, chunk: bytes) -> None:
        """Note the size of each message that begins in this chunk."""
        at = 0
        while at < len(chunk):
            if self.body_bytes:
                passed = min(self.body_bytes, len(chunk) - at)
                self.body_bytes -= passed
                at += passed
                continue
            wanted = 5 - len(self.header)
            self.header += chunk[at : at + wanted]
            at += wanted
            if len(self.header) == 5:
                size = 1 + int.from_bytes(self.header[1:], "big")
                self.proxy.largest_up = max(self.proxy.largest_up, size)
                self.header, self.body_bytes = b"", size - 5

    def _server_says(self, chunk: bytes) -> bytes:
        """Count the chunk, and return what the client gets of it."""
        self.proxy.bytes_down += len(chunk)
        self.server_spoke = True
        if not self.up:
            self.opening += chunk
            # ReadyForQuery, idle: the only message that ends so while a connection is opened
            self.up = self.opening.endswith(b"Z\x00\x00\x00\x05I")
        if self.waits_for_done:
            self.opening = (self.opening + chunk)[-6:]
            if self.opening.startswith(b"Z\x00\x00\x00\x05"):
                self.proxy.at_cut()
                self.close()
            return b""
        return b"" if self.muted else chunk


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The whole messages at the beginning of a client's bytes, and the rest."""
    end = 0
    while len(data) - end >= 5:
        size = 1 + int.from_bytes(data[end + 1 : end + 5], "big")
        if len(data) - end < size:
            break
        end += size
    return data[:end], data[end:]


def _nothing() -> None:
    """Nobody wishes to do anything."""


def _thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
