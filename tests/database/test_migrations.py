"""The three migrations on empty databases, on what untracked scripts left, and on Supabase."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection

from migrator.scratch.snapshot import Item, Snapshot
from tests.catalog import read_catalog, read_rows
from tests.conftest import Database, MakeSupabase, create_database, drop_database, in_charge
from tests.postgres import Address, NoServerError, binary

MIGRATIONS = Path(__file__).parents[2] / "migrations"
LEGACY = Path(__file__).parents[1] / "fixtures" / "legacy"
VERSIONS = ("001_initial_schema", "002_seed_data", "003_invoice_processing_fields")
TABLES = ("suppliers", "upload_batches", "products", "images")
STOP = "-- (a deploy stopped here)"
HOMES = ("superuser", "plain owner", "supabase closed", "supabase legacy")


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of the kind that the test is parametrized with."""
    kind: str = getattr(request, "param", "superuser")
    if kind.startswith("supabase"):
        yield request.getfixturevalue("supabase_database")(data_api=kind.removeprefix("supabase "))
        return
    made: Database = request.getfixturevalue("database")
    if kind == "superuser":
        yield made
        return
    owner = f"owner_of_{made.dbname}"
    made.query(f"CREATE ROLE {owner} LOGIN PASSWORD 'secret'")
    made.query(f"ALTER DATABASE {made.dbname} OWNER TO {owner}")
    made.query(f"GRANT ALL ON SCHEMA public TO {owner}")
    yield made.as_user(owner, "secret")
    in_charge(made.server).query(f"ALTER DATABASE {made.dbname} OWNER TO CURRENT_USER")
    made.query(f"DROP OWNED BY {owner}; DROP ROLE {owner}")


@pytest.fixture
def session(home: Database) -> Iterator[connection]:
    with closing(home.connect()) as opened:
        yield opened


@pytest.fixture(scope="module")
def model(server: Address) -> Iterator[Snapshot]:
    """What a new database holds after the migrations."""
    database = create_database(server)
    with closing(database.connect()) as opened:
        up(opened)
        yield read_catalog(opened)
    drop_database(database)


in_every_home = pytest.mark.parametrize("home", HOMES, indirect=True)


