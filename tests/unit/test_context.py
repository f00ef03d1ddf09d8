"""What a CONTEXT says of rows and blocks, in the forms of all catalogues of PostgreSQL 15."""

from __future__ import annotations

import pytest

from migrator.refusals.context_rules import block_line, copied_relation, copied_row, copied_values

#: A whole row, and a value of one column, in each language; a name and a column end in digits.
ROWS = {
    "en": ('COPY t2, line 31: "$v"', 'COPY t2, line 31, column a4: "$v"'),
    "de": ("COPY t2, Zeile 31: »$v«", "COPY t2, Zeile 31, Spalte a4: »$v«"),
    "es": ("COPY t2, línea 31: «$v»", "COPY t2, línea 31, columna a4: «$v»"),
    "fr": ("COPY t2, ligne 31 : « $v »", "COPY t2, ligne 31, colonne a4 : « $v »"),
    "it": ('COPY t2, riga 31: "$v"', 'COPY t2, riga 31, colonna a4: "$v"'),
    "ja": ('t2のCOPY、行 31: "$v"', 't2のCOPY、行 31、列 a4: "$v"'),
    "ka": ('COPY t2, ხაზი 31: "$v"', 'COPY t2, ხაზი 31, სვეტი a4: "$v"'),
    "ko": ('t2 복사, 31번째 줄: "$v"', 't2 복사, 31번째 줄, a4 열: "$v"'),
    "ru": ('COPY t2, строка 31: "$v"', 'COPY t2, строка 31, столбец a4: "$v"'),
    "sv": ('COPY t2, rad 31: "$v"', 'COPY t2, rad 31, kolumn a4: "$v"'),
    "uk": ('COPY t2, рядок 31: "$v"', 'COPY t2, рядок 31, стовпець a4: "$v"'),
}
BLOCKS = {
    "en": "PL/pgSQL function inline_code_block line 7 at RAISE",
    "de": "PL/pgSQL-Funktion inline_code_block Zeile 7 bei RAISE",
    "fr": "fonction PL/pgSQL inline_code_block, ligne 7 à RAISE",
    "ja": "PL/pgSQL関数inline_code_blockの7行目 - RAISE",
    "ko": 'PL/pgSQL 함수 "inline_code_block" 의 7번째 RAISE',
    "ru": "функция PL/pgSQL inline_code_block, строка 7, оператор RAISE",
    "zh_CN": "在RAISE的第7行的PL/pgSQL函数inline_code_block",
}


@pytest.mark.parametrize("language", ROWS)
@pytest.mark.parametrize("relation", ["t2", None])
def test_a_row_is_hidden_and_one_value_shown(language: str, relation: str | None) -> None:
    row, value = ROWS[language]
    start = copied_values(row, relation, whole_rows_only=True)
    assert row[start:].startswith("$v")
    assert copied_values(value, relation, whole_rows_only=True) is None
    start = copied_values(value, relation, whole_rows_only=False)
    assert value[start:].startswith("$v")


@pytest.mark.parametrize("language", ROWS)
def test_the_number_of_a_row_is_found(language: str) -> None:
    trigger = "PL/pgSQL function f3() line 9 at IF\n"
    for context in ROWS[language]:
        assert copied_row(trigger + context, "t2") == 31
        assert copied_row(context.partition(":")[0].rstrip(), "t2") == 31


@pytest.mark.parametrize("language", BLOCKS)
def test_the_line_of_a_block_is_found(language: str) -> None:
    called = "PL/pgSQL function f3() line 9 at IF\n"
    assert block_line(called + BLOCKS[language]) == 7


def test_a_block_within_a_block_is_not_the_one_of_the_file() -> None:
    context = f"{BLOCKS['en'].replace('7', '2')}\n{BLOCKS['en']}"
    assert block_line(context) == 7
    assert block_line("SQL statement") is None


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("COPY t FROM stdin", "t"),
        ("copy Public . T2(a) from stdin", "t2"),
        ('COPY "a.b"."T ""2""" FROM stdin', 'T "2"'),
        ("COPY (SELECT 1) TO stdout", None),
    ],
)
def test_the_name_of_what_is_filled_is_read(statement: str, name: str | None) -> None:
    assert copied_relation(statement) == name
