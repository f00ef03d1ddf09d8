"""The three migrations on empty databases, on what untracked scripts left, and on Supabase."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import connection

from migrator.scratch.snapshot import Item, Snapshot
from migrator.sql.parts import texts
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
    if state == "all in text":
        files = [re.sub(r"VARCHAR(\(\d+\))?", "TEXT", text) for text in files]
    elif state == "no enums":
        files = [re.sub(r"(?m)^(    \w+) \w+_(type|status)\b", r"\1 varchar(20)", f) for f in files]
        files[0] = re.sub(r"CREATE TYPE.*\n", "", files[0])
    elif state == "halfway":
        files, data = [files[0].partition(STOP)[0]], data.partition(STOP)[0]
    elif state == "first file":
        files = files[:1]
    for text in (*files, data):
        run(session, text)


STATES = ("all files", "first file", "halfway", "all in text", "no enums")
in_every_state = pytest.mark.parametrize("state", STATES)


def old_statements() -> Iterator[str]:
    for version in VERSIONS:
        yield from (text for _, text in texts([(LEGACY / f"{version}.sql").read_text()]))


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


@pytest.mark.any_version
@pytest.mark.parametrize("left", range(1, 1 + len(list(old_statements()))))
def test_old_scripts_that_stopped_after_any_statement_are_taken_over(
    session: connection, left: int, model: Snapshot
) -> None:
    for statement in list(old_statements())[:left]:
        run(session, statement)
    for _, statement in texts([(LEGACY / "rows.sql").read_text()]):
        with suppress(errors.UndefinedTable):
            run(session, statement)
    before = read_rows(session)
    up(session)
    assert lost(before, read_rows(session)) == []
    assert lacking(read_catalog(session), model) == []


@pytest.mark.parametrize("state", ["empty", "all files"])
def test_each_statement_of_the_files_may_be_the_last_of_a_run(
    session: connection, state: str
) -> None:
    """As psql runs them without --single-transaction, until it is killed."""
    if state != "empty":
        leave_behind(session, state)
    for version in VERSIONS:
        pieces = [
            statement for _, statement in texts([(MIGRATIONS / f"{version}.sql").read_text()])
        ]
        for end in range(1, 1 + len(pieces)):
            for statement in pieces[:end]:
                run(session, statement)
    done = read_catalog(session), read_rows(session)
    up(session)
    assert (read_catalog(session), read_rows(session)) == done


def test_tables_of_an_owner_that_the_login_may_act_for_are_taken_over(
    database: Database, model: Snapshot
) -> None:
    owner, login = (f"{role}_of_{database.dbname}" for role in ("owner", "login"))
    database.query(
        f"CREATE ROLE {owner}; CREATE ROLE {login} LOGIN PASSWORD 'secret' IN ROLE {owner};"
        f"GRANT CREATE ON SCHEMA public TO {owner};"
        f"GRANT CREATE ON DATABASE {database.dbname} TO {owner}"
    )
    try:
        with closing(database.connect()) as first:
            run(first, f"SET ROLE {owner}")
            leave_behind(first, "all files")
        with closing(database.connect(login, "secret")) as session:
            before = read_rows(session)
            up(session)
            assert lost(before, read_rows(session)) == []
            assert lacking(read_catalog(session), model) == []
    finally:
        database.query(f"DROP OWNED BY {owner}, {login} CASCADE; DROP ROLE {owner}, {login}")


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
    assert of_kind(left, "column").keys() == of_kind(shape, "column").keys()
    for kind in ("enum", "extension", "policy"):
        assert of_kind(left, kind) == of_kind(shape, kind)
    for name, table in of_kind(shape, "table").items():
        secured = of_kind(left, "table")[name].facts["row level security"]
        assert secured == table.facts["row level security"]
    views = [
        {n: v.facts["definition"] for n, v in of_kind(c, "view").items()} for c in (left, shape)
    ]
    assert views[0] == views[1]
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


@pytest.mark.any_version
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
            """ALTER TABLE products DROP CONSTRAINT chk_confidence_score;
               ALTER TABLE products ADD CONSTRAINT chk_confidence_score
                   CHECK (scraping_confidence BETWEEN 0 AND 100) NOT VALID""",
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
               CREATE UNIQUE INDEX mine ON products (supplier_sku, batch_id)""",
            """SELECT count(*) = 1 FROM pg_index
                WHERE indrelid = 'products'::regclass AND indisunique AND indnatts = 2""",
            id="a unique index in another order is as good as the key",
        ),
        pytest.param(
            "CREATE VIEW report AS SELECT * FROM invoice_summary",
            """SELECT count(*) = 3 FROM information_schema.columns WHERE table_name = 'report'""",
            id="an older view is kept for what needs it",
        ),
        pytest.param(
            """ALTER TABLE images ALTER COLUMN image_type DROP DEFAULT,
                                  ALTER COLUMN image_type TYPE varchar(9);
               CREATE SCHEMA other; CREATE TYPE other.processing AS ENUM ('pending', 'done');
               ALTER TABLE images ALTER COLUMN processing_status DROP DEFAULT,
                   ALTER COLUMN processing_status TYPE other.processing
                       USING 'done'::other.processing""",
            """SELECT array_agg(format_type(atttypid, atttypmod) ORDER BY attname)
                      = '{"character varying(9)",other.processing}' AND bool_and(atthasdef)
                 FROM pg_attribute WHERE attrelid = 'images'::regclass
                  AND attname IN ('image_type', 'processing_status')""",
            id="text in the place of an enum is kept, and an enum of another schema",
        ),
        pytest.param(
            """ALTER TABLE products ADD CONSTRAINT mine CHECK (0 <= quantity);
               ALTER TABLE products ADD CONSTRAINT price CHECK (supplier_price >= 0.0);
               ALTER TABLE products ADD CONSTRAINT score CHECK (quality_score BETWEEN 0 AND 100);
               ALTER TABLE suppliers ADD CHECK (code::text <> ''::varchar);
               ALTER TABLE products ALTER COLUMN scraping_confidence TYPE numeric(5,2)""",
            """SELECT array_agg(conname::text ORDER BY conname) = '{chk_confidence_score,mine,price,
                       products_currency_check,products_quantity_check,
                       products_supplier_price_check,products_supplier_sku_check,score}'
                 FROM pg_constraint WHERE contype = 'c' AND conrelid = 'products'::regclass
                  AND conname <> 'chk_barcode'""",
            id="a check of the same condition is kept under its own name, of any type",
        ),
        pytest.param(
            """DROP INDEX idx_products_status, idx_products_sku;
               CREATE INDEX mine ON products (status DESC, created_at);
               CREATE INDEX idx_products_sku ON products (quantity);
               CREATE INDEX partly ON products (supplier_sku) WHERE quantity > 0""",
            """SELECT count(*) = 1 FROM pg_indexes
                WHERE tablename = 'products' AND indexdef LIKE '%(status%'""",
            id="an index of the same columns is kept under its own name",
        ),
        pytest.param(
            """DROP INDEX idx_products_sku; CREATE TABLE idx_products_sku ();
               CREATE TABLE products_supplier_sku_idx ()""",
            """SELECT count(*) = 1 FROM pg_indexes
                WHERE tablename = 'products' AND indexdef LIKE '%(supplier_sku)'""",
            id="a name that is taken hinders no index",
        ),
        pytest.param(
            """ALTER TABLE suppliers DROP CONSTRAINT suppliers_code_key;
               ALTER TABLE suppliers ADD UNIQUE (code) DEFERRABLE""",
            """SELECT count(*) = 1 FROM pg_constraint
                WHERE conrelid = 'suppliers'::regclass AND contype = 'u'""",
            id="a deferrable key is kept",
        ),
        pytest.param(
            """CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS trigger
               LANGUAGE plpgsql AS 'BEGIN RAISE LOG ''mine''; RETURN NEW; END';
               ALTER TRIGGER update_images_updated_at ON images RENAME TO mine;
               DROP TRIGGER update_products_updated_at ON products""",
            """SELECT array_agg(tgname::text ORDER BY tgname) = '{mine,update_products_updated_at,
                       update_suppliers_updated_at,update_upload_batches_updated_at}'
                      AND (SELECT prosrc ~ 'mine' FROM pg_proc
                            WHERE proname = 'update_updated_at_column')
                 FROM pg_trigger WHERE NOT tgisinternal""",
            id="a function and its triggers are kept under their own names",
        ),
        pytest.param(
            "UPDATE suppliers SET code = 'LF' WHERE code = 'LAWN_FAWN'",
            "SELECT count(*) = 2 FROM suppliers",
            id="the supplier has another code",
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


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("change", "error", "message", "said"),
    [
        pytest.param(
            """ALTER TABLE products DROP COLUMN supplier_sku;
               ALTER TABLE images RENAME product_id TO picture_of""",
            errors.DatatypeMismatch,
            "Some columns cannot be taken over as they are",
            [
                "ALTER TABLE public.products ADD COLUMN supplier_sku text, and give it a value in "
                "every row",
                "ALTER TABLE public.images ADD COLUMN product_id uuid, and give it a value in "
                "every row",
            ],
            id="required columns without a default are missing",
        ),
        pytest.param(
            """ALTER TABLE suppliers ALTER COLUMN active DROP DEFAULT,
                                     ALTER COLUMN active TYPE text;
               ALTER TABLE products ALTER COLUMN quality_score TYPE text""",
            errors.DatatypeMismatch,
            "Some columns cannot be taken over as they are",
            [
                "ALTER TABLE public.suppliers ALTER COLUMN active TYPE boolean USING …, which is "
                "of type text",
                "ALTER TABLE public.products ALTER COLUMN quality_score TYPE integer USING …, "
                "which is of type text",
            ],
            id="columns are of types that cannot be used",
        ),
        pytest.param(
            """ALTER TABLE upload_batches ALTER COLUMN status DROP DEFAULT;
               ALTER TYPE batch_status RENAME VALUE 'pending' TO 'waiting';
               CREATE TYPE state AS ENUM ('new');
               ALTER TABLE products ALTER COLUMN status DROP DEFAULT,
                   ALTER COLUMN status TYPE state USING 'new'""",
            errors.DatatypeMismatch,
            "Some columns cannot be taken over as they are",
            [
                "ALTER TYPE batch_status ADD VALUE 'pending', by itself: the default of "
                "public.upload_batches.status",
                "ALTER TYPE state ADD VALUE 'draft', by itself: the default of "
                "public.products.status",
            ],
            id="enums in use lack the label of a default",
        ),
        pytest.param(
            """UPDATE suppliers SET scraping_config = NULL;
               ALTER TABLE products DROP CONSTRAINT unique_sku_per_batch;
               UPDATE products SET supplier_sku = 'ME1', quality_score = 101;
               ALTER TABLE images DROP CONSTRAINT images_product_id_fkey;
               UPDATE images SET product_id = gen_random_uuid();
               ALTER TABLE products DROP CONSTRAINT chk_confidence_score;
               UPDATE products SET scraping_confidence = -1;
               ALTER TABLE products ADD CONSTRAINT chk_confidence_score
                   CHECK (scraping_confidence >= 0) NOT VALID""",
            errors.IntegrityConstraintViolation,
            "Some rows break a rule of these tables",
            [
                "2 rows: SELECT * FROM public.suppliers WHERE scraping_config IS NULL",
                "2 rows: SELECT * FROM public.products WHERE (batch_id, supplier_sku) IN "
                "(SELECT batch_id, supplier_sku FROM public.products "
                "GROUP BY batch_id, supplier_sku HAVING count(*) > 1)",
                "3 rows: SELECT * FROM public.images WHERE product_id NOT IN "
                "(SELECT id FROM public.products)",
                "2 rows: SELECT * FROM public.products WHERE NOT ((scraping_confidence >= 0))",
                "2 rows: SELECT * FROM public.products WHERE NOT "
                "(quality_score >= 0 AND quality_score <= 100)",
            ],
            id="rows break rules of every kind",
        ),
        pytest.param(
            """UPDATE suppliers SET scraping_config = NULL;
               UPDATE upload_batches SET invoice_currency = '$', invoice_total = -1""",
            errors.IntegrityConstraintViolation,
            "Some rows break a rule of these tables",
            [
                "2 rows: SELECT * FROM public.suppliers WHERE scraping_config IS NULL",
                "2 rows: SELECT * FROM public.upload_batches WHERE NOT "
                "(invoice_currency ~ '^[A-Z]{3}$')",
                "2 rows: SELECT * FROM public.upload_batches WHERE invoice_total < 0",
            ],
            id="rows break rules of two files: one run names all",
        ),
        pytest.param(
            """UPDATE upload_batches SET invoice_currency = '$', storage_bucket = 'b',
                                         storage_path = 'p', confidence_score = 101""",
            errors.IntegrityConstraintViolation,
            "Some rows break a rule of these tables",
            [
                "2 rows: SELECT * FROM public.upload_batches WHERE NOT "
                "(invoice_currency ~ '^[A-Z]{3}$')",
                "2 rows: SELECT * FROM public.upload_batches WHERE confidence_score < 0 OR "
                "confidence_score > 100",
                "2 rows: SELECT * FROM public.upload_batches WHERE (storage_bucket, storage_path) "
                "IN (SELECT storage_bucket, storage_path FROM public.upload_batches "
                "GROUP BY storage_bucket, storage_path HAVING count(*) > 1)",
            ],
            id="rows break rules of the third file",
        ),
        pytest.param(
            "ALTER TABLE upload_batches ALTER COLUMN invoice_date TYPE text",
            errors.DatatypeMismatch,
            "Some columns cannot be taken over as they are",
            [
                "ALTER TABLE public.upload_batches ALTER COLUMN invoice_date TYPE date USING …, "
                "which is of type text"
            ],
            id="a column of the third file is of another type",
        ),
        pytest.param(
            """ALTER TABLE images RENAME TO pictures;
               CREATE VIEW images AS SELECT * FROM pictures""",
            errors.WrongObjectType,
            "public.images exists and is no table",
            ["ALTER TABLE public.images RENAME TO images_old"],
            id="a view has the name of a table",
        ),
        pytest.param(
            "DROP VIEW invoice_summary; CREATE MATERIALIZED VIEW invoice_summary AS SELECT 1",
            errors.WrongObjectType,
            "public.invoice_summary exists and is no view",
            ["ALTER TABLE public.invoice_summary RENAME TO invoice_summary_old"],
            id="a materialized view has the name of the view",
        ),
    ],
)
def test_what_a_person_must_decide_stops_the_run_and_loses_nothing(
    session: connection, change: str, error: type[psycopg2.Error], message: str, said: list[str]
) -> None:
    leave_behind(session, "all files")
    run(session, change)
    before = read_rows(session)
    with pytest.raises(error) as caught:
        up(session)
    if error is errors.IntegrityConstraintViolation:  # with the first file, nothing is committed
        assert rows(session, "SELECT obj_description('file_type'::regtype)") == [(None,)]
    diag = caught.value.diag
    assert diag.message_primary == message
    assert "then run the migration again" in (diag.message_hint or "")
    if diag.message_detail:
        assert diag.message_detail.splitlines() == said
    else:
        assert said[0] in (diag.message_hint or "")
    assert lost(before, read_rows(session)) == []


