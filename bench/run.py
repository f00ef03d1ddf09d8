"""`python -m bench.run [--instructions]`: what the job costs, as one Markdown report.

Everything is measured in this run, on a throw-away PostgreSQL that is not durable. Aims are
printed beside the figures and never enforced.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.distance import backfill, side_by_side
from bench.ground import Ground
from bench.measure import FailedError
from bench.parallel import builds
from bench.questions import bulk, growth, image, instructions, memory, no_op, scanner, tracking
from bench.report import title
from tests.postgres import NoServerError, Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="one question: side_by_side, backfill, …")
    parser.add_argument("--instructions", action="store_true", help="count them with valgrind too")
    options = parser.parse_args()
    questions = [
        side_by_side,
        backfill,
        builds,
        tracking,
        no_op,
        growth,
        memory,
        bulk,
        scanner,
        image,
    ]
    if options.instructions:
        questions.insert(4, instructions)
    if options.only:
        questions = [question for question in questions if question.__name__ == options.only]
    try:
        with tempfile.TemporaryDirectory() as place:
            _ask(questions, Path(place))
    except (FailedError, NoServerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _ask(questions: list[Callable[[Ground], str]], place: Path) -> None:
    started = time.monotonic()
    server = Server.create(place / "server", durable=False)
    server.start()
    try:
        print(title("Bench"), flush=True)
        ground = Ground(server, place)
        for question in questions:
            print(question(ground), flush=True)
    finally:
        server.remove()
    print(f"Measured in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    sys.exit(main())
