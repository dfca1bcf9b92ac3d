-- A company's database with tables of all kinds, in five schemas. Rows are few, and their values are awkward.
CREATE SCHEMA shop;
CREATE SCHEMA crm;
CREATE SCHEMA iot;
CREATE SCHEMA hr;
CREATE SCHEMA "Old Data";

CREATE TYPE shop.order_state AS ENUM ('new', 'paid', 'on the way', 'it''s "done"');
CREATE TYPE shop.address AS (street text, number int, tags text[]);
CREATE DOMAIN shop.email AS varchar(200) CHECK (VALUE LIKE '%@%');
CREATE DOMAIN shop.amount AS numeric(12, 2);

-- The shop: keys of all kinds, most with a timestamp.
CREATE TABLE shop.customers (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email shop.email UNIQUE, full_name text NOT NULL, born date,
    home shop.address, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.addresses (
    customer_id int, kind char(4), city text, updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (customer_id, kind));
CREATE TABLE shop.products (
    sku uuid PRIMARY KEY, name text, price numeric(10, 2), attributes jsonb, tags text[], weight real,
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.categories (id smallint PRIMARY KEY, parent smallint, title text);
CREATE TABLE shop.product_categories (sku uuid, category_id smallint, PRIMARY KEY (sku, category_id));
CREATE TABLE shop.prices (sku uuid, valid daterange, price money, exact numeric(30, 15));
CREATE TABLE shop.orders (
    id bigint PRIMARY KEY, customer_id int, state shop.order_state, total shop.amount, placed timestamp,
    updated_at timestamp NOT NULL DEFAULT now());
CREATE TABLE shop.order_lines (
    order_id bigint, line int, sku uuid, quantity int, price numeric(10, 2),
    total numeric(14, 2) GENERATED ALWAYS AS (quantity * price) STORED,
    updated_at timestamptz, PRIMARY KEY (order_id, line));
CREATE TABLE shop.payments (
    id uuid PRIMARY KEY, order_id bigint, amount numeric, paid_at timestamptz(3), raw json,
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.refunds (id int PRIMARY KEY, reason text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.shipments (id int PRIMARY KEY, took interval, cut_off time, cut_off_tz timetz, origin inet);
CREATE TABLE shop.coupons (code text PRIMARY KEY, value shop.amount, uses int[], active boolean);
CREATE UNLOGGED TABLE shop.carts (session text, items jsonb[], seen timestamptz);
CREATE TABLE shop.reviews (id int PRIMARY KEY, stars numeric(2, 1), body text, updated_at timestamptz);
CREATE TABLE shop.wishlists (customer text, product text);
CREATE TABLE shop.invoices (number varchar(20) PRIMARY KEY, pdf bytea, pages bytea[]);
CREATE TABLE shop."order" ("select" int PRIMARY KEY, "from" text, "order" int, "group" timestamptz);
CREATE TABLE shop."Price List" (
    "Order Id" int PRIMARY KEY, "Größe" text, "Preis (€)" numeric(8, 2), "1st" boolean,
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop."Übersicht" ("Kunde/Nr" text, "日本" int, "Order Id" int);
CREATE TABLE shop."odd.name" (id int PRIMARY KEY, "a.b" text, "with ""quotes""" text, "with,comma" int);
CREATE TABLE shop.unique_only (code text NOT NULL, label text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX ON shop.unique_only (code);
CREATE TABLE shop.nothing ();
CREATE TABLE shop.empty (id int PRIMARY KEY, note text);
CREATE VIEW shop.open_orders AS SELECT id, total FROM shop.orders WHERE state <> 'new';
CREATE MATERIALIZED VIEW shop.totals AS SELECT 1 AS customer_id, 12.50::numeric(10, 2) AS total;
CREATE MATERIALIZED VIEW shop.not_filled AS SELECT 1 AS one WITH NO DATA;

-- The CRM: nullable, local, far and missing timestamps; partitions of two levels.
CREATE TABLE crm.accounts (id uuid PRIMARY KEY, name text, site text, updated_at timestamp);
CREATE TABLE crm.contacts (id bigserial PRIMARY KEY, name text, phones text[], updated_at timestamptz);
CREATE TABLE crm.leads (id int PRIMARY KEY, score double precision, "updatedAt" timestamptz);
CREATE TABLE crm.campaigns (id int PRIMARY KEY, runs tstzrange, budget numeric(38, 9), updated_at timestamptz NOT NULL);
CREATE TABLE crm.tickets (id int PRIMARY KEY, subject text, search tsvector, updated_at date);
CREATE TABLE crm."user" (id int PRIMARY KEY, login name, flags bit(4), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE crm.activities (
    at timestamptz NOT NULL, kind text NOT NULL, note text, updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (at, kind)) PARTITION BY RANGE (at);
CREATE TABLE crm.activities_2025 PARTITION OF crm.activities FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY LIST (kind);
CREATE TABLE crm.activities_2025_calls PARTITION OF crm.activities_2025 FOR VALUES IN ('call');
CREATE TABLE crm.activities_2025_rest PARTITION OF crm.activities_2025 DEFAULT;
CREATE TABLE crm.activities_rest PARTITION OF crm.activities DEFAULT;
CREATE TABLE crm.notes (body text, author oid, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE crm.future (id int PRIMARY KEY, what text, updated_at timestamptz NOT NULL);
CREATE TABLE crm.forever (id int PRIMARY KEY, until text, updated_at timestamptz);
CREATE TABLE crm.secrets (id int PRIMARY KEY, body text);
ALTER TABLE crm.secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON crm.secrets USING (id = 1);
CREATE FOREIGN DATA WRAPPER elsewhere;
CREATE SERVER far_away FOREIGN DATA WRAPPER elsewhere;
CREATE FOREIGN TABLE crm.partners (id int, name text) SERVER far_away;

-- Devices: wide, geometric, ranged, hashed.
CREATE TABLE iot.devices (
    mac macaddr PRIMARY KEY, ip inet, net cidr, place point, area box, seen timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE iot.readings (device int, at timestamp, value real, values_of double precision[]) PARTITION BY HASH (device);
CREATE TABLE iot.readings_0 PARTITION OF iot.readings FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE iot.readings_1 PARTITION OF iot.readings FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE iot.calibrations (id int PRIMARY KEY, i int4range, n numrange, d date[], t time[], m money[], u uuid[]);
CREATE TABLE iot.log (at timestamptz, line text, context jsonb);
CREATE TABLE iot.states (on_off boolean PRIMARY KEY, label text);
CREATE TABLE iot.daily (day date PRIMARY KEY, sum numeric(20, 4), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE iot.floats (id int PRIMARY KEY, f double precision, r real, b numeric(36, 18));

-- Staff: inheritance, and a child with columns of its own.
CREATE TABLE hr.people (id int PRIMARY KEY, name text);
CREATE TABLE hr.managers (level int, PRIMARY KEY (id)) INHERITS (hr.people);
CREATE TABLE hr.interns () INHERITS (hr.people);
CREATE TABLE hr.salaries (person int, since date, amount numeric(12, 2), PRIMARY KEY (person, since));
CREATE TABLE hr.absences (person int, days daterange, half boolean, days_off int4multirange);
CREATE TABLE hr.reviews (person int PRIMARY KEY, text text, updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE hr.quota (person int PRIMARY KEY, share numeric);

CREATE TABLE "Old Data"."Kunden 1998" ("KdNr" int PRIMARY KEY, "Name" text, "Geändert" timestamp);
CREATE TABLE "Old Data".orders (id int, payload text);

-- Lists of codes, as each schema has many of them.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['countries', 'currencies', 'languages', 'units', 'colours', 'sizes', 'carriers', 'taxes',
                                'channels', 'reasons', 'regions', 'brands'] LOOP
        EXECUTE format('CREATE TABLE shop.%I (code text PRIMARY KEY, label text, sort int, valid_from date)', name);
        EXECUTE format('INSERT INTO shop.%I SELECT %L || n, repeat(''é'', n), n, date ''2020-02-29'' + n
                        FROM generate_series(1, 5) AS n', name, name);
    END LOOP;
    EXECUTE 'CREATE TABLE iot.wide (id int PRIMARY KEY, ' ||
            (SELECT string_agg(format('c%s %s', n, (ARRAY['text', 'int', 'numeric(9, 3)', 'timestamptz', 'jsonb'])[1 + n % 5]),
                               ', ') FROM generate_series(1, 199) AS n) || ')';
END $$;
INSERT INTO iot.wide (id, c1, c2, c3, c4, c195, c199) VALUES
    (1, 7, 1.125, now(), '{"a": [1, null]}', 'text', '[]'), (2, NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO shop.customers (email, full_name, born, home)
    SELECT 'c' || n || '@example.org', (ARRAY['Ana', 'O''Brien, "Bob"', E'two\nlines\t', 'Łukasz 美咲 🙂', '\N', ''])[1 + n % 6],
           CASE WHEN n % 4 > 0 THEN date '1970-01-01' - n * 100 END, ROW('Rue, "1"', n, '{a,NULL}')::shop.address
    FROM generate_series(1, 60) AS n;
INSERT INTO shop.addresses (customer_id, kind, city) SELECT n / 2, (ARRAY['home', 'work'])[1 + n % 2], 'Gdańsk'
    FROM generate_series(2, 41) AS n;
INSERT INTO shop.products SELECT md5(n::text)::uuid, 'product ' || n, n * 1.01, jsonb_build_object('n', n, 'deep', jsonb_build_array(n, NULL, true)),
    CASE WHEN n % 3 > 0 THEN ARRAY['x', 'y"', ''] ELSE '{}' END, n / 3.0 FROM generate_series(1, 30) AS n;
INSERT INTO shop.categories VALUES (1, NULL, 'all'), (2, 1, 'some'), (-32768, 2, '');
INSERT INTO shop.product_categories SELECT md5(n::text)::uuid, 1 + n % 2 FROM generate_series(1, 10) AS n;
INSERT INTO shop.prices VALUES (md5('1')::uuid, '[2020-01-01,)', 12.34, 0.000000000000001), (NULL, 'empty', -5, 1e10);
INSERT INTO shop.orders SELECT n, n % 7, (enum_range(NULL::shop.order_state))[1 + n % 4], n + 0.5, '2024-02-29 12:00' FROM generate_series(1, 50) AS n;
INSERT INTO shop.order_lines (order_id, line, sku, quantity, price, updated_at) SELECT n, l, md5(n::text)::uuid, l, 1.99, CASE WHEN n % 5 > 0 THEN now() END
    FROM generate_series(1, 20) AS n, generate_series(1, 3) AS l;
INSERT INTO shop.payments VALUES (md5('a')::uuid, 1, 99.990, '2024-12-31 23:59:59.999+02', '{"a":  1}', now());
INSERT INTO shop.shipments VALUES (1, '1 year 2 mons -3 days 04:05:06.789', '23:59:59.999999', '12:00+02', '::1'), (2, NULL, NULL, NULL, NULL);
INSERT INTO shop.coupons VALUES ('A', 1.00, '{1,2}', true), ('B', NULL, NULL, NULL), ('', 0, '{}', false);
INSERT INTO shop.carts VALUES ('s', ARRAY['{"a": 1}'::jsonb], now()), ('t', NULL, NULL);
INSERT INTO shop.reviews VALUES (1, 4.5, E'"quoted",\r\nnew line', now()), (2, NULL, NULL, NULL), (3, 0, '', '1999-12-31');
INSERT INTO shop.wishlists VALUES ('a', 'b'), ('a', 'b'), (NULL, NULL), ('', '');
INSERT INTO shop.invoices VALUES ('2024-1', '\x00ff', ARRAY['\x01'::bytea]), ('2024-2', '', NULL), ('2024-3', NULL, '{}');
INSERT INTO shop."order" VALUES (1, 'x', 2, now()), (2, NULL, NULL, NULL);
INSERT INTO shop."Price List" VALUES (1, 'XL', 9.99, true), (2, 'ß', NULL, NULL);
INSERT INTO shop."Übersicht" VALUES ('a/1', 1, 2), (NULL, NULL, NULL);
INSERT INTO shop."odd.name" VALUES (1, 'x', 'y', 3);
INSERT INTO shop.unique_only VALUES ('a', 'b');
REFRESH MATERIALIZED VIEW shop.totals;
INSERT INTO crm.accounts VALUES (md5('1')::uuid, 'ACME', NULL, '2024-01-01 00:00:00.000001'), (md5('2')::uuid, 'B', '', NULL);
INSERT INTO crm.contacts (name, phones, updated_at) SELECT 'contact ' || n, ARRAY['+48 ' || n], CASE n % 3 WHEN 0 THEN NULL ELSE now() END
    FROM generate_series(1, 30) AS n;
INSERT INTO crm.leads VALUES (1, 0.1, now()), (2, 'NaN', NULL), (3, '-Infinity', NULL), (4, -0.0, NULL), (5, 1e-310, NULL);
INSERT INTO crm.campaigns VALUES (1, '["2024-01-01 00:00+00","2024-02-01 00:00+00")', 12345678901234567890123456789.123456789, now());
INSERT INTO crm.tickets VALUES (1, 'broken', to_tsvector('simple', 'it is broken'), '2024-05-01');
INSERT INTO crm."user" VALUES (1, 'ann', '1010');
INSERT INTO crm.activities SELECT timestamptz '2024-12-31 00:00+00' + n * interval '10 days', (ARRAY['call', 'mail'])[1 + n % 2], n::text
    FROM generate_series(1, 50) AS n;
INSERT INTO crm.notes VALUES ('a', 1), ('a', NULL);
INSERT INTO crm.future VALUES (1, 'done', now()), (2, 'planned', now() + interval '10 years');
INSERT INTO crm.forever VALUES (1, 'now', now()), (2, 'always', 'infinity'), (3, 'never', NULL);
INSERT INTO crm.secrets VALUES (1, 'mine'), (2, 'theirs');
INSERT INTO iot.devices VALUES ('08:00:2b:01:02:03', '10.0.0.1/8', '10.0.0.0/8', '(1.5,-2)', '(1,1),(0,0)', NULL);
INSERT INTO iot.readings SELECT n, timestamp '2024-01-01' + n * interval '1 microsecond', n / 7.0, ARRAY[n / 7.0, 0] FROM generate_series(1, 40) AS n;
INSERT INTO iot.calibrations VALUES (1, '[1,5)', '(0.1,0.2]', '{2024-01-01}', '{10:00}', ARRAY[1.25::money], ARRAY[md5('1')::uuid]);
INSERT INTO iot.calibrations (id) VALUES (2);
INSERT INTO iot.log SELECT now(), 'line ' || n, jsonb_build_object('n', n) FROM generate_series(1, 25) AS n;
INSERT INTO iot.states VALUES (true, 'on'), (false, 'off');
INSERT INTO iot.daily SELECT date '2024-01-01' + n, n * 0.0001 FROM generate_series(1, 20) AS n;
INSERT INTO iot.floats VALUES (1, 1 / 3.0, 1 / 3.0, 0.123456789012345678), (2, 'Infinity', 'NaN', -1e17);
INSERT INTO hr.people VALUES (1, 'Ann');
INSERT INTO hr.managers (id, name, level) VALUES (2, 'Bea', 3);
INSERT INTO hr.interns VALUES (3, 'Cem');
INSERT INTO hr.salaries VALUES (1, '2020-01-01', 100.10), (1, '2021-01-01', 100.20);
INSERT INTO hr.absences VALUES (1, '[2024-01-01,2024-01-03)', false, '{[1,3),[7,9)}');
INSERT INTO hr.reviews VALUES (1, 'good');
INSERT INTO hr.quota VALUES (1, 0.5), (2, 'NaN');
INSERT INTO "Old Data"."Kunden 1998" VALUES (1, 'Meyer', '1998-03-29 02:30'), (2, NULL, NULL);
INSERT INTO "Old Data".orders VALUES (1, 'old');
CREATE TEMPORARY TABLE gone (id int);
ANALYZE;
