"""What to do about a statement that PostgreSQL refused: one table, by SQLSTATE and situation.

No row hangs on the words of a message, which may be in any language. docs/troubleshooting.md shows
the table as it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from migrator.durations import format_duration
from migrator.history.flight import RECODED
from migrator.history.guard import ESCAPED
from migrator.history.proof import TAMPERED
from migrator.model import NATIVE, Placeholders
from migrator.postgres.refusal import NO_RIGHT, Refusal
from migrator.refusals.rights_rules import Lacking, Names, Space, Thing, lacking, named, verb
from migrator.sql.script import Script

CANCELLED = "57014"
#: What is to be made is there: an object, a table or index, a schema, a function, a column; or,
#: where it is a primary key, a definition that would be a second one.
SECOND_KEY = "42P16"
THERE = frozenset({"42710", "42P07", "42P06", "42723", "42701", SECOND_KEY})
IN_TRANSACTION, TERMINATION, UNKNOWN = "25001", "2D000", "42704"
#: What rows of the table ask of the statement's words.
WORDED = frozenset({IN_TRANSACTION, UNKNOWN, NO_RIGHT, *THERE})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a refusal beside its number; see `database.inquiry`."""

    words: Names = ()  #: of the statement, where a row of the table asks for them
    timed_out: bool = False  #: a timeout cancelled it, and no other session
    role_limit_ms: int = 0  #: the statement_timeout that RESET brings back
    pooled: bool = False  #: a pooler is between us and the server
    role: str = ""  #: the acting one, quoted where it must be; so are the other names
    database: str = ""
    things: tuple[Thing, ...] = ()  #: what the statement names and the database has
    spaces: tuple[Space, ...] = ()
    with_inherit: bool = False  #: GRANT takes WITH INHERIT, as from 16 on


UNASKED = Facts()


@dataclass(frozen=True, slots=True)
class Situation:
    """A refusal, and what else decides what to do about it."""

    refusal: Refusal
    script: Script
    facts: Facts = UNASKED
    first: bool = False  #: nothing is recorded yet
    general_timeout_ms: int = 0  #: STATEMENT_TIMEOUT
    ours: bool = False  #: a statement of ours was refused, not one of the file's
    unfilled: tuple[str, ...] = ()  #: placeholders of a statement that could not be read

    @property
    def words(self) -> Names:
        return self.facts.words

    @property
    def undo(self) -> bool:
        return self.script.migration.undoes

    @property
    def within(self) -> bool:
        """Inside a function or a DO block: a CONTEXT names that language in every language."""
        return "PL/pgSQL" in (self.refusal.context or "")

    @property
    def lacking(self) -> Lacking:
        facts = self.facts
        return lacking(self.words, facts.things, facts.spaces, facts.database) or Lacking()

    @property
    def owned(self) -> Thing | None:
        """What the statement may not do because it is another's."""
        return None if self.lacking.privilege else self.lacking.thing

    @property
    def there(self) -> bool:
        """What it is about was there before the file: what the file made is rolled back."""
        if self.refusal.sqlstate == SECOND_KEY and ("primary",) not in self.words:
            return False
        return named(self.words, self.facts.things) is not None

    @property
    def general_ms(self) -> int:
        """STATEMENT_TIMEOUT, where the file has no limit of its own."""
        return self.general_timeout_ms if self.script.statement_timeout_ms is None else 0

    def fill(self, text: str) -> str:
        """`text` with what it names in braces."""
        thing = self.lacking.thing
        limits = self.script.statement_timeout_ms, self.general_ms, self.facts.role_limit_ms
        return text.format(
            file=self.script.migration.file,
            version=self.script.migration.version,
            runner=self.facts.role,
            owner=thing.owner if thing else "",
            kind=thing.kind if thing else "",
            name=thing.name if thing else "",
            privilege=self.lacking.privilege,
            what=self.lacking.on,
            limit=format_duration(next(filter(None, limits), 0)),
            placeholders=_list(self.unfilled),
            written=_list(f"${{{name}}}" for name in map(_bare, self.unfilled)),
            variables=_list(f"PLACEHOLDER_{Placeholders.key(_bare(one))}" for one in self.unfilled),
        )


def _bare(placeholder: str) -> str:
    """The name alone: of :'name', ${name}, {{ name }}."""
    return placeholder.strip(":'\"?${} \t\n")


