-- What statements can reach without naming it: each object below writes to `victim` when something ordinary is done.
CREATE TABLE victim (id int GENERATED ALWAYS AS IDENTITY, how text);
CREATE TABLE one (id int PRIMARY KEY, a int, label text);
INSERT INTO one VALUES (1, 10, 'x'), (2, 20, 'y');
CREATE SCHEMA evil;
CREATE SCHEMA app;

-- Functions (H19, H30, H31, H32).
CREATE FUNCTION wr() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO victim (how) VALUES ('wr'); RETURN 1; END $$;
CREATE FUNCTION wr(x int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO victim (how) VALUES ('wr(int)'); RETURN x; END $$;
CREATE FUNCTION wr_sql() RETURNS int LANGUAGE sql VOLATILE AS $$ INSERT INTO victim (how) VALUES ('wr_sql') RETURNING id $$;
CREATE FUNCTION wr_deep() RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT wr() $$;
CREATE FUNCTION wr_atomic() RETURNS int LANGUAGE sql VOLATILE BEGIN ATOMIC INSERT INTO victim (how) VALUES ('wr_atomic') RETURNING id; END;
CREATE FUNCTION wr_rows() RETURNS SETOF int LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM wr(); RETURN NEXT 1; END $$;
CREATE FUNCTION wr_dynamic() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN EXECUTE 'insert into victim (how) values (''dynamic'')'; RETURN 1; END $$;
CREATE FUNCTION wr_text(x text) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT wr() $$;
CREATE FUNCTION wr_default(x int DEFAULT wr()) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT x $$;
CREATE FUNCTION wr_variadic(VARIADIC x int[]) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT wr() $$;
CREATE FUNCTION wr_named(a int DEFAULT 1, b int DEFAULT 2) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT wr() $$;
CREATE FUNCTION definer() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN DELETE FROM one; RETURN 1; END $$;
CREATE FUNCTION lies_immutable(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT wr(x) $$;
CREATE FUNCTION lies_stable() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN wr(); END $$;
CREATE FUNCTION kills() RETURNS bool LANGUAGE sql AS $$ SELECT pg_terminate_backend(0) $$;
CREATE FUNCTION locks() RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_lock(4711) $$;
CREATE FUNCTION sets() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '5MB', false) $$;
CREATE FUNCTION notifies() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('ch', 'x'); END $$;
CREATE FUNCTION makes() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE made (a int); END $$;
CREATE FUNCTION evil.lower(x text) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT wr()::text $$;
CREATE FUNCTION sets_path() RETURNS text LANGUAGE sql SET search_path = evil, pg_catalog AS $$ SELECT lower('X') $$;
CREATE FUNCTION app.lower(x int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT wr() $$;
CREATE FUNCTION public.lower(x int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT wr() $$;
CREATE PROCEDURE proc() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO victim (how) VALUES ('proc'); END $$;
CREATE AGGREGATE agg_wr (int) (SFUNC = int4pl, STYPE = int, FINALFUNC = wr, INITCOND = '0');
CREATE FUNCTION step(s int, x int) RETURNS int LANGUAGE plpgsql VOLATILE STRICT AS $$ BEGIN PERFORM wr(); RETURN s; END $$;
CREATE AGGREGATE agg_step (int) (SFUNC = step, STYPE = int, INITCOND = '0');
CREATE AGGREGATE win_wr (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', MSFUNC = step, MINVFUNC = int4mi, MSTYPE = int, MINITCOND = '0');

-- Attribute notation (H20).
CREATE FUNCTION purge(r one) RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO victim (how) VALUES ('purge'); RETURN 1; END $$;

-- Operators (H21).
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = step);
CREATE OPERATOR @#@ (RIGHTARG = int, FUNCTION = wr);
CREATE OPERATOR evil.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = step);

-- Casts, types and domains (H22, H23).
CREATE TYPE wrap AS (v int);
CREATE FUNCTION to_wrap(x int) RETURNS wrap LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM wr(); RETURN ROW(x)::wrap; END $$;
CREATE CAST (int AS wrap) WITH FUNCTION to_wrap(int) AS ASSIGNMENT;
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE FUNCTION chk(x int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO victim (how) VALUES ('chk'); RETURN true; END $$;
CREATE DOMAIN dom AS int CHECK (chk(value));
CREATE DOMAIN dom2 AS dom;
CREATE TYPE holds_dom AS (d dom);
CREATE DOMAIN plain_dom AS int CHECK (value > 0);
CREATE TABLE with_dom (id int, d dom, m mood, w wrap);
INSERT INTO with_dom VALUES (1, 1, 'ok', ROW(1));

-- Views and rules (H13, H24).
CREATE VIEW v_calls AS SELECT wr() AS a, id FROM one;
CREATE VIEW v_where AS SELECT id FROM one WHERE wr() > 0;
CREATE VIEW v_nested AS SELECT * FROM v_calls;
CREATE VIEW v_plain AS SELECT id, upper(label) AS label FROM one;
CREATE VIEW v_attr AS SELECT one.purge FROM one;
CREATE VIEW v_rule AS SELECT id, a FROM one;
CREATE RULE r AS ON UPDATE TO v_rule DO INSTEAD DELETE FROM one;
CREATE VIEW v_instead AS SELECT id, a FROM one;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM one; RETURN NULL; END $$;
CREATE TRIGGER t INSTEAD OF INSERT OR UPDATE OR DELETE ON v_instead FOR EACH ROW EXECUTE FUNCTION instead();
CREATE MATERIALIZED VIEW mv AS SELECT id, label FROM one;

-- What hangs on tables (H25).
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO victim (how) VALUES ('trigger'); RETURN NULL; END $$;
CREATE TABLE with_trigger (id int);
CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON with_trigger FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TABLE with_default (id int DEFAULT wr(), b int);
CREATE TABLE with_check (id int CHECK (chk(id)));
CREATE FUNCTION chk_i(x int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM wr(); RETURN true; END $$;
CREATE FUNCTION chk_sql(x int) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT chk_i(1) OR x > 0 $$;
CREATE FUNCTION chk_left_out(x int, y int DEFAULT wr()) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$;
CREATE TABLE with_check_of_constant (id int CHECK (chk_i(1) AND id > 0));
CREATE TABLE with_check_inlined (id int CHECK (chk_sql(id)));
CREATE TABLE with_check_left_out (id int CHECK (chk_left_out(id)));
CREATE TABLE with_check_cast (name varchar(9) CHECK (chk(name::text::int)), other int CHECK (chk(other)));
CREATE TABLE with_index (id int);
CREATE FUNCTION idx(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM wr(); RETURN x; END $$;
CREATE INDEX ON with_index (idx(id));
CREATE TABLE with_policy (id int);
INSERT INTO with_policy VALUES (1);
ALTER TABLE with_policy ENABLE ROW LEVEL SECURITY;
ALTER TABLE with_policy FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON with_policy USING (wr() > 0);
CREATE TABLE generated (id int, g int GENERATED ALWAYS AS (lies_immutable(id)) STORED);
CREATE TABLE virtual (id int, g int GENERATED ALWAYS AS (abs(id)) VIRTUAL);
CREATE TABLE parted (id int, k int) PARTITION BY LIST (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TRIGGER t AFTER INSERT ON parted_1 FOR EACH ROW EXECUTE FUNCTION audit();
CREATE VIEW v_policy AS SELECT * FROM with_policy;

-- Foreign keys and sequences (H53, H69).
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE grandchild (id int, child_id int REFERENCES child ON DELETE SET NULL);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); INSERT INTO grandchild VALUES (1, 1);
CREATE SEQUENCE seq;

-- A foreign table whose wrapper has no handler: reading it fails here, but its kind says enough (H34).
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far (a int) SERVER elsewhere;
CREATE VIEW v_far AS SELECT * FROM far;

-- Harmless things of a user's own: judged HIGH, they would make ordinary schemas useless.
CREATE FUNCTION full_label(o one) RETURNS text LANGUAGE sql STABLE AS $$ SELECT o.label || '!' $$;
CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT x * 2 $$;
CREATE FUNCTION biggest() RETURNS int LANGUAGE plpgsql STABLE AS $$ DECLARE m int; BEGIN SELECT max(a) INTO m FROM one; RETURN coalesce(m, 0); END $$;
CREATE FUNCTION labels(minimum int) RETURNS TABLE (label text) LANGUAGE sql STABLE AS $$ SELECT o.label FROM one o WHERE o.a >= minimum $$;
CREATE FUNCTION grade(x int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF x > 15 THEN RETURN 'high'; END IF; RETURN 'low'; END $$;
CREATE FUNCTION atomic(x int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT x + 1; END;
