"""A proxy that writes down each query as it goes over the wire, and what it was sent into."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.postgres import Address


@dataclass
class Query:
    """One message of the simple protocol."""

    connection: int  #: which connection of the wire it came over
    state: str  #: of the session when it came: I idle, T in a transaction, E in a failed one
    text: str


@dataclass
class Wire:
    """Stands between clients and a server, in the clear."""

    server: Address
    rewrite: Callable[[str], str] = str  #: what the server gets instead of a query
    queries: list[Query] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._count = 0
        self._ends: list[socket.socket] = []
        _thread(self._accept)

    def through(self, url: str) -> str:
        """The same URL by way of the wire, and without TLS, which it cannot read."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        query = "&".join(filter(None, (parts.query, "sslmode=disable")))
        return parts._replace(netloc=f"{login}{at}127.0.0.1:{port}", query=query).geturl()

    def stop(self) -> None:
        """Take no more connections; those that there are end with their clients."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self.server.host, self.server.port))
            self._count += 1
            self._ends += [client, server]
            _Link(self, self._count, client, server)


class _Link:
    def __init__(
        self, wire: Wire, number: int, client: socket.socket, server: socket.socket
    ) -> None:
        self.wire, self.number, self.state = wire, number, "I"
        _thread(lambda: _copy(client, server, self.asked, 0))
        _thread(lambda: _copy(server, client, self.answered, 1))

    def asked(self, message: bytes) -> bytes:
        if message[:1] != b"Q":
            return message
        text = message[5:-1].decode()
        self.wire.queries.append(Query(self.number, self.state, text))
        body = self.wire.rewrite(text).encode() + b"\0"
        return b"Q" + (len(body) + 4).to_bytes(4, "big") + body

    def answered(self, message: bytes) -> bytes:
        if message[:1] == b"Z":
            self.state = message[5:6].decode()
        return message


def _copy(
    source: socket.socket, target: socket.socket, note: Callable[[bytes], bytes], tag: int
) -> None:
    """Hand on whole messages, as `note` returns them.

    `tag` is 0 while they begin without a kind, as the first does.
    """
    held = b""
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            held += chunk
            while len(held) >= tag + 4:
                size = tag + int.from_bytes(held[tag : tag + 4], "big")
                if len(held) < size:
                    break
                message, held = held[:size], held[size:]
                target.sendall(note(message) if tag else message)
                tag = 1
        target.shutdown(socket.SHUT_WR)


def _thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
