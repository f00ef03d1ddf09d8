"""What the job calls of libpq is still offered by the psycopg2 that is installed."""

from __future__ import annotations

from importlib.metadata import version

import psycopg2.extensions
import pytest

from migrator.postgres.libpq import FUNCTIONS, function

INSTALLED = f"psycopg2-binary {version('psycopg2-binary')}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_psycopg2_offers_the_function_of_libpq(name: str) -> None:
    if function(name, None) is None:
        pytest.fail(
            f"{INSTALLED} no longer offers libpq's {name} through psycopg2._psycopg: "
            f"without it, {FUNCTIONS[name]}"
        )


def test_psycopg2_hands_out_the_connection_of_libpq() -> None:
    if not hasattr(psycopg2.extensions.connection, "pgconn_ptr"):
        pytest.fail(f"{INSTALLED} has no connection.pgconn_ptr: libpq cannot be called by ctypes")


def test_what_libpq_lacks_is_none() -> None:
    assert function("PQthatDoesNotExist", None) is None