def _list(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


@dataclass(frozen=True, slots=True)
class Remedy:
    """One kind of refusal; of several rows that fit, the first one counts."""

    sqlstates: frozenset[str]  #: none: any
    when: str  #: in words, for the page
    fits: Callable[[Situation], bool]
    text: str  #: what to do; `Situation.fill` has the words in braces


def remedy_of(situation: Situation) -> str | None:
    """What to do; None where the file is to be fixed, and no more is known."""
    row = row_for(situation)
    return None if row is None else situation.fill(row.text)


def row_for(situation: Situation) -> Remedy | None:
    """The row of the table that fits."""
    sqlstate = situation.refusal.sqlstate
    return next(
        (
            row
            for row in REMEDIES
            if (not row.sqlstates or sqlstate in row.sqlstates) and row.fits(situation)
        ),
        None,
    )


def _on(*sqlstates: str) -> frozenset[str]:
    return frozenset(sqlstates)


ANY: Callable[[Situation], bool] = lambda _: True  # noqa: E731 - a table is read by its columns
ALONE = "begins with the line `-- migrator: no-transaction`"

REMEDIES = (
    Remedy(
        _on(TAMPERED),
        "the file changed migrator's own history",
        lambda s: s.ours,
        "Take that out of the file, or keep the history out of its reach, in a schema of its own: "
        "--migrations-schema NAME (MIGRATIONS_SCHEMA).",
    ),
    Remedy(
        _on(RECODED),
        "the file changed how its own text is read",
        lambda s: s.ours,
        "Take out of the file what changes client_encoding or standard_conforming_strings: the "
        "rest of the file would be read otherwise than it is meant.",
    ),
    Remedy(
        _on(ESCAPED),
        "the file ended its own transaction",
        lambda s: s.ours,
        "Take the statement that ends the transaction out of the file, see what it left behind, "
        "and run again.",
    ),
    Remedy(
        _on(),
        "a RAISE with a HINT, whatever its SQLSTATE",
        lambda s: s.refusal.raised and bool(s.refusal.hint),
        "Do what the hint says, then run again.",
    ),
    Remedy(
        _on(),
        "a RAISE without one",
        lambda s: s.refusal.raised,
        "A RAISE in the file, or in what it calls, says this: do what its message asks for, or "
        "change the file; then run again.",
    ),
    Remedy(
        _on(IN_TRANSACTION),
        "SET TRANSACTION",
        lambda s: verb(s.words) == "set",
        "Take it out: the file runs in a transaction of the job's, which starts before it.",
    ),
    Remedy(
        _on(IN_TRANSACTION),
        "in a function or a DO block",
        lambda s: s.within,
        "Take the statement out of the function or DO block, and put it into a file of its own "
        f"that {ALONE}.",
    ),
    Remedy(
        _on(IN_TRANSACTION, TERMINATION),
        "in an undo that shares its file with the way up: such a statement",
        lambda s: (
            s.script.transactional and s.undo and not s.script.migration.file.endswith("down.sql")
        ),
        "Take the undo in {file} out of the transaction as its tool does that: see the column "
        "*outside a transaction* of docs/formats.md. Then run `rollback --from-files`.",
    ),
    Remedy(
        _on(IN_TRANSACTION, TERMINATION),
        "in an undo: a statement that cannot run in a transaction, or CALL or DO that commits",
        lambda s: s.script.transactional and s.undo,
        "Let {file} begin with the line `-- migrator: no-transaction`, then run "
        "`rollback --from-files`.",
    ),
    Remedy(
        _on(IN_TRANSACTION, TERMINATION),
        "such a statement in a repeatable",
        lambda s: s.script.transactional and s.script.migration.repeatable,
        f"A repeatable runs in a transaction: move the statement to a versioned file that {ALONE}.",
    ),
    Remedy(
        _on(IN_TRANSACTION, TERMINATION),
        "such a statement in a migration, as REINDEX of a partitioned table",
        lambda s: s.script.transactional,
        f"Move the statement to a file of its own that {ALONE}.",
    ),
    Remedy(
        _on(TERMINATION),
        "COMMIT where it cannot be",
        ANY,
        "COMMIT and ROLLBACK work in a DO block, and in a procedure that the file itself calls, "
        "but in no function and in no block that has an EXCEPTION part: change that, then run "
        "again. Where that run asks what the statement has done: `repair --retry {version} "
        "--reason WHY` once nothing of it is left.",
    ),
    Remedy(
        _on("42601"),
        "a variable of psql, or a placeholder of a template, in a native folder",
        lambda s: bool(s.unfilled) and s.script.migration.format == NATIVE,
        "Let {file} begin with the line `-- migrator: placeholders`, write {written} and set "
        "{variables}; or write the values into the file. Nothing is put in the place of "
        "{placeholders} here, as psql or a template would.",
    ),
    Remedy(
        _on("42601"),
        "such a one in another tool's folder",
        lambda s: bool(s.unfilled),
        "Write the values into the file: nothing is put in the place of {placeholders} here, as "
        "psql or a template would.",
    ),
    Remedy(
        _on("55P04"),
        "a new value of an enum is used in the file that adds it",
        ANY,
        "Make two files: a value of an enum can be used once the file that adds it has committed. "
        "Move what uses it to the next one.",
    ),
    Remedy(
        _on(UNKNOWN),
        "SET of what this server does not know, such as transaction_timeout before 17",
        lambda s: verb(s.words) == "set",
        "Take the line out: this server has no such setting. A newer pg_dump writes it; dump with "
        "the one of the server's own version.",
    ),
    Remedy(
        _on("25P02"),
        "the transaction had failed before",
        ANY,
        "Look for the first error in the server's log: the session was in a failed transaction "
        "already. Where a pooler hands such sessions on, set DIRECT_URL to go around it.",
    ),
    Remedy(
        THERE - {SECOND_KEY},
        "a repeatable makes what is there",
        lambda s: s.script.migration.repeatable,
        "Write it so that it can run again: CREATE OR REPLACE, or DROP … IF EXISTS before it.",
    ),
    Remedy(
        _on("42710"),
        "a role, which the whole server has",
        lambda s: (
            s.words[1:2] in ([("role",)], [("user",)], [("group",)])
            and s.words[2:3] != [("mapping",)]
        ),
        "A role belongs to the whole server, and another database may have made it. Write `DO $$ "
        "BEGIN CREATE ROLE …; EXCEPTION WHEN duplicate_object THEN NULL; END $$`, then run again.",
    ),
    Remedy(
        THERE,
        "nothing is recorded, and it was there before",
        lambda s: s.first and s.there,
        "This database was made before migrator. Where it is what the files up to VERSION make: "
        "set SHADOW_DATABASE_URL to a server where its role may create databases, or to an empty "
        "database, and run `baseline --at VERSION --check`, which compares and records them "
        "without running them. Else write the files so that they leave what is there (IF NOT "
        "EXISTS). See docs/adopting.md, A database from before.",
    ),
    Remedy(
        THERE,
        "it was there before the file",
        lambda s: s.there and not s.undo,
        "See who made it. When all that the file makes is there: `repair --applied {version} "
        "--reason WHY`; else change the file so that it leaves what is there (IF NOT EXISTS), "
        "then run again.",
    ),
    Remedy(
        _on(NO_RIGHT),
        "it belongs to another role",
        lambda s: s.owned is not None and not (s.owned.superuser or s.owned.member),
        "{name} belongs to {owner}. Run `GRANT {owner} TO {runner}` as a superuser, or as a role "
        "that may grant that one; then run again.",
    ),
    Remedy(
        _on(NO_RIGHT),
        "it belongs to a superuser",
        lambda s: s.owned is not None and s.owned.superuser,
        "{name} belongs to {owner}, a superuser. Run `ALTER {kind} {name} OWNER TO {runner}` as "
        "that role, then run again.",
    ),
    Remedy(
        _on(NO_RIGHT),
        "it belongs to a role that was granted without its rights, from 16 on",
        lambda s: s.owned is not None and s.facts.with_inherit,
        "{runner} has {owner}, but not its rights. Run `GRANT {owner} TO {runner} WITH INHERIT "
        "TRUE` as a superuser, or as a role that may grant that one; then run again.",
    ),
    Remedy(
        _on(NO_RIGHT),
        "such a role before 16",
        lambda s: s.owned is not None,
        "{runner} has {owner}, but not its rights. Run `ALTER ROLE {runner} INHERIT` as a "
        "superuser, then run again.",
    ),
    Remedy(
        _on(NO_RIGHT),
        "a privilege is missing",
        lambda s: bool(s.lacking.privilege),
        "Run `GRANT {privilege} ON {what} TO {runner}` as its owner or as a superuser, then run "
        "again.",
    ),
    Remedy(
        _on(NO_RIGHT),
        "any other right",
        ANY,
        "Grant the role what the statement needs, or take the statement out.",
    ),
    Remedy(
        _on("53200"),
        "no memory is left",
        ANY,
        "The server has no more memory, or no more room for the locks of one transaction: put "
        "the file's statements into several files, or raise max_locks_per_transaction.",
    ),
    Remedy(
        _on("53100"),
        "no disk is left",
        ANY,
        "The server's disk is full: give it room, then run again.",
    ),
    Remedy(
        _on(CANCELLED),
        "by the file's own limit",
        lambda s: s.facts.timed_out and bool(s.script.statement_timeout_ms),
        "Its own line `-- migrator: statement-timeout {limit}` cut it: raise the limit there.",
    ),
    Remedy(
        _on(CANCELLED),
        "by STATEMENT_TIMEOUT",
        lambda s: s.facts.timed_out and bool(s.general_ms),
        "STATEMENT_TIMEOUT={limit} cut it: raise that, --statement-timeout, or give this file a "
        "line `-- migrator: statement-timeout 30min`.",
    ),
    Remedy(
        _on(CANCELLED),
        "by a SET or RESET of the file's, where the role has a limit",
        lambda s: s.facts.timed_out and bool(s.facts.role_limit_ms),
        "The file sets statement_timeout itself, or lets the role's own ({limit}) act by RESET: "
        "raise it in the file; no limit of the job's was set.",
    ),
    Remedy(
        _on(CANCELLED),
        "by a SET of the file's",
        lambda s: s.facts.timed_out,
        "The file sets statement_timeout itself: raise it there; no limit of the job's was set.",
    ),
    Remedy(
        _on(CANCELLED),
        "by another session, behind a pooler",
        lambda s: s.facts.pooled,
        "Another session cancelled the statement (pg_cancel_backend), or the pooler did by a limit "
        "of its own: find out which, then run again.",
    ),
    Remedy(
        _on(CANCELLED),
        "by another session",
        ANY,
        "Another session cancelled the statement (pg_cancel_backend): find out who did and why, "
        "then run again.",
    ),
)
