"""Lines of a .env file, and what each makes of A, B and C by the rules of Docker Compose.

`tests/unit/test_env_file.py` holds our reader to it, `tests/image/test_env_file.py` Compose's own.
"""

from __future__ import annotations

#: A text, and the variables that it sets.
READ: dict[str, dict[str, str]] = {
    # blanks, comments, forms of an assignment
    "A=x": {"A": "x"},
    "A = x": {"A": "x"},
    "A\t=\tx y ": {"A": "x y"},
    "A: x:y": {"A": "x:y"},
    "export A=x": {"A": "x"},
    "export\tA=x": {"A": "x"},
    "# c\n\n  A=1\n   # d\nB=2": {"A": "1", "B": "2"},
    "A=1\r\nB='2'\r\n": {"A": "1", "B": "2"},
    "\ufeffA=1": {"A": "1"},
    "A=1\nA=2": {"A": "2"},
    "A=": {"A": ""},
    "A=\nB=2": {"A": "", "B": "2"},
    "A\nB=1": {"B": "1"},
    "export A\nB=1": {"B": "1"},
    "1A=1": {},
    "A-B=1\nA=2": {"A": "2"},
    "A[0]=1\nA=2": {"A": "2"},
    "A=x;B=y": {"A": "x;B=y"},
    "A=é": {"A": "é"},
    # comments behind a value
    "A=x#y": {"A": "x#y"},
    "A=x #y": {"A": "x"},
    "A=x\t#y": {"A": "x\t#y"},
    "A=#y": {"A": "#y"},
    "A= #y": {"A": "#y"},
    "A=''# c": {"A": ""},
    "A='x # y' # c": {"A": "x # y"},
    'A="x # y"#c': {"A": "x # y"},
    "A=postgresql://u:p#w@h/d": {"A": "postgresql://u:p#w@h/d"},
    "A=postgresql://u:p%23@h/d?x=1&y=2 #c": {"A": "postgresql://u:p%23@h/d?x=1&y=2"},
    # quotes
    "A=a'b": {"A": "a'b"},
    'A=a"b"': {"A": 'a"b"'},
    "A='a\nb'\nB=2": {"A": "a\nb", "B": "2"},
    'A="a\nb"\nB=2': {"A": "a\nb", "B": "2"},
    r"A='a\nb'": {"A": r"a\nb"},
    r"A='a\'b'": {"A": "a'b"},
    r"A='x\\'": {"A": r"x\\"},
    r'A="a\"b"': {"A": 'a"b'},
    r'A="a\\b"': {"A": r"a\b"},
    r'A="a\tb\nc\rd"': {"A": "a\tb\nc\rd"},
    r'A="\a\b\f\v\x41\c"': {"A": "\a\b\f\v\\x41\\c"},
    r'A="\0123\012\0"': {"A": "S\\12\\"},
    r"""A="\'" """: {"A": r"\'"},
    r"A=a\nb": {"A": r"a\nb"},
    "A=x\\": {"A": "x\\"},
    # variables
    "B=1\nA=$B": {"A": "1", "B": "1"},
    "B=1\nA=${B}c$B": {"A": "1c1", "B": "1"},
    'B=1\nA="p${B}"': {"A": "p1", "B": "1"},
    "B=1\nA='p$B'": {"A": "p$B", "B": "1"},
    'B=1\nA="\\$B\\\\$B"': {"A": r"$B\1", "B": "1"},
    "B=1\nA=\\$B": {"A": r"\1", "B": "1"},
    "B=1\nA=$$B$$$B": {"A": "$B$1", "B": "1"},
    "A=p$1w$ $": {"A": "p$1w$ $"},
    "A=$(x)`y`": {"A": "$(x)`y`"},
    "A=$B\nB=1": {"A": "", "B": "1"},
    "A=${B:-d}${B-e}": {"A": "de"},
    "B=\nA=${B:-d}|${B-e}": {"A": "d|", "B": ""},
    "A=${B:+d}${B+e}|": {"A": "|"},
    "B=\nA=${B:+d}|${B+e}": {"A": "|e", "B": ""},
    "B=1\nA=${B:+d}${B:?e}": {"A": "d1", "B": "1"},
    "A=${B:-${C:-d}}": {"A": "d"},
    "C=7\nA=${B:-$C}": {"A": "7", "C": "7"},
    "A=${B:-{x}}": {"A": "{x}"},
    "A=${B:-x#y}": {"A": "x#y"},
    'A="${B:-x y}"': {"A": "x y"},
    "A=${B-a:?b}": {"A": "a:?b"},
}
#: What cannot be read, and the line that an error names.
REFUSED: dict[str, int] = {
    'B=1\nA="a': 2,
    "B=1\nA='a": 2,
    'A="x\\': 1,
    'A="a""b"': 1,
    "A='''x'''": 1,
    "B=1\n\nA B=1": 3,
    "A=${B": 1,
    "A=${}": 1,
    "A=${B!}": 1,
    "A=${A.B}": 1,
    "A=${B:?no}": 1,
    "A=${B?no}": 1,
}
#: What Compose reads by accident, and a person did not mean; the line that our error names.
REFUSED_BY_US: dict[str, int] = {
    "A='a'b\nC=1": 1,
    "A='a' B=2": 1,
}