def run(session: connection, sql: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(sql)


def rows(session: connection, sql: str) -> list[tuple[object, ...]]:
    with session.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def apply(session: connection, name: str) -> None:
    """One file as the runner sends it: one message, one transaction."""
    text = (MIGRATIONS / f"{name}.sql").read_text()
    try:
        run(session, f"BEGIN;\n{text}\n;COMMIT")
    except psycopg2.Error:
        run(session, "ROLLBACK")
        raise


def up(session: connection) -> None:
    for version in VERSIONS:
        apply(session, version)


def down(session: connection) -> None:
    for version in reversed(VERSIONS):
        apply(session, f"{version}.down")


def leave_behind(session: connection, state: str) -> None:
    """Bring the database into the state that the untracked scripts left it in, with rows."""
    files = [(LEGACY / f"{version}.sql").read_text() for version in VERSIONS]
    data = (LEGACY / "rows.sql").read_text()
    if state == "halfway":
        files, data = [files[0].partition(STOP)[0]], data.partition(STOP)[0]
    elif state == "first file":
        files = files[:1]
    for text in (*files, data):
        run(session, text)


in_every_state = pytest.mark.parametrize("state", ["all files", "first file", "halfway"])


@in_every_home
def test_a_second_run_of_each_file_changes_nothing(home: Database, session: connection) -> None:
    for version in VERSIONS:
        apply(session, version)
        before = read_catalog(session), read_rows(session)
        apply(session, version)
        assert (read_catalog(session), read_rows(session)) == before
    up(session)
    assert (read_catalog(session), read_rows(session)) == before


@in_every_home
def test_down_leaves_what_was_there_and_up_brings_all_back(
    home: Database, session: connection
) -> None:
    empty = read_catalog(session)
    up(session)
    full = read_catalog(session), read_rows(session)
    down(session)
    assert read_catalog(session) == empty
    up(session)
    assert read_catalog(session) == full[0]
    assert without_times(read_rows(session)) == without_times(full[1])


@in_every_state
@in_every_home
def test_a_database_of_the_untracked_files_is_taken_over(
    home: Database, session: connection, state: str, model: Snapshot
) -> None:
    leave_behind(session, state)
    before = read_rows(session)
    up(session)
    assert lost(before, read_rows(session)) == []
    assert lacking(read_catalog(session), model) == []
    after = read_catalog(session), read_rows(session)
    up(session)
    assert (read_catalog(session), read_rows(session)) == after


@in_every_state
@in_every_home
def test_down_takes_nothing_that_the_untracked_files_left(
    home: Database, session: connection, state: str
) -> None:
    leave_behind(session, state)
    before, shape = read_rows(session), read_catalog(session)
    up(session)
    full = read_catalog(session)
    down(session)
    assert read_rows(session) == before
    left = read_catalog(session)
    for kind in ("column", "enum", "extension"):
        kept = {name: item for name, item in of_kind(shape, kind).items() if not in_view(item)}
        if kind == "column":
            assert of_kind(left, kind).keys() == kept.keys()
        else:
            assert of_kind(left, kind) == kept
    up(session)
    assert read_catalog(session) == full


def test_the_files_run_under_any_search_path_and_leave_it_alone(session: connection) -> None:
    run(session, "CREATE SCHEMA other")
    for path, shown in (("''", '""'), ("other, public", "other, public"), ("other", "other")):
        run(session, f"SET search_path = {path}")
        up(session)
        assert rows(session, "SHOW search_path") == [(shown,)]
    stray = "SELECT count(*) FROM pg_class WHERE relnamespace = 'other'::regnamespace"
    assert rows(session, stray) == [(0,)]


@pytest.mark.parametrize("whole", [["--single-transaction"], []])
def test_psql_runs_the_same_files_twice(whole: list[str], database: Database) -> None:
    try:
        psql = binary("psql")
    except NoServerError as error:
        pytest.skip(str(error))
    files = [f"--file={MIGRATIONS / version}.sql" for version in VERSIONS]
    options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *whole]
    done = subprocess.run(
        [psql, database.url, *options, *files, *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("change", "check"),
    [
        pytest.param(
            "ALTER TABLE products DROP COLUMN quality_score",
            "SELECT count(*) = 2 FROM products WHERE quality_score IS NULL",
            id="a column that may be empty is added",
        ),
        pytest.param(
            "ALTER TABLE products DROP COLUMN status; DROP TYPE product_status",
            "SELECT count(*) = 2 FROM products WHERE status = 'draft'",
            id="a column that must have a value gets its default, and its enum",
        ),
        pytest.param(
            """ALTER TABLE products ALTER COLUMN quantity DROP NOT NULL,
                                    ALTER COLUMN quantity DROP DEFAULT""",
            """SELECT attnotnull AND atthasdef FROM pg_attribute
                WHERE attrelid = 'products'::regclass AND attname = 'quantity'""",
            id="a default and NOT NULL are put back",
        ),
        pytest.param(
            """ALTER TYPE batch_status RENAME TO old;
               CREATE TYPE batch_status AS ENUM ('pending', 'completed', 'failed', 'lost');
               ALTER TABLE upload_batches
                   ALTER COLUMN status DROP DEFAULT,
                   ALTER COLUMN status TYPE batch_status USING status::text::batch_status,
                   ALTER COLUMN status SET DEFAULT 'pending';
               DROP TYPE old""",
            """SELECT enum_range(NULL::batch_status)::text =
                      '{pending,processing,completed,failed,cancelled,lost}'""",
            id="labels are added to an enum in use, in their place",
        ),
        pytest.param(
            """DROP TABLE images; DROP TYPE processing_status;
               CREATE TYPE processing_status AS ENUM ('completed')""",
            """SELECT column_default LIKE '%pending%' FROM information_schema.columns
                WHERE table_name = 'images' AND column_name = 'processing_status'""",
            id="an unused enum that lacks even the default is made whole",
        ),
        pytest.param(
            """DROP TABLE images; DROP TYPE image_type;
               CREATE SCHEMA other; CREATE TYPE other.image_type AS ENUM ('x')""",
            "SELECT count(*) = 2 FROM pg_type WHERE typname = 'image_type'",
            id="an enum of the name in another schema is no excuse",
        ),
        pytest.param(
            """CREATE SCHEMA other; CREATE TABLE other.t
               (n int, CONSTRAINT products_quality_score_check CHECK (n > 0))""",
            """SELECT count(*) = 2 FROM pg_constraint
                WHERE conname = 'products_quality_score_check' AND convalidated""",
            id="a constraint of the name on another table is no excuse",
        ),
        pytest.param(
            """ALTER TABLE upload_batches DROP CONSTRAINT chk_confidence_score;
               ALTER TABLE upload_batches ADD CONSTRAINT chk_confidence_score
                   CHECK (confidence_score BETWEEN 0 AND 100) NOT VALID""",
            "SELECT convalidated FROM pg_constraint WHERE conname = 'chk_confidence_score'",
            id="a check that is NOT VALID is validated",
        ),
        pytest.param(
            """ALTER TABLE images DROP CONSTRAINT images_product_id_fkey;
               ALTER TABLE images ADD CONSTRAINT mine
                   FOREIGN KEY (product_id) REFERENCES products (id) NOT VALID""",
            """SELECT array_agg(conname::text) = '{mine}' AND bool_and(convalidated)
                 FROM pg_constraint WHERE contype = 'f' AND conrelid = 'images'::regclass""",
            id="a foreign key that is NOT VALID is validated under its own name",
        ),
        pytest.param(
            """ALTER TABLE products DROP CONSTRAINT unique_sku_per_batch;
               CREATE UNIQUE INDEX mine ON products (sku, batch_id)""",
            """SELECT count(*) = 1 FROM pg_index
                WHERE indrelid = 'products'::regclass AND indisunique AND indnatts = 2""",
            id="a unique index in another order is as good as the key",
        ),
        pytest.param(
            "DROP VIEW invoice_summary; CREATE VIEW invoice_summary AS SELECT 1 AS batch_id",
            """SELECT count(*) > 9 FROM information_schema.columns
                WHERE table_name = 'invoice_summary'""",
            id="an older view with other columns is replaced",
        ),
        pytest.param(
            "DROP VIEW invoice_summary",
            "SELECT count(*) = 1 FROM pg_views WHERE viewname = 'invoice_summary'",
            id="a missing view is made",
        ),
        pytest.param(
            """UPDATE suppliers SET name = 'Ours', scraping_config = '{}'
                WHERE code = 'LAWN_FAWN'""",
            """SELECT count(*) = 1 FROM suppliers
                WHERE code = 'LAWN_FAWN' AND name = 'Ours' AND scraping_config = '{}'""",
            id="a supplier edited by hand stays as it is",
        ),
        pytest.param(
            "DELETE FROM suppliers WHERE code = 'LAWN_FAWN'",
            """SELECT scraping_config ->> 'target_language' = 'cs' FROM suppliers
                WHERE code = 'LAWN_FAWN'""",
            id="a missing supplier is seeded",
        ),
        pytest.param(
            "CREATE POLICY mine ON products USING (true)",
            """SELECT array_agg(polname::text) = '{mine}' FROM pg_policy
                WHERE polrelid = 'products'::regclass""",
            id="a table with a policy of its own gets none of ours",
        ),
    ],
)
def test_what_is_missing_is_added(session: connection, change: str, check: str) -> None:
    leave_behind(session, "all files")
    run(session, change)
    up(session)
    assert rows(session, check) == [(True,)]
    before = read_catalog(session), read_rows(session)
    up(session)
    assert (read_catalog(session), read_rows(session)) == before


@pytest.mark.parametrize(
    ("change", "error", "message", "hint"),
    [
        pytest.param(
            "ALTER TABLE products DROP COLUMN sku",
            errors.NotNullViolation,
            "public.products.sku must have a value and has none in 2 rows",
            "ALTER TABLE public.products ADD COLUMN sku text; UPDATE …",
            id="a required column without a default is missing",
        ),
        pytest.param(
            "UPDATE suppliers SET scraping_config = NULL",
            errors.NotNullViolation,
            "public.suppliers.scraping_config must have a value and has none in 2 rows",
            "UPDATE public.suppliers SET scraping_config = … WHERE scraping_config IS NULL",
            id="a required column is empty in some rows",
        ),
        pytest.param(
            """ALTER TABLE products DROP CONSTRAINT unique_sku_per_batch;
               UPDATE products SET sku = 'ME1'""",
            errors.UniqueViolation,
            "public.products has 1 values of (batch_id, sku) more than once, in 2 rows; "
            "the constraint products_batch_id_sku_key cannot be added",
            "SELECT batch_id, sku, count(*) FROM public.products GROUP BY batch_id, sku",
            id="duplicates stand in the way of a key",
        ),
        pytest.param(
            "UPDATE products SET quality_score = 101",
            errors.CheckViolation,
            "public.products has 2 rows that break the constraint products_quality_score_check",
            "WHERE NOT (quality_score BETWEEN 0 AND 100)",
            id="rows break a check that is missing",
        ),
        pytest.param(
            """ALTER TABLE upload_batches DROP CONSTRAINT chk_confidence_score;
               UPDATE upload_batches SET confidence_score = -1;
               ALTER TABLE upload_batches ADD CONSTRAINT chk_confidence_score
                   CHECK (confidence_score >= 0) NOT VALID""",
            errors.CheckViolation,
            "public.upload_batches has 2 rows that break the constraint chk_confidence_score",
            "WHERE NOT ((confidence_score >= 0))",
            id="rows break a check that is NOT VALID",
        ),
        pytest.param(
            "ALTER TABLE images DROP CONSTRAINT images_product_id_fkey; DELETE FROM products",
            errors.ForeignKeyViolation,
            "public.images has 3 rows whose product_id is no id of public.products; "
            "the constraint images_product_id_fkey cannot hold",
            "SELECT * FROM public.images WHERE product_id NOT IN (SELECT id FROM public.products)",
            id="rows point to nothing",
        ),
        pytest.param(
            """CREATE SCHEMA other; CREATE TYPE other.image_type AS ENUM ('main', 'gallery');
               ALTER TABLE images
                   ALTER COLUMN image_type DROP DEFAULT,
                   ALTER COLUMN image_type TYPE other.image_type
                       USING image_type::text::other.image_type""",
            errors.DatatypeMismatch,
            "public.images.image_type is of type other.image_type where public.image_type is "
            "needed",
            "ALTER TABLE public.images ALTER COLUMN image_type TYPE public.image_type USING …",
            id="a column has the enum of another schema",
        ),
        pytest.param(
            """ALTER TABLE upload_batches ALTER COLUMN status DROP DEFAULT;
               ALTER TYPE batch_status RENAME VALUE 'pending' TO 'waiting'""",
            errors.UnsafeNewEnumValueUsage,
            "The default of public.upload_batches.status is 'pending', a label that "
            "public.batch_status did not have",
            "run ALTER TYPE public.batch_status ADD VALUE 'pending' by itself",
            id="an enum in use lacks the label of a default",
        ),
        pytest.param(
            "DROP INDEX idx_products_sku; CREATE TABLE idx_products_sku ()",
            errors.DuplicateTable,
            "public.idx_products_sku exists and is no index on public.products",
            "Rename it, then run the migration again.",
            id="the name of an index is taken",
        ),
        pytest.param(
            "CREATE VIEW report AS SELECT * FROM invoice_summary",
            errors.DependentObjectsStillExist,
            "An older public.invoice_summary has other columns, and is in use",
            "DROP VIEW public.invoice_summary names what uses it",
            id="an older view is in use",
        ),
    ],
)
def test_what_a_person_must_decide_stops_the_run_and_loses_nothing(
    session: connection, change: str, error: type[psycopg2.Error], message: str, hint: str
) -> None:
    leave_behind(session, "all files")
    run(session, change)
    before = read_rows(session)
    with pytest.raises(error) as caught:
        up(session)
    assert caught.value.diag.message_primary == message
    assert hint in (caught.value.diag.message_hint or "")
    assert lost(before, read_rows(session)) == []


@pytest.mark.parametrize(
    ("name", "unique"), [("idx_products_status", False), ("products_batch_id_sku_key", True)]
)
def test_an_index_that_was_never_finished_is_built_again(
    session: connection, name: str, unique: bool
) -> None:
    leave_behind(session, "first file")
    run(session, "ALTER TABLE products DROP CONSTRAINT unique_sku_per_batch")
    run(session, "DROP INDEX idx_products_status; UPDATE products SET sku = 'ME1'")
    with pytest.raises(errors.UniqueViolation):  # and leaves an INVALID index
        run(session, f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON products (batch_id, sku)")
    run(session, "UPDATE products SET sku = 'ME2' WHERE supplier_price IS NULL")
    up(session)
    state = f"SELECT indisvalid, indisunique FROM pg_index WHERE indexrelid = '{name}'::regclass"
    assert rows(session, state) == [(True, unique)]


def test_the_seed_goes_only_while_nothing_needs_it(session: connection) -> None:
    up(session)
    run(session, BATCH)
    apply(session, "002_seed_data.down")
    assert rows(session, "SELECT code FROM suppliers") == [("LAWN_FAWN",)]
    run(session, "DELETE FROM upload_batches")
    apply(session, "002_seed_data.down")
    assert rows(session, "SELECT code FROM suppliers") == []


def test_down_leaves_what_others_have_come_to_need(session: connection) -> None:
    up(session)
    run(session, "CREATE TABLE mine (id uuid DEFAULT uuid_generate_v4(), kind file_type)")
    down(session)
    kept = """SELECT to_regtype('file_type') IS NOT NULL, to_regtype('image_type') IS NOT NULL,
                     to_regproc('uuid_generate_v4') IS NOT NULL"""
    assert rows(session, kept) == [(True, False, True)]


A_BATCH, A_PRODUCT = "2a000000-0000-0000-0000-000000000000", "3a000000-0000-0000-0000-000000000000"
BATCH = f"""
    INSERT INTO upload_batches (id, supplier_id, file_type)
    SELECT '{A_BATCH}', id, 'pdf' FROM suppliers"""
PRODUCT = f"""
    INSERT INTO products (id, batch_id, supplier_id, sku, name)
    SELECT '{A_PRODUCT}', '{A_BATCH}', id, 'LF1', 'Stamp' FROM suppliers"""
IMAGE = f"INSERT INTO images (product_id, source_url) VALUES ('{A_PRODUCT}', 'https://x.test/1')"


@pytest.fixture
def filled(session: connection) -> connection:
    """A migrated database with one batch, product and image."""
    up(session)
    for statement in (BATCH, PRODUCT, IMAGE):
        run(session, statement)
    return session


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO suppliers (code, name) VALUES ('LAWN_FAWN', '')", "suppliers_code_key"),
        ("INSERT INTO suppliers (code, name) VALUES ('', '')", "suppliers_code_check"),
        ("UPDATE products SET scraping_confidence = 101", "products_scraping_confidence_check"),
        ("UPDATE products SET scraping_confidence = -1", "products_scraping_confidence_check"),
        ("UPDATE products SET quality_score = 101", "products_quality_score_check"),
        ("UPDATE products SET quality_score = -1", "products_quality_score_check"),
        ("UPDATE products SET supplier_price = -0.01", "products_supplier_price_check"),
        ("UPDATE products SET currency = 'usd'", "products_currency_check"),
        ("UPDATE products SET barcode = '12-34'", "chk_barcode"),
        (PRODUCT.replace(A_PRODUCT, A_BATCH, 1), "products_batch_id_sku_key"),
        (IMAGE, "images_product_id_image_type_sequence_number_key"),
        ("UPDATE images SET sequence_number = 0", "images_sequence_number_check"),
        ("UPDATE images SET width_px = 0", "images_width_px_check"),
        ("UPDATE images SET height_px = -1", "images_height_px_check"),
        ("UPDATE images SET file_size_bytes = 0", "images_file_size_bytes_check"),
        ("UPDATE upload_batches SET failed_products = -1", "upload_batches_counts_check"),
        ("UPDATE upload_batches SET confidence_score = 101", "chk_confidence_score"),
        ("UPDATE upload_batches SET invoice_total = -1", "chk_invoice_totals"),
        ("UPDATE upload_batches SET invoice_currency = '$'", "chk_invoice_currency"),
        ("UPDATE upload_batches SET storage_path = 'a.pdf'", "chk_storage_object"),
        ("UPDATE upload_batches SET file_hash = 'A'", "chk_file_hash"),
        ("DELETE FROM suppliers", "upload_batches_supplier_id_fkey"),
        ("UPDATE images SET product_id = gen_random_uuid()", "images_product_id_fkey"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(
    filled: connection, statement: str, constraint: str
) -> None:
    with pytest.raises(psycopg2.IntegrityError) as caught:
        run(filled, statement)
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize("table", TABLES)
def test_a_change_sets_updated_at(filled: connection, table: str) -> None:
    run(filled, f"UPDATE {table} SET created_at = 'epoch', updated_at = 'epoch'")
    assert rows(filled, f"SELECT updated_at > created_at FROM {table}") == [(True,)]


def test_a_deleted_batch_takes_its_products_and_images_along(filled: connection) -> None:
    run(filled, "DELETE FROM upload_batches")
    assert rows(filled, "SELECT (SELECT count(*) FROM products), count(*) FROM images") == [(0, 0)]


def test_the_view_sums_an_invoice_up(filled: connection) -> None:
    run(
        filled,
        """UPDATE products SET quantity = 3, supplier_price = 2.50;
           INSERT INTO products (batch_id, supplier_id, sku, name)
           SELECT batch_id, supplier_id, 'LF2', 'A die without a price' FROM products;
           UPDATE upload_batches SET invoice_number = '7', invoice_subtotal = 10;
           INSERT INTO upload_batches (supplier_id, file_type)
           SELECT id, 'manual' FROM suppliers""",
    )
    summary = """SELECT supplier_code, invoice_number, product_count, piece_count,
                        products_total::text, unexplained_total::text FROM invoice_summary"""
    assert rows(filled, summary) == [("LAWN_FAWN", "7", 2, 4, "7.50", "2.50")]


in_supabase = pytest.mark.parametrize("home", ["supabase closed", "supabase legacy"], indirect=True)

#: Rules of Supabase's advisor that a schema can break, and our own; each query finds no row.
ADVISOR = {
    "0001 foreign key without an index": """
        SELECT conname FROM pg_constraint AS f
         WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND NOT EXISTS
               (SELECT FROM pg_index WHERE indrelid = f.conrelid AND indkey[0] = f.conkey[1])""",
    "0004 table without a primary key": """
        SELECT relname FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT EXISTS
               (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)""",
    "0007, 0008, 0013 row level security off, or without a policy": """
        SELECT relname FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT
               (relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid))""",
    "0009 index twice": """
        SELECT tablename FROM pg_indexes WHERE schemaname = 'public'
         GROUP BY tablename, regexp_replace(indexdef, '.* USING ', '') HAVING count(*) > 1""",
    "0010 view with the rights of its owner": """
        SELECT relname FROM pg_class
         WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace
           AND reloptions::text IS DISTINCT FROM '{security_invoker=true}'""",
    "0011 function without a search_path": """
        SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
           AND proconfig::text IS DISTINCT FROM '{"search_path=\\"\\""}'""",
    "0014 extension in public": """
        SELECT extname FROM pg_extension WHERE extnamespace = 'public'::regnamespace""",
    "any right of the public roles on a table or view": """
        SELECT relname, grantee::regrole, privilege_type FROM pg_class, aclexplode(relacl)
         WHERE relnamespace = 'public'::regnamespace
           AND grantee::regrole::text IN ('-', 'anon', 'authenticated')""",
    "a function that the public roles may call": """
        SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
           AND has_function_privilege('anon', pg_proc.oid, 'EXECUTE')""",
}


@pytest.mark.parametrize("state", ["empty", "halfway", "first file", "all files"])
@in_supabase
def test_the_advisor_finds_nothing(home: Database, session: connection, state: str) -> None:
    if state != "empty":
        leave_behind(session, state)
    up(session)
    found = {rule: rows(session, query) for rule, query in ADVISOR.items()}
    assert found == {rule: [] for rule in ADVISOR}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@in_supabase
def test_the_public_key_opens_nothing(home: Database, session: connection, role: str) -> None:
    up(session)
    run(session, f"SET ROLE {role}")
    selects = [f"SELECT FROM {relation}" for relation in (*TABLES, "invoice_summary")]
    writes = [
        f"{action} {table} {values}"
        for table in TABLES
        for action, values in (
            ("INSERT INTO", "DEFAULT VALUES"),
            ("DELETE FROM", ""),
            ("TRUNCATE", ""),
        )
    ]
    for statement in selects + writes:
        with pytest.raises(errors.InsufficientPrivilege):
            run(session, statement)


def test_a_table_opened_on_purpose_stays_open(supabase: Database) -> None:
    with closing(supabase.connect()) as session:
        leave_behind(session, "all files")
        run(session, "CREATE POLICY read ON products FOR SELECT TO anon USING (true)")
        run(session, "GRANT SELECT ON products TO anon")
        up(session)
        run(session, "SET ROLE anon")
        assert rows(session, "SELECT count(*) FROM products") == [(2,)]


def test_an_event_trigger_that_secures_new_tables_is_no_hindrance(
    supabase_database: MakeSupabase,
) -> None:
    with closing(supabase_database(auto_rls="on").connect()) as session:
        up(session)
        down(session)
        up(session)
        assert (
            rows(session, ADVISOR["0007, 0008, 0013 row level security off, or without a policy"])
            == []
        )


@in_supabase
def test_the_service_reads_and_writes(home: Database, session: connection) -> None:
    up(session)
    run(session, "SET ROLE service_role")
    for statement in (BATCH, PRODUCT, IMAGE):
        run(session, statement)
    run(session, "UPDATE products SET quality_score = 1; DELETE FROM images")
    for relation in (*TABLES, "invoice_summary"):
        run(session, f"SELECT FROM {relation}")


Rows = dict[str, list[dict[str, object]]]


def lost(before: Rows, now: Rows) -> list[dict[str, object]]:
    """Rows of `before` that are gone, or of which a value has changed."""
    return [
        row
        for table, found in before.items()
        for row in found
        if not any(row.items() <= kept.items() for kept in now[table])
    ]


def without_times(found: Rows) -> Rows:
    """The rows without what a second insert cannot repeat."""
    times = {"created_at", "updated_at"}
    return {
        table: [{name: row[name] for name in row.keys() - times} for row in kept]
        for table, kept in found.items()
    }


def lacking(found: Snapshot, model: Snapshot) -> list[object]:
    """What the model has and `found` has not, under whatever name, type or default it may be."""
    return sorted(essence(model) - essence(found), key=repr)


def essence(catalog: Snapshot) -> set[object]:
    """What a database that was taken over shares with a new one."""
    shape: set[object] = set()
    for item in catalog.values():
        facts = item.facts
        text = facts.get("definition", "")
        match item.kind:
            case "column":
                shape.add((item.name, facts["not null"], facts["default"] is not None))
            case "constraint":
                known = item.name if text.startswith("CHECK") else text.partition(" ON DELETE")[0]
                shape.add((item.of, facts["validated"], known))
            case "index":
                shape.add(("index", item.of, facts["valid"], text.partition(" USING ")[2]))
            case "table":
                shape.add((item.name, facts["row level security"]))
            case "enum":
                shape.add((item.name, *facts["labels"]))
            case "trigger":
                shape.add((text, facts["enabled"]))
            case "view":
                shape.add((item.name, text))
    return shape


def of_kind(catalog: Snapshot, kind: str) -> dict[str, Item]:
    return {item.name: item for item in catalog.values() if item.kind == kind}


def in_view(item: Item) -> bool:
    return item.of == "public.invoice_summary"
