"""docs/rollback.md: its commands, run as they stand there, lose no row on the way and back."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.catalog import read_catalog, read_rows
from tests.conftest import Database
from tests.job import ROOT, run_job
from tests.postgres import NoServerError, binary
from tests.programs import as_new_as_the_server

PAGE = (ROOT / "docs" / "rollback.md").read_text()
FILLED = """
INSERT INTO suppliers (code, name) VALUES ('OTHER', 'Another');
UPDATE suppliers SET name = 'Edited by hand', created_at = '2020-01-02' WHERE code = 'LAWN_FAWN';
INSERT INTO upload_batches (supplier_id, file_type, invoice_number, invoice_date, invoice_currency,
                            invoice_subtotal, invoice_tax, invoice_shipping, invoice_total,
                            confidence_score, parsed_at, storage_bucket, storage_path, file_hash)
SELECT id, 'pdf', '7', '2025-01-02', 'USD', 1, 2, 3, 6, 90, now(), 'b', 'p', repeat('a', 64)
  FROM suppliers WHERE code = 'OTHER';
INSERT INTO products (batch_id, supplier_id, supplier_sku, supplier_name, manufacturer_name,
                      manufacturer_sku, manufacturer_url, barcode)
SELECT id, supplier_id, 'A1', 'Stamp', 'Maker', 'M1', 'https://x.test', '12345678'
  FROM upload_batches;
INSERT INTO images (product_id, source_url) SELECT id, 'https://x.test/1' FROM products;
"""
#: The way there and back, as a person goes it.
WAYS = {
    "002_seed_data": [
        *("What holds for all of them", "Save what 003 holds", "Undo 003"),
        "Come back to 003",
    ],
    "001_initial_schema": [
        *("What holds for all of them", "Save what 003 holds", "Save the suppliers", "Undo 002"),
        *("Come back to 002", "Come back to 003"),
    ],
    None: ["What holds for all of them", "Save everything", "Undo 001", "Come back to 001"],
}


def commands(heading: str) -> str:
    """The shell blocks under a heading, in order."""
    found = re.search(rf"^##+ {heading}\n(.*?)(?=^##+ |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, heading
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", found[1], re.DOTALL | re.MULTILINE)
    assert blocks, heading
    return "".join(blocks)


def run_page(database: Database, directory: Path, headings: list[str]) -> str:
    """What the commands under these headings print; each must end with 0."""
    try:
        programs = binary("pg_dump").parent
    except NoServerError as error:
        pytest.skip(str(error))
    if not as_new_as_the_server("pg_dump", database):
        pytest.skip("pg_dump is older than the server, and dumps no newer one than itself")
    (directory / "entrypoint.py").symlink_to(ROOT / "entrypoint.py")
    (directory / ".venv").symlink_to((ROOT / ".venv").resolve())
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "DATABASE_URL": database.url,
        "MIGRATIONS_DIR": str(ROOT / "migrations"),
    }
    script = "set -euo pipefail\n" + "".join(map(commands, headings))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("stays", WAYS)
@pytest.mark.parametrize("home", ["database", "supabase"])
def test_the_way_there_and_back_loses_no_row(
    request: pytest.FixtureRequest, tmp_path: Path, home: str, stays: str | None
) -> None:
    database: Database = request.getfixturevalue(home)
    assert run_job(database.url, ROOT / "migrations").code == 0
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute(FILLED)
        before = read_rows(session), read_catalog(session)
        there, back = WAYS[stays], [h for h in WAYS[stays] if h.startswith("Come back")]
        away = [heading for heading in there if heading not in back]
        shown = run_page(database, tmp_path, away)
        assert "the stored undo" in shown
        history = "SELECT max(version) FROM schema_migrations"
        assert database.query(history) == [(stays,)]
        lost = "SELECT to_regclass('invoice_summary'), to_regclass('products') IS NULL"
        assert database.query(lost) == [(None, stays is None)]
        (tmp_path / "entrypoint.py").unlink()
        (tmp_path / ".venv").unlink()
        run_page(database, tmp_path, ["What holds for all of them", *back])
        rows, catalog = read_rows(session), read_catalog(session)
        assert without_history(rows) == without_history(before[0])
        assert catalog == before[1]


def without_history(rows: dict[str, list[dict[str, object]]]) -> dict[str, object]:
    return {table: found for table, found in rows.items() if "schema_migrations" not in table}


def test_every_command_of_the_page_is_run() -> None:
    """Each heading with a shell block is on one of the ways."""
    sections = re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]
    with_commands = {text.partition("\n")[0] for text in sections if "```sh" in text}
    assert with_commands == {heading for way in WAYS.values() for heading in way}
