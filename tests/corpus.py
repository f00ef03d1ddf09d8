"""Files that are dangerous on a table in use, and files that are safe there, upon BASE."""

from __future__ import annotations

BASE = """CREATE TYPE status AS ENUM ('new', 'paid');
CREATE DOMAIN posint AS int;
CREATE TABLE regions (id bigint PRIMARY KEY, name text);
CREATE TABLE customers (id bigint PRIMARY KEY, email varchar(100), nick text);
CREATE TABLE orders (
  id bigint PRIMARY KEY, customer_id bigint, qty int, price_cents int, note text,
  ref varchar(100), st status DEFAULT 'new', dom posint, at timestamptz DEFAULT now(),
  must text, must2 text, CONSTRAINT must_ck CHECK (must IS NOT NULL), span int4range
);
ALTER TABLE orders ADD CONSTRAINT qty_nv CHECK (qty >= 0) NOT VALID;
CREATE UNIQUE INDEX orders_ref_uq ON orders (ref);
CREATE TABLE items (id bigint PRIMARY KEY, order_id bigint, sku text);
CREATE INDEX items_sku ON items (sku);
CREATE TABLE settings (k text PRIMARY KEY, v text, n int);
CREATE TABLE events (id bigint, day date) PARTITION BY RANGE (day);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE events_2025 (id bigint, day date);
CREATE TABLE regions_big (id bigint PRIMARY KEY);
CREATE VIEW order_view AS SELECT id, qty FROM orders;
CREATE MATERIALIZED VIEW order_mv AS SELECT customer_id, count(*) FROM orders GROUP BY 1;
CREATE UNIQUE INDEX order_mv_k ON order_mv (customer_id);
CREATE FUNCTION widen() RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE 'ALTER TABLE orders ALTER COLUMN qty TYPE bigint'; END $$;
CREATE FUNCTION proved() RETURNS void LANGUAGE plpgsql AS
  $$ BEGIN EXECUTE 'ALTER TABLE orders ADD CHECK (qty < 99)'; END $$;
"""
#: {n} is how many orders there are; the other tables follow.
ROWS = """INSERT INTO regions SELECT i, 'r' || i FROM generate_series(1, 50) AS i;
INSERT INTO customers SELECT i, 'c' || i || '@x', 'n' || i FROM generate_series(1, {n} / 4) AS i;
INSERT INTO orders (id, customer_id, qty, price_cents, note, ref, dom, must, must2, span)
  SELECT i, i % ({n} / 4 + 1), 1 + i % 5, 100, CASE WHEN i % 4 = 0 THEN NULL ELSE 'note' END,
         'ref' || i, 1, 'm', 'm', int4range(i, i + 1) FROM generate_series(1, {n}) AS i;
INSERT INTO items SELECT i, i, 'sku' || i % 1000 FROM generate_series(1, {n}) AS i;
INSERT INTO settings SELECT 'k' || i, 'v', 1 FROM generate_series(1, 10) AS i;
INSERT INTO events_2026 SELECT i, '2026-03-01' FROM generate_series(1, {n}) AS i;
INSERT INTO events_2025 SELECT i, '2025-03-01' FROM generate_series(1, {n}) AS i;
REFRESH MATERIALIZED VIEW order_mv;
"""
ALONE = "-- migrator: no-transaction\n"

