"""Statements that deal in secrets: which do, and what is hidden of them."""

from __future__ import annotations

from time import process_time

import pytest

from migrator.masking import Hider
from migrator.sql.sensitive import DEPTH, LITERALS, Secrets, literals, masked, mentions, secrets_of


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER ROLE app PASSWORD 'x'",
        "CREATE USER app IDENTIFIED BY 'x'",
        "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'x')",
        "ALTER  SERVER s OPTIONS (SET x 'y')",
        "CREATE USER\nMAPPING FOR u SERVER s OPTIONS (user 'x')",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p",
        "SELECT crypt('x', gen_salt('bf'))",
        "SELECT pgp_sym_encrypt('x', 'y')",
        "SELECT encode(digest ('x', 'sha256'), 'hex')",
        "SELECT vault.create_secret('x')",
        "SELECT dblink_connect('x')",
        "INSERT INTO users (name, password_hash) VALUES ('a', 'b')",
        """SELECT net.http_post('u', headers := '{"Authorization": "Bearer x"}')""",
        "ALTER DATABASE d SET \"app.jwt_secret\" = 'x'",
    ],
)
def test_these_deal_in_secrets(sql: str) -> None:
    assert mentions(sql)
    assert "'x'" not in masked(sql)


@pytest.mark.parametrize(
    "sql",
    [
        None,
        "",
        "INSERT INTO t VALUES ('x')",
        "ALTER TABLE servers ADD server_id int",
        "SELECT digest FROM mapping, subscription",
    ],
)
def test_these_do_not(sql: str | None) -> None:
    assert not mentions(sql)


@pytest.mark.parametrize(
    ("sql", "left"),
    [
        pytest.param("SELECT 'a'; SELECT crypt('b''c', 'd')", "SELECT 'a'; SELECT crypt(#, #)"),
        pytest.param("PASSWORD E'it\\'s' 'b'", "PASSWORD # #"),
        pytest.param("PASSWORD U&'x' b'1'", "PASSWORD U&# b#"),
        pytest.param("PASSWORD$$hunter2$$", "PASSWORD#"),
        pytest.param("""ALTER ROLE "it's" /* it's */ PASSWORD 'x' -- it's""", None),
        pytest.param(
            "DO $$ BEGIN EXECUTE format('PASSWORD %L', $q$it's$q$); END $$",
            "DO $$ BEGIN EXECUTE format(#, #); END $$",
        ),
        pytest.param(
            "CREATE OR REPLACE FUNCTION f() RETURNS text AS $_$ SELECT crypt('x', $1) $_$",
            "CREATE OR REPLACE FUNCTION f() RETURNS text AS $_$ SELECT crypt(#, $1) $_$",
        ),
        pytest.param("SELECT crypt($a$ 'x' $a$, 'y", "SELECT crypt(#, #"),
        pytest.param("SELECT crypt('x') /* a /* b */ 'y' */ + 'z'", None),
        pytest.param("SELECT crypt(/* 'y'", "SELECT crypt(/* 'y'"),
        pytest.param("SELECT crypt('a\\', $b$x", "SELECT crypt(#, #"),
    ],
)
def test_the_literals_of_such_a_statement_are_hidden(sql: str, left: str | None) -> None:
    if left is None:
        left = sql.replace("'x'", "#").replace("'z'", "#")
    assert masked(sql) == left.replace("#", "'***'")


def test_what_a_literal_says_is_known_in_all_its_forms() -> None:
    values = secrets_of([r"SELECT crypt('it''s', E'\x41\102\u0043\U00000044\n\'' , '+')"]).values
    assert {"it's", "it''s", "ABCD\n'"} <= set(values)
    assert "+" not in values
    nested = secrets_of(["DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''hunter2'''; END $$"]).values
    assert "hunter2" in nested
    assert [found.value for found in literals("SELECT ''")] == [""]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('role "hunter2-long" is not known', 'role "***" is not known'),
        ("it says hunter2-long here", "it says *** here"),
        ('missing "=" after "r2-lo"', 'missing "=" after "***"'),
        ("»hunter2« und „r2-long“", "»***« und „***“"),
        ("Key (a)=(ab) already exists", "Key (a)=(***) already exists"),
        ('line 3 of "abc", which is ab', 'line 3 of "abc", which is ab'),
    ],
)
def test_what_a_text_quotes_of_them_is_hidden(text: str, left: str) -> None:
    secrets = Secrets(("hunter2-long", "ab"))
    assert Hider().text(text, more=secrets.spans(text, len(text))) == left


def test_of_too_many_literals_whatever_is_quoted_is_hidden() -> None:
    many = ", ".join(f"crypt('secret-{n}')" for n in range(LITERALS + 1))
    long = f"crypt('{'x' * 200_000}')"
    for statement in (many, long):
        secrets = secrets_of([f"SELECT {statement}"])
        assert secrets == Secrets(too_many=True)
        text = 'near "anything" at "" and (this)'
        assert Hider().text(text, more=secrets.spans(text, 99)) == 'near "***" at "" and (***)'


@pytest.mark.parametrize("begins", ["SELECT password ", "DO $$ password "])
def test_the_search_takes_a_time_that_grows_with_the_length_alone(begins: str) -> None:
    """All kinds together take about 3 s of this process's own time; the square would be hours."""
    began = process_time()
    for piece in ("'", '"', "$", "$$", "$a$", "E'", "\\'", "/*", "--", "(", "x", "'x', ", "* "):
        sql = begins + piece * (200_000 // len(piece))
        masked(sql)
        secrets = secrets_of([sql])
        for _ in secrets.spans(sql, 2000):
            pass
    assert process_time() - began < 60


def test_strings_within_strings_are_read_to_a_depth() -> None:
    text = "SELECT $a$ x $b$ x $c$ x $d$ x $e$deepest$e$ $d$ $c$ $b$ $a$"
    values = secrets_of([text]).values
    assert len(values) == DEPTH + 1
    assert "deepest" not in values
