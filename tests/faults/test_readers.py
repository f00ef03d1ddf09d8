"""What the readers of a table feel of a migration that waits for it, in counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import psycopg2

from tests.builders import write_folder
from tests.conftest import Database
from tests.job import Job, until

BODY = {"001_a.sql": "ALTER TABLE hot ADD COLUMN x int;"}
WAITING = "SELECT 1 FROM pg_locks WHERE relation = 'hot'::regclass AND mode = %s AND NOT granted"


class Readers:
    """Somebody who reads the table again and again, and counts how often that came to an end."""

    def __init__(self, database: Database) -> None:
        self.finished = 0
        self._connection = database.connect()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        cursor = self._connection.cursor()
        while not self._stopped.is_set():
            try:
                cursor.execute("SELECT count(*) FROM hot")
            except psycopg2.Error:
                return  # its connection was ended
            self.finished += 1

    def have_finished(self, count: int) -> bool:
        return self.finished >= count

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._connection.close()


@contextmanager
def live(database: Database) -> Iterator[Readers]:
    """A table that somebody reads at length in an open transaction, and others for a moment."""
    database.query("CREATE TABLE hot (id int)")
    with closing(database.connect()) as long_one:
        long_one.autocommit = False
        long_one.cursor().execute("SELECT count(*) FROM hot")
        readers = Readers(database)
        try:
            until(lambda: readers.finished > 10)
            yield readers
        finally:
            long_one.close()  # nobody waits any more
            readers.stop()


def test_readers_go_on_while_a_migration_waits_for_their_table(
    database: Database, tmp_path: Path
) -> None:
    """Between two refusals, and between any two of ten, the readers come to their end."""
    with live(database) as readers:
        job = Job(database.url, write_folder(tmp_path, BODY), LOCK_TIMEOUT="200ms")
        for attempt in range(1, 5):
            goal = readers.finished + 10
            job.hear("migration.retry", attempt=attempt)
            until(partial(readers.have_finished, goal))
        job.process.terminate()
        assert job.result().code == 23


def test_without_a_limit_they_stall_behind_it(database: Database, tmp_path: Path) -> None:
    with live(database) as readers:
        job = Job(database.url, write_folder(tmp_path, BODY), LOCK_TIMEOUT="0")
        until(lambda: database.query(WAITING, "AccessExclusiveLock"))
        until(lambda: database.query(WAITING, "AccessShareLock"))  # they queue behind the migration
        stalled_at = readers.finished
        with closing(database.connect()) as observer, observer.cursor() as cursor:
            for _ in range(1000):  # time enough for as many reads
                cursor.execute(WAITING, ("AccessShareLock",))
                assert cursor.fetchall()
        assert readers.finished == stalled_at
        job.process.terminate()
        assert job.result().code == 23
        until(lambda: readers.finished > stalled_at + 10)


def test_the_migration_gets_its_turn_when_the_long_reader_is_gone(
    database: Database, tmp_path: Path
) -> None:
    with live(database):
        job = Job(database.url, write_folder(tmp_path, BODY), LOCK_TIMEOUT="200ms")
        job.hear("migration.retry")
    assert job.result().code == 0
