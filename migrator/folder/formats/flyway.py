"""Flyway: V, R, U and B files at any depth, a .conf beside each, and flyway.conf or flyway.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from migrator.folder.formats.format import Format, Pick, Read, fitting, numbered
from migrator.model import AFTER, BEFORE, Finding, parts_of

_SQL = re.compile(r"([VUBR])(.*?)(?:__(.*))?\.[sS][qQ][lL]")
_VERSION = re.compile(r"[0-9]+(?:[._][0-9]+)*")
#: What lies beside the files for the whole of the folder.
_CONF, _TOML = "flyway.conf", "flyway.toml"
#: Files that Flyway runs at certain moments.
_CALLBACK = re.compile(
    r"(?:(?:before|after)(?:Each)?(?:Migrate|Clean|Validate|Baseline|Repair|Info|Undo|Connect|"
    r"CreateSchema|Versioned|Repeatables|Deploy)\w*|createSchema)(?:__.*)?\.sql",
    re.IGNORECASE,
)
#: A file that is a migration of Flyway's by its name, and no SQL.
_OTHER = re.compile(r"(?:[VUB][0-9][0-9._]*|R)__.*")
#: Settings that change nothing of what a file does: where Flyway connects, checks and writes.
_HARMLESS = frozenset(
    """
    baselinedescription baselineonmigrate baselineversion cleandisabled cleanonvalidationerror
    connectretries connectretriesinterval databasetype detectencoding displayname driver edition
    email environment environmentprovisionmode failonmissinglocations group
    ignoremigrationpatterns installedby licensekey locations lockretrycount loggers mixed
    outoforder outputqueryresults password reportenabled reportfilename table tablespace token url
    user validatemigrationnaming validateonmigrate
    """.split()  # noqa: SIM905 - a list would take a line for each word
)
#: The defaults of settings that say how files are named and read: another value is refused.
_DEFAULTS = {
    "baselinemigrationprefix": "B",
    "encoding": "utf-8",
    "placeholderprefix": "${",
    "placeholdersuffix": "}",
    "repeatablesqlmigrationprefix": "R",
    "sqlmigrationprefix": "V",
    "sqlmigrationseparator": "__",
    "sqlmigrationsuffixes": ".sql",
    "target": "latest",
    "undosqlmigrationprefix": "U",
}
_REMEDIES = {
    "defaultschema": "Set SEARCH_PATH to that schema, and remove the line.",
    "initsql": "Write it into the files that need it, and remove the line.",
    "schemas": "Set SEARCH_PATH to the first of them, and remove the line.",
    "shouldexecute": "Remove the line, or the file.",
    "encoding": "Save the files as UTF-8, and remove the line.",
}
_HONOURED = ("executeintransaction", "placeholderreplacement")


class Flyway(Format):
    """Flyway, and refinery as far as it says the same."""

    name = "flyway"
    new = MappingProxyType({".sql": "-- What it is for.\n"})
    deep = True
    sure = True
    letter = "V"
    repeatables = True
    hooks = MappingProxyType({"beforeMigrate.sql": BEFORE, "afterMigrate.sql": AFTER})

    def claims(self, names: Sequence[str], read: Read) -> bool:
        return any(fitting(r"(?:(?s:.*)/)?[VUB][0-9][0-9._]*__[^/\n]*\.(?i:sql)", names))

    def pick(self, names: Sequence[str], read: Read) -> tuple[list[Pick], list[Finding]]:
        settings, findings = _folder_settings(names, read)
        all_names = {*names}
        found = sorted((name for name in names if _SQL.fullmatch(_base(name))), key=_base)
        kinds: dict[str, list[Pick]] = {"V": [], "U": [], "B": [], "R": []}
        for name in found:
            stem = _base(name)[:-4]
            if problem := _unread(stem):
                findings.append(_passed_over(name, problem))
                continue
            own, wrong = _own_settings(name, all_names, read)
            findings += wrong
            kinds[stem[0]].append(_pick(name, stem, {**settings, **own}))
        findings += _not_sql(names, {*found, *self.hooks})
        versioned, wrong = numbered(self, kinds["V"])
        bases, wrong_bases = numbered(self, kinds["B"])
        repeatables, twice = _by_description(kinds["R"])
        picks, alone = _with_undo(versioned, kinds["U"])
        return [*picks, *bases, *repeatables], [*findings, *wrong, *wrong_bases, *twice, *alone]


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _unread(stem: str) -> str | None:
    """Why Flyway passes a file over whose name begins with one of its letters."""
    version, separator, _ = stem[1:].partition("__")
    if stem[0] == "R":
        return None if separator and not version else "a repeatable is named R__name.sql"
    if _VERSION.fullmatch(version):
        return None
    return f"its version is no number: {version!r}"


def _passed_over(path: str, problem: str) -> Finding:
    remedy = "Name it V1__name.sql or R__name.sql, or move it out of the folder."
    return Finding(path, f"Flyway passes it over: {problem}", remedy)


def _pick(path: str, stem: str, settings: Mapping[str, str]) -> Pick:
    alone = settings.get("executeintransaction", "true").lower() == "false"
    pick = Pick(
        stem.replace(" ", "_"),  # so that a person can type it
        path,
        alone=alone and stem[0] != "R",
        placeholders=settings.get("placeholderreplacement", "true").lower() != "false",
    )
    if stem[0] == "R":  # in the order of descriptions, in which _ is a blank
        return replace(pick, rank=((), stem[3:].replace("_", " "), 0))
    return pick


def _with_undo(versioned: list[Pick], undos: Sequence[Pick]) -> tuple[list[Pick], list[Finding]]:
    """Each V with the U of its version."""
    findings = []
    found: dict[tuple[int, ...], Pick] = {}
    for undo in undos:
        number = parts_of(f"V{undo.version[1:]}")
        if number in found:
            problem = f"{found[number].up} has the same version"
            findings.append(Finding(undo.up, problem, "Keep one of them."))
        found.setdefault(number, undo)
    picks = []
    for pick in versioned:
        ours = found.pop(parts_of(pick.version), None) if found else None
        if ours is None:
            picks.append(pick)
        else:
            if pick.placeholders and not ours.placeholders:
                problem = f"sets placeholderReplacement, and {pick.up} does not"
                findings.append(Finding(ours.up, problem, "Give both the same .conf."))
            filled = ours.placeholders and not pick.placeholders
            with_undo = replace(pick, down=ours.up, down_alone=ours.alone, down_filled=filled)
            picks.append(with_undo)
    for undo in found.values():
        problem = (
            "there is no V file of its version that it could undo; refinery runs such a file as a "
            "migration, and that is not supported"
        )
        findings.append(Finding(undo.up, problem, "Restore that file or remove this one."))
    return picks, findings


def _by_description(picks: Sequence[Pick]) -> tuple[list[Pick], list[Finding]]:
    """The repeatables; no two may have one description."""
    seen: dict[str, Pick] = {}
    findings = []
    for pick in picks:
        description = pick.rank[1] if pick.rank else ""
        if other := seen.get(description):
            problem = f"{other.up} has the same description"
            findings.append(Finding(pick.up, problem, "Give one of them another name."))
        seen.setdefault(description, pick)
    return list(picks), findings


def _not_sql(names: Sequence[str], known: set[str]) -> Iterator[Finding]:
    """Files that Flyway would run, or pass over without a word."""
    for name in names:
        base = _base(name)
        if name in known:
            continue
        if _CALLBACK.fullmatch(base):
            remedy = "Move its statements into a migration, or the file out of the folder."
            yield Finding(name, "is a callback of Flyway's, and these are not supported", remedy)
        elif base.lower().endswith(".sql"):
            yield _passed_over(name, "its name begins with no V, R, U or B")
        elif base.lower().endswith(".sql.conf"):
            if name.removesuffix(".conf") not in known:
                problem = f"there is no {base.removesuffix('.conf')} that it could be for"
                yield Finding(name, problem, "Restore that file or remove this one.")
        elif _OTHER.match(base):
            problem = "only files whose names end in .sql are run"
            yield Finding(name, problem, "Write it as SQL, or move it out of the folder.")


def _folder_settings(names: Sequence[str], read: Read) -> tuple[dict[str, str], list[Finding]]:
    """What flyway.conf and flyway.toml say of the files, and what of it is not supported."""
    found: dict[str, str] = {}
    findings: list[Finding] = []
    for file, parse in ((_CONF, _properties), (_TOML, _toml)):
        if file not in names:
            continue
        try:
            settings = dict(parse(read(file)))
        except ValueError as error:
            findings.append(Finding(file, f"cannot be read: {error}", "Correct that."))
            continue
        settings = {_bare(key): value for key, value in settings.items()}
        findings += _refused(file, settings)
        found |= {key: value for key, value in settings.items() if key in _HONOURED}
    return found, findings


def _own_settings(path: str, names: set[str], read: Read) -> tuple[dict[str, str], list[Finding]]:
    """What the .conf of one file says."""
    conf = f"{path}.conf"
    if conf not in names:
        return {}, []
    settings = {key.lower(): value for key, value in _properties(read(conf))}
    known = {*_HONOURED, "encoding", "shouldexecute"}
    findings = [
        Finding(conf, f"sets {key}, which Flyway does not know there", "Remove the line.")
        for key in settings
        if key not in known
    ]
    if settings.get("shouldexecute", "true").lower() == "true":
        settings.pop("shouldexecute", None)
    findings += _refused(conf, {key: settings[key] for key in settings if key in known})
    return {key: settings[key] for key in settings if key in _HONOURED}, findings


def _refused(file: str, settings: Mapping[str, str]) -> Iterator[Finding]:
    for key, value in settings.items():
        if key in _HONOURED and value.lower() not in ("true", "false"):
            yield Finding(file, f"sets {key} to {value!r}", "Write true or false.")
        elif key == "locations" and "," in value:
            remedy = (
                "Name the folders in --migrations-dir FOLDER:FOLDER (MIGRATIONS_DIR), and remove "
                "the line."
            )
            yield Finding(file, "names several locations, and one folder is read", remedy)
        elif not _is_harmless(key, value):
            remedy = _REMEDIES.get(key, "Name and write the files as without it; remove the line.")
            yield Finding(file, f"sets {key}, which is not supported", remedy)


def _is_harmless(key: str, value: str) -> bool:
    if key in _HARMLESS or key in _HONOURED:
        return True
    if key.startswith(("placeholders.", "jdbcproperties.")):
        return True
    return not value or _DEFAULTS.get(key, "").lower() == value.lower()


def _bare(key: str) -> str:
    """The name of a setting without what it belongs to: flyway., environments.NAME."""
    small = key.lower().removeprefix("flyway.")
    return re.sub(r"\A(?:environments\.[^.]*|postgresql)\.", "", small)


def _properties(text: str) -> Iterator[tuple[str, str]]:
    """The settings of a file in Java's way."""
    for line in re.sub(r"\\\r?\n[ \t]*", "", text).splitlines():
        if line.strip() and line.lstrip()[0] not in "#!":
            key, _, value = re.sub(r"\s*[=:]\s*", "=", line.strip(), count=1).partition("=")
            yield key, value


def _toml(text: str) -> Iterator[tuple[str, str]]:
    """The settings of flyway.toml, with their tables in their names."""

    def flat(prefix: str, table: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        for key, value in table.items():
            if isinstance(value, Mapping):
                yield from flat(f"{prefix}{key}.", value)
            else:
                items = value if isinstance(value, list) else [value]
                words = (
                    "true" if one is True else "false" if one is False else one for one in items
                )
                yield f"{prefix}{key}", ",".join(map(str, words))

    tables = tomllib.loads(text)
    for name in ("flyway", "environments"):
        yield from flat(f"{name}.", tables.get(name, {}))
