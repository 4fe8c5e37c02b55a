-- The tables that the ordinary reads are about: a shop, as a tool would find it.
CREATE TYPE order_status AS ENUM ('new', 'paid', 'shipped', 'returned');
CREATE DOMAIN email AS text CHECK (value LIKE '%@%');
CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  email text NOT NULL UNIQUE,
  city text,
  country text NOT NULL DEFAULT 'SE',
  tags text[] NOT NULL DEFAULT '{}',
  profile jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT now(),
  deleted_at timestamptz
);
CREATE TABLE products (
  id serial PRIMARY KEY,
  sku varchar(40) NOT NULL UNIQUE,
  title text NOT NULL,
  description text,
  price numeric(10, 2) NOT NULL CHECK (price >= 0),
  parent_id integer REFERENCES products (id),
  search tsvector GENERATED ALWAYS AS (to_tsvector('english', title || ' ' || coalesce(description, ''))) STORED
);
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id bigint NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
  status order_status NOT NULL DEFAULT 'new',
  total numeric(12, 2) NOT NULL DEFAULT 0,
  placed_at timestamptz NOT NULL DEFAULT now(),
  note text
);
CREATE TABLE order_items (
  order_id bigint NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
  product_id integer NOT NULL REFERENCES products (id),
  quantity integer NOT NULL CHECK (quantity > 0),
  price numeric(10, 2) NOT NULL,
  PRIMARY KEY (order_id, product_id)
);
CREATE TABLE payments (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  order_id bigint NOT NULL REFERENCES orders (id),
  amount numeric(12, 2) NOT NULL,
  method text NOT NULL,
  paid_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE events (
  id bigint GENERATED ALWAYS AS IDENTITY,
  customer_id bigint,
  kind text NOT NULL,
  payload jsonb NOT NULL DEFAULT '{}',
  ip inet,
  at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (at);
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE INDEX orders_customer ON orders (customer_id, placed_at DESC);
CREATE INDEX customers_lower_email ON customers (lower(email));
CREATE INDEX products_search ON products USING gin (search);
CREATE VIEW open_orders AS
  SELECT o.id, o.customer_id, c.name, o.total, o.placed_at FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.status IN ('new', 'paid');
CREATE MATERIALIZED VIEW sales_by_day AS
  SELECT date_trunc('day', placed_at) AS day, count(*) AS orders, sum(total) AS total FROM orders GROUP BY 1;
CREATE FUNCTION order_age(o orders) RETURNS interval LANGUAGE sql STABLE AS 'SELECT now() - o.placed_at';
INSERT INTO customers (name, email, city, profile)
  SELECT 'Customer ' || i, 'c' || i || '@example.test', (ARRAY['Lund', 'Kiruna', 'Visby'])[i % 3 + 1], jsonb_build_object('age', 20 + i, 'plan', 'free') FROM generate_series(1, 40) i;
INSERT INTO products (sku, title, description, price) SELECT 'sku-' || i, 'Product ' || i, 'A thing', i * 1.5 FROM generate_series(1, 20) i;
INSERT INTO orders (customer_id, status, total, placed_at) SELECT i % 40 + 1, (enum_range(NULL::order_status))[i % 4 + 1], i * 3, now() - i * interval '1 hour' FROM generate_series(1, 200) i;
INSERT INTO order_items SELECT o, o % 20 + 1, 2, 3.5 FROM generate_series(1, 200) o;
INSERT INTO payments (order_id, amount, method) SELECT o, o * 3, 'card' FROM generate_series(1, 100) o;
INSERT INTO events (customer_id, kind, payload, ip) SELECT i % 40 + 1, 'view', jsonb_build_object('page', i), '10.0.0.1' FROM generate_series(1, 100) i;
REFRESH MATERIALIZED VIEW sales_by_day;
