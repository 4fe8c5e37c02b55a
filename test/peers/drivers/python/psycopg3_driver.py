"""psycopg 3: libpq, the extended protocol, statements prepared after five uses, pipelines, binary COPY, notifications."""
import psycopg

from libpq import Libpq
from scenario import NOTE, URL, error, run, told, unexpected


# [connect
def connect():
    return psycopg.connect(URL)
# connect]


class Psycopg3(Libpq):
    def __init__(self):
        super().__init__("psycopg 3", connect, psycopg)

    def own_every_type_in_text_and_binary(self):
        seen = []
        for binary in (False, True):
            with self.connection.cursor(binary=binary) as cursor:
                cursor.execute("SELECT * FROM every_type WHERE id = %s", (1,))
                seen.append([repr(value) for value in cursor.fetchone()])
        return seen

    def own_prepared(self):
        for i in range(1, 21):
            self.rows("SELECT email FROM customers WHERE id = %s", (i,))
        return self.rows("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT email FROM customers%%'")

    def own_scroll(self):
        with self.connection.cursor(name="scroll", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM orders ORDER BY id")
            count = len(cursor.fetchmany(500))
            cursor.scroll(-100)
            return [count, cursor.fetchone()[0]]

    def own_copy(self):
        with self.connection.cursor() as cursor:
            with cursor.copy("COPY (SELECT id FROM orders) TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["int4"])
                count = sum(1 for _ in copy.rows())
            with cursor.copy("COPY notes (id, body) FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "text"])
                for i in range(10, 20):
                    copy.write_row((NOTE + i, "copied"))
        self.connection.commit()
        return [count, self.rows("SELECT count(*) FROM notes WHERE id BETWEEN %s AND %s", (NOTE + 10, NOTE + 19))]

    def own_notice(self):
        self.connection.add_notice_handler(lambda diagnostic: told(diagnostic.message_primary))
        made = self.rows("INSERT INTO notes VALUES (%s, %s) RETURNING id", (NOTE + 40, "announced"))
        self.connection.commit()
        return made

    def own_notify(self):
        with psycopg.connect(URL, autocommit=True) as ear, psycopg.connect(URL, autocommit=True) as mouth:
            ear.execute("LISTEN news")
            mouth.execute("SELECT pg_notify(%s, %s)", ("news", "hello"))
            return [[note.channel, note.payload] for note in ear.notifies(timeout=10, stop_after=1)]

    def own_pipeline(self):
        with self.connection.pipeline():
            cursors = [self.connection.execute("SELECT %s::int * 2", (i,)) for i in range(50)]
            doubled = [cursor.fetchone()[0] for cursor in cursors]
        self.connection.rollback()
        return [doubled, self.pipeline_with("SELECT 1/0"), self.rows("SELECT 1")]

    def own_pipeline_refused(self):
        return [self.pipeline_with("DELETE FROM payments"), self.rows("SELECT count(*) FROM payments")]

    def pipeline_with(self, sql):
        try:
            with self.connection.pipeline():
                self.connection.execute("SELECT 1")
                self.connection.execute(sql)
                self.connection.execute("SELECT 2")
        except psycopg.Error as caught:
            self.connection.rollback()
            return error(caught, caught.diag.sqlstate, caught.diag.message_detail)
        return unexpected()

    def own_pipeline_held(self):
        with self.connection.pipeline():
            before = self.connection.execute("SELECT 1")
            made = self.connection.execute("INSERT INTO notes VALUES (%s, %s) RETURNING id", (NOTE + 30, "in a pipeline"))
            after = self.connection.execute("SELECT 2")
            seen = [cursor.fetchone()[0] for cursor in (before, made, after)]
        self.connection.commit()
        return seen

    def own_large_object(self):
        oid = self.rows("SELECT lo_from_bytea(0, %s)", (b"large" * 1000,))[0][0]
        self.connection.commit()
        read = bytes(self.rows("SELECT lo_get(%s, 4990, 100)", (oid,))[0][0]).decode()
        self.rows("SELECT lo_unlink(%s)", (oid,))
        self.connection.commit()
        return read

    def own_savepoints(self):
        with self.connection.transaction():
            try:
                with self.connection.transaction():
                    self.rows("SELECT 1/0")
            except psycopg.errors.DivisionByZero:
                return self.rows("SELECT 1")
        return unexpected()


run(Psycopg3())
