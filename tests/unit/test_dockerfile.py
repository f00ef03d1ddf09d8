"""What of the Dockerfile must go along with the code."""

from __future__ import annotations

import re

from migrator import __version__
from migrator.cli import result
from tests.pages import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_a_plain_build_is_labelled_with_the_version() -> None:
    assert re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE, re.MULTILINE) == [__version__]


def test_a_job_has_no_healthcheck_and_says_why() -> None:
    assert not re.search(r"^HEALTHCHECK", DOCKERFILE, re.MULTILINE)
    assert "# No HEALTHCHECK: " in DOCKERFILE


def test_a_pip_that_trusts_no_proxy_hints_at_build_ca() -> None:
    assert "BUILD_CA=/path/to/bundle.pem" in DOCKERFILE.partition("CERTIFICATE_VERIFY_FAILED")[2]


def test_the_image_is_marked_where_a_failed_run_looks() -> None:
    """The package lies in /app/migrator, and the marker beside it."""
    assert " && touch /job/app/.image \\\n" in DOCKERFILE
    assert str(ROOT) == result.ROOT
    assert "COPY --from=job /job/ /\nWORKDIR /app\n" in DOCKERFILE
