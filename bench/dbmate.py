"""dbmate's program, which npm brings into .local/dbmate."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(".local/dbmate/node_modules/@dbmate/linux-x64/bin/dbmate")
WISHED = Path("tests/peers/package.json")


def is_there() -> bool:
    """Whether it is there, or npm has put the release that tests/peers names there."""
    if PROGRAM.exists():
        return True
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return False
    release = json.loads(WISHED.read_text())["dependencies"]["@dbmate/linux-x64"]
    words = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", ".local/dbmate"]
    try:
        subprocess.run(
            [*words, f"@dbmate/linux-x64@{release}"], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return PROGRAM.exists()
