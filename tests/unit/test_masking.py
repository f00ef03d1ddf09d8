"""What is taken out of a text before it is shown or stored, and how it is cut."""

from __future__ import annotations

from time import process_time

import pytest

from migrator.display import SECRET_CHARS, TEXT_CHARS
from migrator.masking import FINDINGS, Hider, Span, replaced


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("it is s3cret, s3cret", "it is ***, ***", id="a secret, wherever it stands"),
        pytest.param("s3cret-long", "***", id="the longer one first"),
        pytest.param("nothing here", "nothing here", id="nothing"),
        pytest.param("a postgresql://u:pw@h/d b", "a postgresql://u:***@h/d b", id="a URL"),
        pytest.param("postgresql://u:p w@x@h", "postgresql://u:***@h", id="a pasted URL"),
        pytest.param("amqp://u:p/w@h, a@b", "amqp://u:***@h, a@b", id="another URL"),
        pytest.param("postgresql+psycopg2://u:p w@h", "postgresql+psycopg2://u:***@h", id="suffix"),
        pytest.param("https://x.y/a?b=c", "https://x.y/a?b=c", id="no password in it"),
        pytest.param("host=h password=pw user=u", "host=h password=*** user=u", id="a dsn"),
        pytest.param("?sslpassword=pw&a=b", "?sslpassword=***&a=b", id="a parameter"),
        pytest.param("ROLE r PASSWORD 'pw' LOGIN", "ROLE r PASSWORD '***' LOGIN", id="PASSWORD"),
        pytest.param("password = 'pw'", "password = '***'", id="an assignment"),
        pytest.param("PASSWORD 'it''s' X", "PASSWORD '***' X", id="a doubled quote"),
        pytest.param("PASSWORD E'it\\'s' X", "PASSWORD '***' X", id="an escaped quote"),
        pytest.param("PASSWORD U&'pw' X", "PASSWORD '***' X", id="a unicode string"),
        pytest.param("PASSWORD $$it's$$ X", "PASSWORD '***' X", id="dollars"),
        pytest.param("PASSWORD $a$it's$$no$a$ X", "PASSWORD '***' X", id="dollars with a tag"),
        pytest.param("PASSWORD 'cut off", "PASSWORD '***'", id="no end"),
        pytest.param("PASSWORD $$cut off", "PASSWORD '***'", id="no end of dollars"),
        pytest.param("EXECUTE 'PASSWORD ''p''''w'''", "EXECUTE 'PASSWORD '***'", id="in a string"),
        pytest.param("PASSWORD\n  'pw'", "PASSWORD\n  '***'", id="on the next line"),
        pytest.param(
            'password failed for user "u"', 'password failed for user "u"', id="a message"
        ),
        pytest.param("PASSWORD NULL", "PASSWORD NULL", id="no password"),
    ],
)
def test_passwords_are_taken_out_of_a_text(text: str, left: str) -> None:
    assert Hider(["s3cret", "s3cret-long"])(text) == left


def test_passwords_are_taken_out_of_whatever_holds_them() -> None:
    hide = Hider()
    hide.secrets += ("s3cret", "s3cret-long")
    assert hide({"a": ["s3cret"], "b": ("s3cret-long", 5), "c": {"d": "s3cret"}, "e": None}) == {
        "a": ["***"],
        "b": ["***", 5],
        "c": {"d": "***"},
        "e": None,
    }


def test_a_short_password_is_hidden_by_its_place_alone() -> None:
    """It is part of too many words, which would be garbled, and which it is guessed from."""
    hide = Hider(["a", "p@w"])
    assert hide("nothing was changed") == "nothing was changed"
    said = hide("password=a PASSWORD 'p@w' u:p@w@h postgresql://u:a@h")
    assert said == "password=*** PASSWORD '***' u:***@h postgresql://u:***@h"


def test_a_long_password_does_not_garble_our_own_words() -> None:
    """Nor is it to be guessed from what is left of them."""
    fields = {"command": "rollback", "current": "001_rollback", "error": "login as rollback"}
    assert Hider(["rollback"])(fields) == {**fields, "error": "login as ***"}


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        pytest.param("it's-long", "it''s-long", id="doubled, as SQL has it"),
        pytest.param("it's-long", "it\\'s-long", id="escaped, as libpq has it"),
        pytest.param("back\\slash", "back\\\\slash", id="a backslash"),
    ],
)
def test_a_password_is_known_in_quotes_too(secret: str, written: str) -> None:
    assert Hider([secret])(f"near {written} and {secret}") == "near *** and ***"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("PASSWORD$$pw$$;", "PASSWORD'***';", id="dollars behind the word"),
        pytest.param("PASSWORD/* the */'pw' X", "PASSWORD/* the */'***' X", id="a comment"),
        pytest.param('{"password": "p\\"w"}', '{"password": "***"}', id="JSON"),
        pytest.param("password := 'pw';", "password := '***';", id="PL/pgSQL"),
        pytest.param("password => 'pw')", "password => '***')", id="an argument"),
        pytest.param("f('password', 'pw')", "f('password'***')", id="a pair"),
        pytest.param("PASSWORD = pw X", "PASSWORD = *** X", id="without quotes"),
        pytest.param('"password" of "users"', '"password" of "users"', id="a name"),
        pytest.param(
            "Failing row contains (1, p(w)\n, x).", "Failing row contains (***).", id="a row"
        ),
        pytest.param(
            "postgresql://u:p\nw@h and postgresql://u:p\nw@h",
            "postgresql://u:***@h and postgresql://u:***@h",
            id="a line end in a URL, twice",
        ),
        pytest.param("İ password='pw'", "İ password='***'", id="a letter that grows"),
        pytest.param(
            "https://h:8080/ and amqp://u:pw@h", "https://h:8080/ and amqp://u:***@h", id="a port"
        ),
    ],
)
def test_passwords_are_found_by_their_places(text: str, left: str) -> None:
    assert Hider()(text) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("USER u IDENTIFIED BY 'pw' X", "USER u IDENTIFIED BY '***' X", id="quoted"),
        pytest.param("identified  by pw X", "identified  by '***' X", id="without quotes"),
        pytest.param("IDENTIFIED BY 'pw', v IDENTIFIED BY 'qw'",
                     "IDENTIFIED BY '***', v IDENTIFIED BY '***'", id="twice"),
        pytest.param("identified 'by pw'", "identified 'by pw'", id="another word"),
        pytest.param("a BY 'pw'", "a BY 'pw'", id="not that word"),
        pytest.param("failing row contains 7", "failing row contains 7", id="no row"),
    ],
)  # fmt: skip
def test_a_password_of_mysql_is_hidden(text: str, left: str) -> None:
    assert Hider()(text) == left


