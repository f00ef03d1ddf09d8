"""What another branch holds, asked of git: the check of a pull request needs no database."""

from __future__ import annotations

import subprocess

from migrator.config import COLON, folders_of
from migrator.errors import ConfigError


def read_names_at(places: str, ref: str) -> list[str]:
    """The files that a folder has in the git revision `ref`, as paths below it.

    Of several folders each path begins with its own.

    Raises ConfigError when git, the repository or the revision is not available. A folder that
    the revision lacks has no files.
    """
    if ref.startswith("-"):
        raise ConfigError(f"--base {ref} is no revision", remedy="Name a branch: origin/main.")
    found = []
    for folder in folders_of(places):
        _git(folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", ref=ref)
        listed = _git(folder, "ls-tree", "-r", "-z", "--name-only", ref, ref=ref)
        start = f"{folder}/" if COLON in places else ""
        found += [f"{start}{name}" for name in listed.split("\0") if name]
    return found


def _git(folder: str, *words: str, ref: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, and a revision that is no flag
            ["git", "-C", folder, *words],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ConfigError(
            f"git cannot be run: {error.strerror}",
            remedy="Run `verify --base REF` where git and the repository are, not in the image.",
        ) from error
    if done.returncode != 0:
        reason = done.stderr.strip().partition("\n")[0] or "there is no such revision"
        raise ConfigError(
            f"git knows no {ref} in {folder}: {reason}",
            remedy="Fetch the branch first (git fetch origin main), and name it as git does.",
        )
    return done.stdout
