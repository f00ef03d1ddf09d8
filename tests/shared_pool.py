"""A pooler that follows no setting: one connection, shared transaction by transaction.

PgBouncer follows client_encoding, standard_conforming_strings and a few more, and sets them anew
for each client; other poolers follow none.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import Any

from tests.pooler_stub import Forward, PoolerStub, message, receive

TERMINATE, QUERY, COPY_DONE, COPY_FAIL = b"X", b"Q", b"c", b"f"
READY, COPY_IN, STATUS, KEY = b"Z", b"G", b"S", b"K"
IDLE = b"I"
WELCOME = b"R\0\0\0\x08\0\0\0\0"  # AuthenticationOk
READY_AND_IDLE = b"Z\0\0\0\x05I"


class SharedPool(PoolerStub):
    """Clients of a server that asks for no password; simple queries and COPY only."""

    def __init__(self, database: Any) -> None:
        self._server = socket.create_connection((database.host, database.port))
        words = ("user", database.user, "database", database.dbname, "client_encoding", "UTF8")
        body = struct.pack("!I", 196608) + b"".join(f"{w}\0".encode() for w in words) + b"\0"
        self._server.sendall(struct.pack("!I", len(body) + 4) + body)
        self._greeting = b""  # what the server said of itself at first, and never again
        while (packet := read_packet(self._server))[:1] != READY:
            if packet[:1] in {STATUS, KEY}:
                self._greeting += packet
        self._free = threading.Lock()
        super().__init__(Forward.to(database))
        self._sockets.append(self._server)

    def _forward(self, client: socket.socket, _packet: bytes, _to: Forward) -> None:
        client.sendall(WELCOME + self._greeting + READY_AND_IDLE)
        ours = False
        try:
            while (asked := read_packet(client))[:1] != TERMINATE:
                ours = ours or self._free.acquire()
                self._server.sendall(asked)
                if asked[:1] in {QUERY, COPY_DONE, COPY_FAIL} and self._answered(client):
                    self._free.release()
                    ours = False
        finally:
            if ours:  # a client that is gone in mid-transaction
                self._server.sendall(message(QUERY, "ROLLBACK"))
                self._answered(None)
                self._free.release()

    def _answered(self, client: socket.socket | None) -> bool:
        """Hand on what the server answers; whether it is idle by then."""
        while True:
            packet = read_packet(self._server)
            if client is not None:
                with suppress(OSError):
                    client.sendall(packet)
            if packet[:1] == READY:
                return packet[-1:] == IDLE
            if packet[:1] == COPY_IN:
                return False


def read_packet(source: socket.socket) -> bytes:
    """One message of the protocol, whole."""
    head = receive(source, 5)
    return head + receive(source, struct.unpack("!I", head[1:])[0] - 4)
