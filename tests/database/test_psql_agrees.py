"""psql is the oracle: what it sends for a file, message by message, is what `scan` finds there.

psql's words are compared as they went over the wire, except for what psql does to a text by
itself: it drops a BOM, blank lines, and comments between statements (some of them, and which
depends on its version), and it keeps the semicolon and CR. Messages that the server found empty
are no statements.
"""

from __future__ import annotations

import random
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from migrator.sql.parts import TextReader, lay_out
from migrator.sql.scanner import scan
from migrator.sql.statements import Problem
from migrator.sql.text import Text, read_text
from tests.conftest import Database
from tests.postgres import binary

CORPUS = sorted((Path(__file__).parents[1] / "folders" / "psql_corpus").glob("*.sql"))
AROUND = r"(?:\s|--[^\n]*|/\*.*?\*/)*"  # may take too much: the number of statements is compared


class Recorder:
    """A proxy for one client that writes down its queries and the kinds of each one's answers."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.queries: list[str] = []
        self.answers: list[bytes] = []

    @contextmanager
    def __call__(self) -> Iterator[int]:
        """Its port, for one connection; at the end all of it has been recorded."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            worker = threading.Thread(target=self.serve, args=(listener,), daemon=True)
            worker.start()
            yield listener.getsockname()[1]
            worker.join()

    def serve(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        server = socket.create_connection((self.database.host, self.database.port))
        with client, server:
            back = threading.Thread(target=self.copy, args=(server, client, self.answered, 1))
            back.start()
            self.copy(client, server, self.asked, 0)
            back.join()

    def copy(
        self, source: socket.socket, target: socket.socket, note: Callable[[bytes], None], tag: int
    ) -> None:
        """Hand on whole messages; `tag` is 0 while they begin without a kind, as the first does."""
        held = b""
        while chunk := source.recv(1 << 16):
            held += chunk
            while len(held) >= tag + 4:
                size = tag + int.from_bytes(held[tag : tag + 4], "big")
                if len(held) < size:
                    break
                message, held = held[:size], held[size:]
                if tag:
                    note(message)
                tag = 1
                target.sendall(message)
        target.shutdown(socket.SHUT_WR)

    def asked(self, message: bytes) -> None:
        if message[:1] == b"Q":
            self.queries.append(message[5:-1].decode())
            self.answers.append(b"")

    def answered(self, message: bytes) -> None:
        if self.answers:
            self.answers[-1] += message[:1]


def sent_by_psql(database: Database, *words: str) -> list[str]:
    """What psql sends when it is called with `words`, without what the server found empty."""
    recorder = Recorder(database)
    with recorder() as port:
        url = f"postgresql://{database.user}@127.0.0.1:{port}/{database.dbname}?sslmode=disable"
        subprocess.run(
            [binary("psql"), "-X", "-q", "-d", url, *words],
            env={"PGPASSWORD": database.password or "", "PGCLIENTENCODING": "UTF8"},
            capture_output=True,
            check=False,
        )
    pairs = zip(recorder.queries, recorder.answers, strict=True)
    return [query for query, answer in pairs if answer != b"IZ"]


def found_by_us(data: bytes) -> list[str]:
    text = read_text(data, "x.sql")
    assert isinstance(text, Text)
    layout = lay_out(text.pieces, limit=0)
    reader = TextReader(text.pieces)
    return [
        b"".join(reader.encoded(part)).decode().rstrip("\n") for part in layout.parts
    ]  # an open quote has no end


def without_blank_lines(text: str) -> str:
    return re.sub(r"\n+", "\n", text.replace("\r", "\n"))


def assert_agree(ours: list[str], psql: list[str]) -> None:
    assert len(ours) == len(psql)
    for statement, message in zip(map(without_blank_lines, ours), psql, strict=True):
        message = without_blank_lines(message)
        before, found, after = message.partition(statement)
        assert found, (statement, message)
        assert re.fullmatch(AROUND, before, re.DOTALL), (statement, message)
        assert re.fullmatch(AROUND + ";?" + AROUND, after, re.DOTALL), (statement, message)


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_psql_sends_what_the_scanner_finds(file: Path, database: Database) -> None:
    assert_agree(found_by_us(file.read_bytes()), sent_by_psql(database, "-f", str(file)))


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_the_server_takes_what_the_scanner_finds_one_by_one(file: Path, database: Database) -> None:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        for statement in found_by_us(file.read_bytes()):
            if "COPY" not in statement:
                cursor.execute(statement)


BROKEN = {
    "a quote": "SELECT 1; SELECT 'x; SELECT 2;\n",
    "an E quote": "SELECT 1; SELECT E'x\\'; SELECT 2;\n",
    "an identifier": 'SELECT 1; SELECT "x; SELECT 2;\n',
    "a dollar quote": "SELECT 1; SELECT $a$ x; $$ $b$ SELECT 2;\n",
    "a parenthesis": "SELECT 1; SELECT (2; SELECT (3);\nSELECT 4;",
    "parentheses closed too often": "SELECT 1); SELECT ()); (SELECT 2;) SELECT 3; SELECT 4",
    "END without BEGIN": "CREATE FUNCTION f() END; END; SELECT 1; CASE END; SELECT 2;",
    "a function named begin": "CREATE FUNCTION begin() RETURNS int RETURN 1; SELECT 1; SELECT 2",
    "BEGIN before CREATE": "BEGIN CREATE FUNCTION f() BEGIN ATOMIC; SELECT 1; END; SELECT 2",
    "CREATE OR REPLACE what": "CREATE OR REPLACE VIEW f AS BEGIN; SELECT 1; END; SELECT 2",
    "a routine late in a statement": "CREATE x FUNCTION BEGIN; SELECT 1; END; SELECT 2",
    "BEGIN in parentheses": "CREATE FUNCTION f(BEGIN int) RETURNS int RETURN 1; SELECT 1",
    "a number before a quote": "SELECT 1E'a\\'; SELECT $1$$;$$, a$$;$$; SELECT 2",
    "dollars": "SELECT $; SELECT $a; SELECT $1a; SELECT a$1; SELECT $a-$; SELECT $ $;$ $",
    "control characters": "SELECT \x01; \x02; \x0b SELECT \x7f ; SELECT \xa0;\xa0;",
    "empty": " ;;-- ;\n/**/",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_psql_reads_what_is_broken_as_the_scanner_does(
    text: str, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "broken.sql"
    file.write_text(text)
    assert_agree(found_by_us(text.encode()), sent_by_psql(database, "-f", str(file)))


def test_psql_agrees_on_an_insert_of_5_mb(database: Database, tmp_path: Path) -> None:
    row = "(%d, 'a; name', 'it''s', E'x\\';', NULL, 3.14, (lower('(;')), '{\"a;\": 1}'),\n"
    rows = "".join(row % number for number in range(5_000_000 // len(row)))
    text = f"INSERT INTO t VALUES\n{rows}(0); SELECT 2; INSERT INTO t VALUES ({rows}0)"
    file = tmp_path / "large.sql"
    file.write_text(text)
    assert_agree(found_by_us(text.encode()), sent_by_psql(database, "-f", str(file)))


def test_psql_agrees_on_the_soup_of_all_tokens(database: Database, tmp_path: Path) -> None:
    cook = random.Random(7)  # noqa: S311 - the same soups in each run
    words = "CREATE FUNCTION PROCEDURE BEGIN ATOMIC CASE END or replace x é 1 SELECT ; ( ) [ ] , ."
    signs = "' '' \" \"\" E' U&' U&\" B' x' N' $$ $a$ $é$ $1 $ -- - / * /* */ :: ="
    tokens = [*words.split(), *signs.split(), "; ", ";\n", "\n", " ", " "]
    calls: list[str] = []
    ours: list[str] = []
    for number in range(200):
        soup = cook.choices(tokens, k=40)
        text = "CREATE " * (number % 2) + "".join(soup) if number % 3 else " ".join(soup)
        if not any(isinstance(found, Problem) for found in scan((text,))):
            file = tmp_path / f"{number}.sql"
            file.write_text(text)
            calls += ["-f", str(file), "-c", "SELECT 'next file'"]
            ours += [*found_by_us(text.encode()), "SELECT 'next file'"]
    assert ours.count("SELECT 'next file'") > 30
    assert_agree(ours, sent_by_psql(database, *calls))


def test_an_escape_string_that_goes_on_is_read_as_the_server_reads_it(database: Database) -> None:
    """psql, line by line, takes the second part for a plain string and splits within it."""
    text = "SELECT E'a'\n -- more\n 'b\\'; SELECT 1', 2;\nSELECT 3"
    ours = found_by_us(text.encode())
    assert [database.query(statement) for statement in ours] == [[("ab'; SELECT 1", 2)], [(3,)]]