#: What it is, the class, the file, and whether it matters on a small table too.
DANGERS = (
    (
        "int to bigint",
        "rewrite",
        "DROP VIEW order_view;\nALTER TABLE orders ALTER qty TYPE bigint;",
    ),
    ("volatile default", "rewrite", "ALTER TABLE orders ADD token uuid DEFAULT gen_random_uuid();"),
    ("bigserial", "rewrite", "ALTER TABLE orders ADD COLUMN seq bigserial;"),
    (
        "stored generated column",
        "rewrite",
        "ALTER TABLE orders ADD total int GENERATED ALWAYS AS (qty * price_cents) STORED;",
    ),
    ("index", "scan", "CREATE INDEX orders_cust ON orders (customer_id);"),
    ("unique constraint", "scan", "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (customer_id, id);"),
    ("check", "scan", "ALTER TABLE orders ADD CONSTRAINT o_ck CHECK (price_cents > 0);"),
    (
        "foreign key",
        "scan",
        "ALTER TABLE items ADD CONSTRAINT i_fk FOREIGN KEY (order_id) REFERENCES orders (id);",
    ),
    ("set not null", "scan", "ALTER TABLE orders ALTER COLUMN must2 SET NOT NULL;"),
    (
        "exclusion constraint",
        "scan",
        "ALTER TABLE orders ADD EXCLUDE USING gist (span WITH &&);",
    ),
    (
        "NOT VALID and VALIDATE in one file",
        "scan",
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (price_cents > 0) NOT VALID;\n"
        "ALTER TABLE orders VALIDATE CONSTRAINT c;",
    ),
    ("update of all rows", "mass", "UPDATE orders SET note = upper(note);"),
    ("update of many rows", "mass", "UPDATE orders SET note = '' WHERE note IS NULL;"),
    ("update by a range of keys", "mass", "UPDATE orders SET note = '' WHERE id > 0;"),
    (
        "update in a CTE",
        "mass",
        "WITH d AS (DELETE FROM items RETURNING id) SELECT count(*) FROM d;",
    ),
    (
        "new rows over old ones",
        "mass",
        "INSERT INTO orders (id) SELECT id FROM items ON CONFLICT (id) DO UPDATE SET note = '';",
    ),
    ("delete in a block", "mass", "DO $$ BEGIN DELETE FROM items; END $$;"),
    (
        "column and backfill in one file",
        "held",
        "ALTER TABLE customers ADD COLUMN full_name text;\nUPDATE customers SET full_name = nick;",
    ),
    ("drop column", "destroy", "ALTER TABLE orders DROP COLUMN note;"),
    ("drop table", "destroy", "DROP TABLE items;"),
    ("a column with its type", "destroy", "DROP TYPE status CASCADE;"),
    ("rename column", "breaks", "ALTER TABLE orders RENAME COLUMN note TO remark;"),
    ("rename table", "breaks", "ALTER TABLE customers RENAME TO clients;"),
    ("move to another schema", "breaks", "CREATE SCHEMA s;\nALTER TABLE customers SET SCHEMA s;"),
    ("reindex", "scan", "REINDEX TABLE orders;"),
    ("set unlogged", "rewrite", "ALTER TABLE orders SET UNLOGGED;"),
    ("required column", "fails", "ALTER TABLE orders ADD COLUMN need int NOT NULL;"),
    ("truncate", "destroy", "TRUNCATE items;"),
    ("truncate in a block", "destroy", "DO $$ BEGIN TRUNCATE items; END $$;"),
    ("refresh", "rewrite", "REFRESH MATERIALIZED VIEW order_mv;"),
    ("text to varchar", "rewrite", "ALTER TABLE customers ALTER COLUMN nick TYPE varchar(50);"),
    (
        "dynamic SQL in a block",
        "rewrite",
        "DROP VIEW order_view;\nDO $$ BEGIN EXECUTE 'ALTER TABLE ' || 'orders' || "
        "' ALTER COLUMN price_cents TYPE bigint'; END $$;",
    ),
    ("DDL in a function", "rewrite", "DROP VIEW order_view;\nSELECT widen();"),
    ("a check in a function", "scan", "SELECT proved();"),
    ("primary key", "scan", "ALTER TABLE events_2025 ADD PRIMARY KEY (id);"),
    (
        "attach",
        "scan",
        "ALTER TABLE events ATTACH PARTITION events_2025 "
        "FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');",
    ),
    ("constraint of a domain", "scan", "ALTER DOMAIN posint ADD CHECK (VALUE > 0);"),
    ("type in all partitions", "rewrite", "ALTER TABLE events ALTER COLUMN id TYPE numeric;"),
    ("check of all partitions", "scan", "ALTER TABLE events ADD CHECK (id > 0);"),
    (
        "identity column",
        "rewrite",
        "ALTER TABLE orders ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY;",
    ),
    (
        "lock table",
        "held",
        "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE;\nSELECT count(*) FROM orders;",
    ),
    ("rename label", "breaks", "ALTER TYPE status RENAME VALUE 'paid' TO 'settled';"),
    ("vacuum full", "rewrite", f"{ALONE}VACUUM FULL orders;"),
    ("cluster", "rewrite", f"{ALONE}CLUSTER orders USING orders_pkey;"),
    ("index outside a transaction", "scan", f"{ALONE}CREATE INDEX i ON orders (customer_id);"),
    ("update outside a transaction", "mass", f"{ALONE}UPDATE orders SET note = upper(note);"),
    ("drop view", "destroy", "DROP VIEW order_view;"),
    (
        "two busy tables",
        "locks",
        "ALTER TABLE orders ADD COLUMN a int;\nALTER TABLE items ADD COLUMN a int;",
    ),
)
#: These matter as soon as there is one row.
WHATEVER_SIZE = {"destroy", "breaks", "fails"}
SAFE = (
    (
        "new table with a key to an old one",
        "CREATE TABLE invoices (id bigint PRIMARY KEY, order_id bigint REFERENCES orders (id));\n"
        "CREATE INDEX invoices_order ON invoices (order_id);",
    ),
    ("nullable column", "ALTER TABLE orders ADD COLUMN extra text;"),
    ("constant default", "ALTER TABLE orders ADD COLUMN flag boolean NOT NULL DEFAULT false;"),
    ("default now()", "ALTER TABLE orders ADD COLUMN seen timestamptz NOT NULL DEFAULT now();"),
    ("wider varchar", "ALTER TABLE orders ALTER COLUMN ref TYPE varchar(200);"),
    ("varchar to text", "ALTER TABLE customers ALTER COLUMN email TYPE text;"),
    ("check not valid", "ALTER TABLE orders ADD CONSTRAINT n CHECK (price_cents > 0) NOT VALID;"),
    ("validate alone", "ALTER TABLE orders VALIDATE CONSTRAINT qty_nv;"),
    ("not null with proof", "ALTER TABLE orders ALTER COLUMN must SET NOT NULL;"),
    ("unique by index", "ALTER TABLE orders ADD CONSTRAINT r UNIQUE USING INDEX orders_ref_uq;"),
    (
        "foreign key not valid",
        "ALTER TABLE items ADD FOREIGN KEY (order_id) REFERENCES orders (id) NOT VALID;",
    ),
    ("new label", "ALTER TYPE status ADD VALUE 'sent' AFTER 'paid';"),
    ("concurrent index", f"{ALONE}CREATE INDEX CONCURRENTLY i ON orders (customer_id);"),
    ("concurrent reindex", f"{ALONE}REINDEX TABLE CONCURRENTLY orders;"),
    (
        "seed",
        "INSERT INTO settings VALUES ('a', 'b', 1) ON CONFLICT DO NOTHING;",
    ),
    ("check on a small table", "ALTER TABLE settings ADD CONSTRAINT s_ck CHECK (n > 0);"),
    ("index on a small table", "CREATE INDEX settings_v ON settings (v);"),
    (
        "comment, grant, default",
        "COMMENT ON TABLE orders IS 'x';\nGRANT SELECT ON orders TO public;\n"
        "ALTER TABLE orders ALTER COLUMN qty SET DEFAULT 1;",
    ),
    (
        "constraint of a domain, not valid",
        "ALTER DOMAIN posint ADD CHECK (VALUE > 0) NOT VALID;",
    ),
    ("detach", "ALTER TABLE events DETACH PARTITION events_2026;"),
    ("storage", "ALTER TABLE orders ALTER COLUMN note SET STORAGE EXTERNAL;"),
    (
        "trigger",
        "CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;\n"
        "CREATE TRIGGER same BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION same();",
    ),
    (
        "one row over an old one",
        "INSERT INTO orders (id, must) VALUES (1, 'm') ON CONFLICT (id) DO UPDATE SET note = '';",
    ),
    ("update by key", "UPDATE orders SET note = 'x' WHERE id = 42;"),
    ("delete of a few", "DELETE FROM orders WHERE id < 5;"),
    (
        "new tables, linked, filled, indexed",
        "CREATE TABLE a (id bigint PRIMARY KEY);\nINSERT INTO a SELECT generate_series(1, 10);\n"
        "CREATE TABLE b (id bigint PRIMARY KEY, a_id bigint);\n"
        "INSERT INTO b SELECT id, id FROM a;\n"
        "ALTER TABLE b ADD CONSTRAINT b_fk FOREIGN KEY (a_id) REFERENCES a (id);\n"
        "CREATE INDEX b_a ON b (a_id);\nALTER TABLE b ALTER COLUMN a_id SET NOT NULL;",
    ),
    ("drop of what the file made", "CREATE TABLE tmp_x (id int);\nDROP TABLE tmp_x;"),
    ("type of a new table", "CREATE TABLE q (n int);\nALTER TABLE q ALTER COLUMN n TYPE bigint;"),
    (
        "rename with a view of the old name",
        "ALTER TABLE customers RENAME TO clients;\nCREATE VIEW customers AS SELECT * FROM clients;",
    ),
    (
        "a view made anew",
        "DROP VIEW order_view;\nCREATE VIEW order_view AS SELECT id, qty, note FROM orders;",
    ),
    ("concurrent refresh", "REFRESH MATERIALIZED VIEW CONCURRENTLY order_mv;"),
    ("rows of an old table into a new one", "CREATE TABLE copy AS SELECT * FROM orders;"),
)