@pytest.mark.any_version
@pytest.mark.parametrize(
    "rows_of_003",
    [
        "UPDATE upload_batches SET invoice_currency = '$'",
        "UPDATE upload_batches SET confidence_score = 101",
        "UPDATE upload_batches SET storage_path = 'p'",
        "UPDATE upload_batches SET storage_path = 'p', storage_bucket = 'b'",
        "UPDATE upload_batches SET invoice_total = -1",
        *(
            f"ALTER TABLE {table} ADD {column}; UPDATE {table} SET {assignment}"
            for table, column, assignment in (
                ("upload_batches", "invoice_subtotal numeric", "invoice_subtotal = -1"),
                ("upload_batches", "invoice_tax numeric", "invoice_tax = -1"),
                ("upload_batches", "invoice_shipping numeric", "invoice_shipping = -1"),
                ("upload_batches", "file_hash text", "file_hash = 'A'"),
                ("products", "barcode text", "barcode = '12-34'"),
            )
        ),
    ],
)
def test_the_first_file_names_what_the_third_will_not_take(
    session: connection, rows_of_003: str
) -> None:
    leave_behind(session, "all files")
    run(session, rows_of_003)
    with pytest.raises(errors.IntegrityConstraintViolation) as caught:
        apply(session, "001_initial_schema")
    detail = caught.value.diag.message_detail or ""
    assert "then run the migration again" in (caught.value.diag.message_hint or "")
    assert len(detail.splitlines()) == 1
    assert rows(session, detail.partition(": ")[2])  # the query can be typed


