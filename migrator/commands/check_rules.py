"""What `check` answers: findings and facts as JSON, as annotations of GitHub, as SARIF."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from migrator.config import COLON
from migrator.errors import ConfigError, MigratorError
from migrator.model import Danger, Migration
from migrator.preflight.facts import Traced
from migrator.preflight.judge import Judged

STYLES = ("github", "sarif")
UNUSED = "allow"  #: the class of a finding about a line that allows what is not there
NOT_RUN = "error"  #: the class of a file that does not run
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

_Found = dict[str, Any]


def chosen(migrations: Sequence[Migration], known: Collection[str]) -> frozenset[str]:
    """The versions of files that are not among the `known` ones of another branch."""
    return frozenset(m.version for m in migrations if m.file not in known)


def check_format(style: str | None) -> None:
    if style not in {None, *STYLES}:
        raise ConfigError(
            f"--format {style} is not known", remedy=f"Write --format {' or '.join(STYLES)}."
        )


def answer_of(traced: Iterable[Traced], judged: Judged) -> _Found:
    """What --json prints."""
    return {
        "findings": _findings(judged),
        "advice": [hazard.as_dict() for hazard in judged.advice],
        "allowed": [
            {**hazard.as_dict(), "reason": allow.reason} for hazard, allow in judged.allowed
        ],
        "facts": [
            {"file": one.file, "version": one.version, **fact.as_dict()}
            for one in traced
            for fact in one.facts
        ],
    }


def _findings(judged: Judged) -> list[_Found]:
    found = [hazard.as_dict() for hazard in judged.counted]
    for one in judged.unused:
        found.append(
            {
                "file": one.file,
                "line": one.line,
                "class": UNUSED,
                "relation": None,
                "message": one.problem,
                "remedy": one.remedy,
            }
        )
    return found


def formatted(judged: Judged, folder: str, style: str | None) -> _Found:
    """The same as annotations or SARIF, under the one key that is printed alone."""
    advice = [hazard.as_dict() for hazard in judged.advice]
    return _formatted(_findings(judged), advice, folder, style)


def refused(error: MigratorError, folder: str, style: str | None) -> _Found:
    """The answer about files that do not run, or cannot be read as SQL."""
    details = error.details
    found = [_not_run(one.file, one.line, one.problem, one.remedy) for one in error.findings]
    if "file" in details:
        line = details.get("line")
        found.append(_not_run(details["file"], line, error.message, error.remedy))
    return _formatted(found, [], folder, style) if found else {}


def _not_run(file: str, line: int | None, message: str, remedy: str) -> _Found:
    said = {"relation": None, "message": message, "remedy": remedy}
    return {"file": file, "line": line or 1, "class": NOT_RUN, **said}


def _formatted(
    findings: Sequence[_Found], advice: Sequence[_Found], folder: str, style: str | None
) -> _Found:
    if style == "github":
        lines = [_annotation("error", one, folder) for one in findings]
        lines += [_annotation("notice", one, folder) for one in advice]
        return {"formatted": "".join(f"{line}\n" for line in lines)}
    if style == "sarif":
        results = [_result("error", one, folder) for one in findings]
        results += [_result("note", one, folder) for one in advice]
        return {"formatted": json.dumps(_sarif(results), indent=2) + "\n"}
    return {}


def _annotation(level: str, one: _Found, folder: str) -> str:
    """A workflow command; what ends a value or a line in it is percent-encoded."""

    def value(text: object) -> str:
        return said(text).replace(":", "%3A").replace(",", "%2C")

    def said(text: object) -> str:
        return str(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    place = f"file={value(_path(folder, one))},line={one['line']}"
    title = value(f"migrator: {one['class']}")
    return f"::{level} {place},title={title}::{said(one['message'])}. {said(one['remedy'])}"


def _path(folder: str, one: _Found) -> str:
    path = one["file"] if COLON in folder else f"{folder.rstrip('/')}/{one['file']}"
    return str(path).removeprefix("./")


def _result(level: str, one: _Found, folder: str) -> _Found:
    place = {
        "artifactLocation": {"uri": _path(folder, one)},
        "region": {"startLine": one["line"]},
    }
    return {
        "ruleId": one["class"],
        "level": level,
        "message": {"text": f"{one['message']}. {one['remedy']}"},
        "locations": [{"physicalLocation": place}],
    }


def _sarif(results: Sequence[_Found]) -> _Found:
    rules = [{"id": name} for name in (*(one.value for one in Danger), UNUSED, NOT_RUN)]
    driver = {"name": "migrator", "rules": rules}
    run = {"tool": {"driver": driver}, "results": list(results)}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
