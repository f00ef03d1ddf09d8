"""A TCP server that answers a connection's startup as a pooler does: mostly with a refusal."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102


@dataclass(frozen=True)
class Refuse:
    """Answer the startup packet with an ErrorResponse, and close."""

    message: str
    sqlstate: str = "XX000"  # what Supavisor sends, whatever the reason
    severity: str = "FATAL"
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Forward:
    """Hand the connection to a server that takes it in the clear."""

    host: str
    port: int

    @classmethod
    def to(cls, place: Any) -> Forward:
        """To whatever has a host and a port: a database, an address."""
        return cls(place.host, place.port)


@dataclass(frozen=True)
class Welcome:
    """Let the client in without a word about a password, and say these parameters.

    Each query gets the next of `answers`, and the last one again; without any there is silence.
    """

    parameters: Mapping[str, str]
    answers: Sequence[bytes] = ()


class Do(Enum):
    """What else a broken pooler may do."""

    CLOSE = "close the connection at once, before a word"
    KEEP_SILENT = "read, and never answer"


Answer = Refuse | Forward | Welcome | Do


class PoolerStub:
    """Gives each connection the next of `answers`; the last one is for all that follow.

    `startups` are the parameters that each of them sent; TLS is declined.
    """

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        self.answers: Sequence[Answer] = answers
        self.connections = 0
        self.startups: list[dict[str, str]] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.host, self.port = "127.0.0.1", int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, login: str = "postgres.ref:s3cret", query: str = "") -> str:
        return f"postgresql://{login}@127.0.0.1:{self.port}/postgres{query}"

    def stop(self) -> None:
        """Close everything and listen no more."""
        for end in (self._listener, *self._sockets):
            with suppress(OSError):  # wakes a thread that waits in accept or recv
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # stopped
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                answer = self.answers[min(self.connections, len(self.answers) - 1)]
                self.connections += 1
                threading.Thread(target=self._serve, args=(client, answer), daemon=True).start()

    def _serve(self, client: socket.socket, answer: Answer) -> None:
        with suppress(OSError):  # stopped, or the client has gone
            packet = b"" if answer is Do.CLOSE else self._startup(client)
            match answer:
                case Forward() if packet:
                    self._forward(client, packet, answer)
                case Refuse():
                    client.sendall(_error_response(answer))
                case Welcome():
                    client.sendall(_greeting(answer))
                    self._answer(client, answer.answers)
                case Do.KEEP_SILENT:
                    client.recv(1)
        client.close()

    def _answer(self, client: socket.socket, answers: Sequence[bytes]) -> None:
        asked = 0
        with suppress(ConnectionError):  # the client has gone
            while True:
                kind, size = struct.unpack("!cI", receive(client, 5))
                receive(client, size - 4)
                if kind == b"Q" and answers:
                    client.sendall(answers[min(asked, len(answers) - 1)])
                    asked += 1

    def _startup(self, client: socket.socket) -> bytes:
        """The client's startup packet, once it has made do without TLS; b"" for a cancel."""
        while True:
            head = receive(client, 8)
            size, code = struct.unpack("!II", head)
            if code in {SSL_REQUEST, GSS_REQUEST}:
                client.sendall(b"N")
                continue
            body = receive(client, size - 8)
            if code == CANCEL_REQUEST:
                return b""
            words = body.decode().split("\0")[:-2]
            self.startups.append(dict(zip(words[::2], words[1::2], strict=True)))
            return head + body

    def _forward(self, client: socket.socket, packet: bytes, to: Forward) -> None:
        server = socket.create_connection((to.host, to.port))
        self._sockets.append(server)
        server.sendall(packet)
        threading.Thread(target=_pump, args=(server, client), daemon=True).start()
        _pump(client, server)


def _error_response(refusal: Refuse) -> bytes:
    fields = {"S": refusal.severity, "V": "FATAL", "C": refusal.sqlstate, "M": refusal.message}
    words = (f"{name}{value}" for name, value in fields.items())
    return message(b"E", *words, "", encoding=refusal.encoding)


def _greeting(welcome: Welcome) -> bytes:
    """AuthenticationOk, the parameters, BackendKeyData, ReadyForQuery."""
    status = [message(b"S", name, value) for name, value in welcome.parameters.items()]
    key = b"K" + struct.pack("!III", 12, 4711, 1)
    return b"R\0\0\0\x08\0\0\0\0" + b"".join(status) + key + b"Z\0\0\0\x05I"


def answer(*rows: Sequence[bytes | None], columns: int = 1, kind: int = 25) -> bytes:
    """What a server answers a query with: rows of this many columns, of a type's oid (text)."""
    described = struct.pack("!IhIhih", 0, 0, kind, -1, -1, 0)
    columns_said = b"".join(b"c\0" + described for _ in range(columns))
    said = _packed(b"T", struct.pack("!h", columns) + columns_said)
    for row in rows:
        fields = (
            struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
            for value in row
        )
        said += _packed(b"D", struct.pack("!h", len(row)) + b"".join(fields))
    return said + DONE


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def message(kind: bytes, *strings: str, encoding: str = "utf-8") -> bytes:
    """A message of NUL-ended strings (protocol manual, "Message Formats")."""
    return _packed(kind, b"".join(text.encode(encoding) + b"\0" for text in strings))


#: CommandComplete and ReadyForQuery; and the latter alone.
DONE = message(b"C", "SELECT 1") + _packed(b"Z", b"I")
READY = _packed(b"Z", b"I")


def receive(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = source.recv(size - len(data))
        if not chunk:
            raise ConnectionError
        data += chunk
    return data


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    for end in (source, target):
        with suppress(OSError):  # already closed by its peer
            end.shutdown(socket.SHUT_RDWR)
        end.close()
