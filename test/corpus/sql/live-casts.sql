-- Casts and operators of a user's own that PostgreSQL applies without being asked. They stand apart from the other objects,
-- because where they exist hardly a statement can be shown to be harmless.
CREATE TABLE victim (id int GENERATED ALWAYS AS IDENTITY, how text);
CREATE TABLE one (id int PRIMARY KEY, a int, label text);
INSERT INTO one VALUES (1, 10, 'x');
CREATE FUNCTION wr() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO victim (how) VALUES ('wr'); RETURN 1; END $$;
CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT x * 2 $$;
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TYPE wrap AS (v int);
CREATE TABLE with_mood (id int, m mood, w wrap);
INSERT INTO with_mood VALUES (1, 'ok', ROW(1));
CREATE FUNCTION cmp_wr(a one, b int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM wr(); RETURN true; END $$;
CREATE OPERATOR = (LEFTARG = one, RIGHTARG = int, FUNCTION = cmp_wr);
CREATE FUNCTION mood_int(m mood) RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM wr(); RETURN 1; END $$;
CREATE CAST (mood AS int) WITH FUNCTION mood_int(mood) AS IMPLICIT;
CREATE FUNCTION wrap_json(w wrap) RETURNS json LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM wr(); RETURN '1'; END $$;
CREATE CAST (wrap AS json) WITH FUNCTION wrap_json(wrap);
