"""`python bench/launch.py PROGRAM WORD …`: run it, and print its wall seconds, CPU seconds, bytes.

A process of its own, because Linux counts the memory of whoever starts a program into that
program's peak: seen from the bench itself no peak would be lower than the bench's own.
"""

import os
import sys
import time

UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes

started = time.perf_counter()
child = os.posix_spawn(
    sys.argv[1],
    sys.argv[1:],
    os.environ,
    file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
)
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * UNIT)
sys.exit(os.waitstatus_to_exitcode(status))