def test_the_first_file_leaves_a_check_of_an_older_script_to_the_third(session: connection) -> None:
    leave_behind(session, "all files")
    run(session, "UPDATE upload_batches SET confidence_score = 101")
    run(
        session,
        "ALTER TABLE upload_batches ADD CONSTRAINT chk_invoice_confidence "
        "CHECK (confidence_score < 1000)",
    )
    up(session)


def test_an_index_that_was_never_finished_is_built_again(session: connection) -> None:
    leave_behind(session, "first file")
    run(session, "ALTER TABLE products DROP CONSTRAINT unique_sku_per_batch")
    run(session, "UPDATE products SET supplier_sku = 'ME1'")
    with pytest.raises(errors.UniqueViolation):  # and leaves an INVALID index
        run(
            session,
            "CREATE UNIQUE INDEX CONCURRENTLY mine ON products (supplier_sku, batch_id)",
        )
    with pytest.raises(errors.IntegrityConstraintViolation):
        up(session)
    run(session, "UPDATE products SET supplier_sku = 'ME2' WHERE supplier_price IS NULL")
    plain = "idx_products_status"
    run(session, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{plain}'::regclass")
    indexes = """SELECT count(*), bool_and(indisvalid) FROM pg_index AS i
                   JOIN pg_attribute AS a ON attrelid = indrelid AND attnum = indkey[0]
                  WHERE indrelid = 'products'::regclass AND attname IN ('supplier_sku', 'status')"""
    assert rows(session, indexes) == [(3, False)]
    up(session)
    assert rows(session, indexes) == [(3, True)]


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
    INSERT INTO products (id, batch_id, supplier_id, supplier_sku, supplier_name)
    SELECT '{A_PRODUCT}', '{A_BATCH}', id, 'LF1', 'Stamp' FROM suppliers"""
IMAGE = f"INSERT INTO images (product_id, source_url) VALUES ('{A_PRODUCT}', 'https://x.test/1')"


@pytest.fixture
def filled(session: connection) -> connection:
    """A migrated database with one batch, product and image."""
    up(session)
    for statement in (BATCH, PRODUCT, IMAGE):
        run(session, statement)
    return session


@pytest.mark.any_version
@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO suppliers (code, name) VALUES ('LAWN_FAWN', '')", "suppliers_code_key"),
        ("INSERT INTO suppliers (code, name) VALUES ('', '')", "suppliers_code_check"),
        ("UPDATE products SET scraping_confidence = 101", "chk_confidence_score"),
        ("UPDATE products SET scraping_confidence = -1", "chk_confidence_score"),
        ("UPDATE products SET quality_score = 101", "products_quality_score_check"),
        ("UPDATE products SET quality_score = -1", "products_quality_score_check"),
        ("UPDATE products SET supplier_price = -0.01", "products_supplier_price_check"),
        ("UPDATE products SET currency = 'usd'", "products_currency_check"),
        ("UPDATE products SET barcode = '12-34'", "chk_barcode"),
        (PRODUCT.replace(A_PRODUCT, A_BATCH, 1), "products_batch_id_supplier_sku_key"),
        ("UPDATE images SET sequence_number = 0", "images_sequence_number_check"),
        ("UPDATE images SET width_px = 0", "images_width_px_check"),
        ("UPDATE images SET height_px = -1", "images_height_px_check"),
        ("UPDATE images SET file_size_bytes = 0", "images_file_size_bytes_check"),
        ("UPDATE upload_batches SET failed_products = -1", "upload_batches_counts_check"),
        ("UPDATE upload_batches SET confidence_score = 101", "chk_invoice_confidence"),
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
           INSERT INTO products (batch_id, supplier_id, supplier_sku, supplier_name)
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
           AND relname <> 'invoice_summary_before_003'
           AND reloptions::text IS DISTINCT FROM '{security_invoker=true}'""",
    "0011 function without a search_path": """
        SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
           AND obj_description(oid, 'pg_proc') LIKE 'Created by %'
           AND proconfig::text IS DISTINCT FROM '{"search_path=\\"\\""}'""",
    "0014 extension in public": """
        SELECT extname FROM pg_extension WHERE extnamespace = 'public'::regnamespace""",
    "any right of the public roles on a table or view": """
        SELECT relname, grantee::regrole, privilege_type FROM pg_class, aclexplode(relacl)
         WHERE relnamespace = 'public'::regnamespace
           AND grantee::regrole::text IN ('-', 'anon', 'authenticated')""",
    "a function that the public roles may call": """
        SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
           AND obj_description(oid, 'pg_proc') LIKE 'Created by %'
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


RENAMED = (
    "The older view public.invoice_summary is called invoice_summary_before_003 from now on: what "
    "reads it by its name gets the columns of the new view, which takes no INSERT, UPDATE or DELETE"
)


def warnings(session: connection) -> list[str]:
    """What RAISE WARNING has said so far."""
    return [line.partition(":  ")[2].strip() for line in session.notices if "WARNING" in line[:9]]


@pytest.fixture
def app(database: Database) -> Iterator[str]:
    """A role that is no owner, with a grant on each table that is made from now on."""
    role = f"app_of_{database.dbname}"
    database.query(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA public TO {role}"
    )
    database.query(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role}")
    yield role
    database.query(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_who_works_on_an_older_table_goes_on_working(database: Database, app: str) -> None:
    count = "SELECT count(*) FROM products"
    with closing(database.connect()) as session:
        leave_behind(session, "all files")
        run(session, "GRANT SELECT ON products TO PUBLIC")
        for move in (up, down, up):
            move(session)
            assert database.as_user(app, "secret").query(count) == [(2,)]
            database.as_user(app, "secret").query("UPDATE products SET quantity = 2")
            database.as_user(app, "secret").query("SELECT * FROM invoice_summary")
            assert rows(session, "SELECT has_table_privilege('public', 'products', 'SELECT')") == [
                (True,)
            ]
        assert warnings(session) == [RENAMED, RENAMED]


#: Who may do what with the view, as `grants` shows it.
OLDER_VIEW = {
    "a right to read": ("GRANT SELECT ON invoice_summary TO {app}", ["{app} SELECT"]),
    "everyone": ("GRANT SELECT ON invoice_summary TO PUBLIC", ["PUBLIC SELECT"]),
    "a right to pass on": (
        "GRANT SELECT ON invoice_summary TO {app} WITH GRANT OPTION",
        ["{app} SELECT grantable"],
    ),
    "passed on by another": (
        """GRANT SELECT ON invoice_summary TO {app} WITH GRANT OPTION;
           SET ROLE {app}; GRANT SELECT ON invoice_summary TO {reader}; RESET ROLE""",
        ["{app} SELECT grantable", "{reader} SELECT"],
    ),
    "one column": (
        "GRANT SELECT (supplier_id, total) ON invoice_summary TO {app}",
        ["{app} SELECT (supplier_id)"],
    ),
    "less than by default": (
        """ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {reader};
           GRANT SELECT ON invoice_summary TO {app}""",
        ["{app} SELECT"],
    ),
    "an owner": (
        """GRANT CREATE ON SCHEMA public TO {app};
           GRANT SELECT ON suppliers, upload_batches, products TO {app};
           ALTER VIEW invoice_summary OWNER TO {app};
           GRANT SELECT ON invoice_summary TO {reader}""",
        ["owner {app}", "{reader} SELECT"],
    ),
    "an owner who may create nothing": (
        """GRANT SELECT ON suppliers, upload_batches, products TO {app};
           GRANT CREATE ON SCHEMA public TO {app};
           ALTER VIEW invoice_summary OWNER TO {app};
           REVOKE CREATE ON SCHEMA public FROM {app}""",
        ["owner {app}"],  # of a superuser's run
    ),
}

GRANTS = """
    SELECT replace(concat_ws(' ', coalesce(nullif(grantee::regrole::text, '-'), 'PUBLIC'),
                             right_to, CASE WHEN is_grantable THEN 'grantable' END), '"', '')
      FROM (SELECT relowner, grantee, privilege_type AS right_to, is_grantable
              FROM pg_class, aclexplode(relacl) WHERE oid = 'invoice_summary'::regclass
            UNION ALL
            SELECT 0, grantee, format('%s (%s)', privilege_type, attname), is_grantable
              FROM pg_attribute, aclexplode(attacl)
             WHERE attrelid = 'invoice_summary'::regclass) AS acl
     WHERE grantee <> relowner
    UNION ALL
    SELECT 'owner ' || relowner::regrole FROM pg_class
     WHERE oid = 'invoice_summary'::regclass AND relowner <> current_user::regrole
     ORDER BY 1"""


@pytest.fixture
def people(database: Database) -> Iterator[dict[str, str]]:
    """Two roles that own nothing and have no grant."""
    made = {who: f"{who}_of_{database.dbname}" for who in ("app", "reader")}
    for role in made.values():
        database.query(
            f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA public TO {role}"
        )
    yield made
    for role in made.values():
        database.query(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.parametrize("older", OLDER_VIEW)
def test_who_reads_an_older_view_reads_the_new_one(
    database: Database, people: dict[str, str], older: str
) -> None:
    given, kept = OLDER_VIEW[older]
    with closing(database.connect()) as session:
        leave_behind(session, "all files")
        run(session, given.format(**people))
        up(session)
        assert warnings(session) == [RENAMED]
        assert [row for (row,) in rows(session, GRANTS)] == [k.format(**people) for k in kept]
        readers = people.values() if "PUBLIC SELECT" in kept else [people["app"]]
        column = "supplier_id" if older == "one column" else "*"
        for role in readers:
            database.as_user(role, "secret").query(f"SELECT {column} FROM invoice_summary")
        down(session)
        database.as_user(people["app"], "secret").query("SELECT supplier_id FROM invoice_summary")


@pytest.mark.parametrize(
    ("given", "because"),
    [
        pytest.param(
            "GRANT SELECT (total) ON invoice_summary TO {app}",
            "on the view give",
            id="no column of the right is left",
        ),
        pytest.param(
            """GRANT SELECT ON upload_batches, invoice_summary TO {app};
               ALTER VIEW invoice_summary SET (security_invoker = true)""",
            "on the view and its tables give",
            id="the new view reads more tables with the rights of its reader",
        ),
        pytest.param(
            """GRANT CREATE ON SCHEMA public TO {reader};
               GRANT SELECT ON upload_batches TO {reader}, {app};
               ALTER VIEW invoice_summary OWNER TO {reader};
               GRANT SELECT ON invoice_summary TO {app}""",
            "on the view and its tables give",
            id="the owner may not read all tables",
        ),
    ],
)
def test_who_loses_access_to_an_older_view_is_named(
    database: Database, people: dict[str, str], given: str, because: str
) -> None:
    with closing(database.connect()) as session:
        if session.server_version < 150000:
            if "invoker" in given:
                pytest.skip("security_invoker came with PostgreSQL 15")
            because = "on the view give"
        leave_behind(session, "all files")
        run(session, given.format(**people))
        up(session)
        losers = ", ".join(sorted(people.values() if "{reader}" in given else [people["app"]]))
        assert warnings(session) == [
            RENAMED,
            f"These roles lose access to public.invoice_summary until grants {because} it: "
            + losers,
        ]
        with pytest.raises(errors.InsufficientPrivilege):
            database.as_user(people["app"], "secret").query("SELECT * FROM invoice_summary")


def test_a_new_table_is_closed_to_who_has_a_grant_by_default(database: Database, app: str) -> None:
    with closing(database.connect()) as session:
        up(session)
        assert database.as_user(app, "secret").query("SELECT count(*) FROM suppliers") == [(0,)]
        assert warnings(session) == []


@pytest.mark.parametrize(
    ("data_api", "losers", "viewers"),
    [
        ("legacy", "anon, app_of_test, authenticated", "anon, app_of_test, authenticated"),
        ("closed", "app_of_test", "app_of_test"),
    ],
)
def test_who_loses_access_to_an_older_table_on_supabase_is_named(
    supabase_database: MakeSupabase, data_api: str, losers: str, viewers: str
) -> None:
    database = supabase_database(data_api=data_api)
    with closing(database.connect()) as session:
        database.as_superuser().query("CREATE ROLE app_of_test")
        try:
            leave_behind(session, "all files")
            run(session, "GRANT SELECT (id) ON products TO app_of_test")
            run(session, "GRANT DELETE ON images TO app_of_test")
            run(session, "GRANT SELECT ON invoice_summary TO app_of_test")
            up(session)
            said = warnings(session)
            api = losers.replace("app_of_test, ", "").replace("app_of_test", "")
            closed = (
                "is closed: row level security is on, and these roles lose access until a policy"
            )
            expected = [
                f"public.{table} {closed} gives it: {names}"
                for table, names in zip(TABLES, (api, api, losers, losers), strict=True)
                if names
            ]
            assert sorted(line for line in said if closed in line) == sorted(expected)
            lose = "These roles lose access to public.invoice_summary until grants on the view "
            kept = [line for line in said if line.startswith(lose)]
            assert kept == [lose + "and its tables give it: " + viewers]
            secured = "SELECT bool_and(relrowsecurity) FROM pg_class WHERE relname = ANY (%s)"
            assert database.query(secured, list(TABLES)) == [(True,)]
            del session.notices[:]
            up(session)
            assert warnings(session) == []
            down(session)
            assert database.query(secured.replace("and", "or"), list(TABLES)) == [(False,)]
        finally:
            database.as_superuser().query("DROP OWNED BY app_of_test; DROP ROLE app_of_test")


def test_tables_of_the_names_in_another_schema_are_named(session: connection) -> None:
    run(
        session,
        "CREATE SCHEMA mine; CREATE TABLE mine.products (); CREATE VIEW mine.images AS SELECT 1",
    )
    run(session, "CREATE SCHEMA off_the_path; CREATE TABLE off_the_path.products ()")
    run(session, "SET search_path = mine, public")
    apply(session, "001_initial_schema")
    assert warnings(session) == [
        "The search_path has mine.images, mine.products too: not touched, as this file works on "
        "public. If the rows are there, roll back and move them to public first."
    ]


def test_a_deferrable_key_is_named_with_the_way_to_change_it(session: connection) -> None:
    leave_behind(session, "first file")
    run(session, "ALTER TABLE suppliers DROP CONSTRAINT suppliers_code_key")
    run(session, "ALTER TABLE suppliers ADD UNIQUE (code) DEFERRABLE INITIALLY DEFERRED")
    up(session)
    (said,) = warnings(session)
    start, way = said.split(" If that is not meant: ")
    assert (
        start
        == "suppliers_code_key of suppliers is deferrable: INSERT … ON CONFLICT cannot use it."
    )
    run(session, way)
    del session.notices[:]
    up(session)
    assert warnings(session) == []


def test_an_older_view_is_named_and_comes_back(session: connection) -> None:
    leave_behind(session, "all files")
    summary = "SELECT * FROM invoice_summary"
    before = rows(session, summary)
    up(session)
    assert warnings(session) == [RENAMED]
    assert rows(session, "SELECT * FROM invoice_summary_before_003") == before
    down(session)
    assert rows(session, summary) == before


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
                shape |= {(item.name, fact) for fact in ("not null", "default") if facts[fact]}
                shape.add(item.name)
            case "constraint":
                known = re.sub(r"::[a-z]+( varying)?|[()]", "", text.partition(" ON DELETE")[0])
                shape.add((item.of, facts["validated"], known))
            case "index":
                shape.add(("index", item.of, facts["valid"], text.partition(" USING ")[2]))
            case "table" | "view":
                shape.add(item.name)
            case "enum":
                shape.add((item.name, *facts["labels"]))
            case "trigger":
                shape.add((text, facts["enabled"]))
    return shape


def of_kind(catalog: Snapshot, kind: str) -> dict[str, Item]:
    return {item.name: item for item in catalog.values() if item.kind == kind}