def test_of_spans_that_overlap_all_is_hidden_and_the_longest_says_how() -> None:
    text = "ab SECRET-LONG cd"
    short, long = Span(3, 9, "[short]"), Span(5, 14, "[long]")
    assert replaced(text, [short, long], len(text)) == ("ab [long] cd", len(text))
    assert replaced(text, [Span(3, 12, "[first]"), Span(10, 14, "[x]")], 17)[0] == "ab [first] cd"
    assert replaced(text, [Span(3, 14, "[all]"), Span(5, 7)], 17)[0] == "ab [all] cd"
    assert replaced(text, [Span(3, 9), Span(9, 14)], 17)[0] == "ab ****** cd"


@pytest.mark.parametrize("length", [None, 4, 9])
def test_a_text_within_its_length_is_shown_whole(length: int | None) -> None:
    assert Hider().text("abcd", length=length) == "abcd"


def test_a_row_that_was_cut_is_hidden_to_the_end() -> None:
    said = "Failing row contains (1, " + "s3 (x) " * TEXT_CHARS
    shown = Hider()(said)
    assert "s3" not in shown
    assert shown.startswith("Failing row contains (***")


def test_a_text_is_cut_after_its_secrets_were_hidden() -> None:
    hide = Hider(["s3cret-word"])
    before = "x" * (TEXT_CHARS - 4)
    assert hide(f"{before}s3cret-word!!") == f"{before}***… 2 more"
    assert hide(before + "yyyyzz") == f"{before}yyyy… 2 more"
    assert hide(hide(before + "yyyyzz")) == f"{before}yyyy… 2 more"
    assert hide(f"{before}yyyyzz… 40 more") == f"{before}yyyy… 42 more"
    assert hide("s3cret-word" * TEXT_CHARS).startswith("***" * 182 + "… ")


@pytest.mark.parametrize("begins", ["postgresql://u:", "PASSWORD '", "password=", "amqp://u:"])
def test_half_a_password_is_none_the_less_one(begins: str) -> None:
    """Its end is beyond all that is looked at of a text that is cut."""
    text = begins + "s3" * (TEXT_CHARS + SECRET_CHARS) + "@h'"
    assert "s3" not in Hider()(text)


def test_some_texts_are_longer_and_some_are_whole() -> None:
    shown = Hider()({"markdown": "x" * 99_999, "traceback": "x" * 99_999, "message": "x" * 99_999})
    assert {key: len(value) for key, value in shown.items()} == {
        "markdown": 99_999,
        "traceback": 16_000 + len("… 83999 more"),
        "message": 2_000 + len("… 97999 more"),
    }


def test_of_many_findings_the_first_are_listed_and_all_are_counted() -> None:
    found = Hider()({"findings": [{"file": f"{n}"} for n in range(FINDINGS + 5)]})
    assert (len(found["findings"]), found["findings_count"]) == (FINDINGS, FINDINGS + 5)
    assert Hider()(found) == found
    assert Hider()({"findings": [{"file": "1"}]}) == {"findings": [{"file": "1"}]}


HOSTILE = (
    *(
        "x",
        "://",
        "https://",
        "https://a",
        "a://b:",
        "postgres://u:",
        "postgres://u:\n",
        "https://u:p@x ",
        ":",
        "@",
    ),
    *("password", "password ", "password=", "password'", "password$$", "password$a", 'password: "'),
    *("password/*", "password--", "password/* */", "'password', '", "PASSWORD 'x' ", "identified "),
    *("identified by ", "failing row contains (", "'", "$", "\\'", "s3cre", "s3cret"),
)


@pytest.mark.parametrize("begins", ["", "postgres://u:"])
def test_hiding_takes_a_time_that_grows_with_the_length_alone(begins: str) -> None:
    """The square of it was 24 s for 80,000 characters, so over two minutes for these 200,000.

    All kinds together take about 2 s of this process's own time.
    """
    hide = Hider(["s3cret", "s3cret-password", "a"])
    began = process_time()
    for piece in HOSTILE:
        hide.text(begins + piece * (200_000 // len(piece)), length=None)
    assert process_time() - began < 60


def test_our_own_advice_is_not_taken_for_a_url_with_a_password() -> None:
    from migrator.postgres.url import ENCODE, FORM

    assert Hider()(f"{FORM} {ENCODE}") == f"{FORM} {ENCODE}"
