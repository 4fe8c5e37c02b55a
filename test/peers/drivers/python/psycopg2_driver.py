"""psycopg2: libpq, the simple protocol, COPY, notifications, and large objects by FunctionCall messages."""
import io
import select

import psycopg2

from libpq import Libpq
from scenario import NOTE, URL, run


# [connect
def connect():
    return psycopg2.connect(URL)
# connect]


class Psycopg2(Libpq):
    def __init__(self):
        super().__init__("psycopg2", connect, psycopg2)

    def own_copy(self):
        out = io.StringIO()
        with self.connection.cursor() as cursor:
            cursor.copy_expert("COPY (SELECT id, name FROM customers ORDER BY id LIMIT 3) TO STDOUT", out)
            cursor.copy_expert("COPY notes FROM STDIN", io.StringIO("".join(f"{NOTE + i}\tcopied\n" for i in range(10, 20))))
        self.connection.commit()
        return [out.getvalue(), self.rows("SELECT count(*) FROM notes WHERE id BETWEEN %s AND %s", (NOTE + 10, NOTE + 19))]

    def own_every_type(self):
        return [repr(bytes(value) if isinstance(value, memoryview) else value) for value in self.rows("SELECT * FROM every_type WHERE id = 1")[0]]

    def own_parameters(self):
        row = self.rows("SELECT %s, %s::text, %s, %s::int[], %s::bytea", (1, None, "it's; -- \\ \"x\"", [1, 2], psycopg2.Binary(b"\x00\x01")))[0]
        return [*row[:4], bytes(row[4]).hex()]

    def own_notify(self):
        other = connect()
        for each in (self.connection, other):
            each.autocommit = True
        self.rows("LISTEN news")
        with other.cursor() as cursor:
            cursor.execute("NOTIFY news, 'hello'")
        while not self.connection.notifies:
            if select.select([self.connection], [], [], 10) == ([], [], []):
                raise AssertionError("no notification in ten seconds")
            self.connection.poll()
        self.rows("UNLISTEN news")
        other.close()
        self.connection.autocommit = False
        return [[note.channel, note.payload] for note in self.connection.notifies]

    def own_large_object(self):
        written = self.connection.lobject(0, "wb")
        written.write(b"large" * 1000)
        oid = written.oid
        written.close()
        self.connection.commit()
        read = self.connection.lobject(oid, "rb")
        read.seek(4990)
        tail = read.read()
        read.close()
        self.connection.commit()
        gone = self.connection.lobject(oid, "n")
        gone.unlink()
        self.connection.commit()
        return tail.decode()


run(Psycopg2())
