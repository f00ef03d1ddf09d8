"""What a CONTEXT of PostgreSQL's says, in whatever language: by names and numbers, not by words.

The forms are those of PostgreSQL 15's eleven catalogues [M]: `COPY t, line 2, column a: "x"`,
`COPY t, Zeile 2: »x«`, `tのCOPY、行 2、列 a: "x"`, `t 복사, 2번째 줄: "x"`;
`PL/pgSQL function inline_code_block line 3 at RAISE`, and in Chinese the number before the name.
"""

from __future__ import annotations

import re

#: What PL/pgSQL calls a DO block in every language.
BLOCK = "inline_code_block"
_NAME = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
_RELATION = re.compile(rf"COPY\s+(?:{_NAME}\s*\.\s*)*(?P<name>{_NAME})", re.IGNORECASE)
_OPENING = re.compile(r'\s?:?\s{0,3}["«»„“「]\s?|')


def copied_relation(statement: str) -> str | None:
    """The name by which the server speaks of what this COPY fills: no schema, no quotes."""
    found = _RELATION.match(statement)
    if found is None:
        return None
    name = found["name"]
    return name[1:-1].replace('""', '"') if name[0] == '"' else name.lower()


def copied_row(context: str, relation: str | None) -> int | None:
    """Which row of a COPY, from 1 on, a CONTEXT speaks of."""
    found = _row(context, relation)
    return int(found["row"]) if found else None


def block_line(context: str) -> int | None:
    """On which line of a DO block it failed; the first is that of its opening quote."""
    of_block = [line for line in context.splitlines() if BLOCK in line]
    found = re.findall(r"\d+", of_block[-1].replace(BLOCK, "")) if of_block else []
    return int(found[0]) if found else None


def copied_values(context: str, relation: str | None, *, whole_rows_only: bool) -> int | None:
    """Where the values of a COPY's row begin, behind the sign that opens them; None without any.

    They go on to the end of the context, as a row may hold line ends. With `whole_rows_only` the
    one value of a named column does not count.
    """
    found = _row(context, relation)
    if found is None or not found["next"]:
        return None
    start = found.start("next")
    if found["next"] in ",、":  # the name of a column comes first
        start = context.find(":", start)
        if whole_rows_only or start < 0:
            return None
    opening = _OPENING.match(context, start)
    return opening.end() if opening else start


def _row(context: str, relation: str | None) -> re.Match[str] | None:
    """What is said of a row: its number, and whether a column (, or 、) or a value (:) follows."""
    name = r'[^\n"«»„“「]{1,300}?' if relation is None else re.escape(relation)
    pattern = rf"^(?:COPY )?{name}[^\n\d]{{1,20}}?(?P<row>\d+)[^\n\d,、:]{{0,8}}?(?P<next>[,、:]|$)"
    return re.search(pattern, context, re.MULTILINE)
