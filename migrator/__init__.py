"""Applies a folder of SQL to PostgreSQL, once and in order.

The rooms, in the order of a run. A file uses its own room and those below it.

__main__        `migrator` and `python -m migrator`
cli             words -> command; terminal, JSON lines, exit code
commands        one function for each command, and the rules beside it
adopt           the histories of other tools, and taking one over
scratch         scratch databases, and snapshots of what a database holds
no_transaction  files whose statements cannot share a transaction
apply           one migration as one guarded message; the loop over pending ones
history         our two tables: guard, rows, log
plan            folder beside history -> what is to be done (pure)
folder          files on disk -> migrations
sql             text -> statements -> script (pure)
config          the settings
postgres        the driver's room: connect, session, retry, stop, blockers
model, errors, durations, report, display, masking: the hall, which every room uses
"""

__version__ = "0.1.0"
