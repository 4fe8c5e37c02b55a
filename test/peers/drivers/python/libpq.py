"""What psycopg2 and psycopg 3 have in common: the steps of the scenario over a connection of the DB-API."""
from scenario import ENDLESS, NOTE, TYPES, error, repeatedly, unexpected


class Libpq:
    """`connect()` opens a connection, `errors` is the driver's module of exceptions, `name` goes into the notes."""

    def __init__(self, name, connect, errors):
        self.name, self.connect, self.errors = name, connect, errors
        self.connection = connect()

    def rows(self, sql, parameters=None):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return [list(row) for row in cursor.fetchall()] if cursor.description else cursor.rowcount

    def fails(self, sql, parameters=None):
        try:
            self.rows(sql, parameters)
        except self.errors.Error as caught:
            diagnostic = caught.diag
            return error(caught, diagnostic.sqlstate, diagnostic.message_detail, diagnostic.message_hint)
        return unexpected()

    def read(self):
        names = [self.rows("SELECT name FROM customers WHERE id = %s", (i,))[0][0] for i in range(1, 13)]
        types = self.rows(TYPES)
        with self.connection.cursor(name="portion") as cursor:
            cursor.itersize = 300
            cursor.execute("SELECT id FROM orders ORDER BY id")
            count = sum(1 for _ in cursor)
        self.connection.commit()
        failed = self.fails("SELECT 1/0")
        self.connection.rollback()
        return [names, types, count, failed, self.rows("SELECT 1")]

    def held(self):
        self.connection.rollback()
        self.connection.autocommit = True
        made = self.rows("INSERT INTO notes VALUES (%s, %s) RETURNING id", (NOTE, self.name))
        self.connection.autocommit = False
        return [made, self.rows("SELECT body FROM notes WHERE id = %s", (NOTE,))]

    def held_in_transaction(self):
        self.connection.rollback()
        self.rows("INSERT INTO notes VALUES (%s, %s)", (NOTE + 1, "taken back"))
        self.connection.rollback()
        self.rows("INSERT INTO notes VALUES (%s, %s)", (NOTE + 2, "stays"))
        self.connection.commit()
        return self.rows("SELECT id, body FROM notes WHERE id IN (%s, %s)", (NOTE + 1, NOTE + 2))

    def denied(self):
        self.connection.rollback()
        failed = self.fails("UPDATE customers SET name = %s WHERE id = %s", ("changed", 5))
        self.connection.rollback()
        return [failed, self.rows("SELECT name FROM customers WHERE id = 5")]

    def refused(self):
        self.connection.rollback()
        self.connection.autocommit = True
        failed = self.fails("DELETE FROM payments")
        left = self.rows("SELECT count(*) FROM payments")
        self.connection.autocommit = False
        return [failed, left]

    def refused_in_transaction(self):
        self.connection.rollback()
        seen = [self.rows("SELECT count(*) FROM payments"), self.fails("DELETE FROM payments"), self.fails("SELECT 1")]
        self.connection.rollback()
        return [*seen, self.rows("SELECT count(*) FROM payments")]

    def cancel(self):
        self.connection.rollback()
        with repeatedly(self.connection.cancel):
            failed = self.fails(ENDLESS.format("a"))
        self.connection.rollback()
        return [failed, self.rows("SELECT 1")]

    def reconnect(self):
        self.connection.rollback()
        try:
            self.rows(ENDLESS.format("lost"))
        except self.errors.Error:
            self.connection.close()
            self.connection = self.connect()
            return self.rows("SELECT count(*) FROM customers")
        return unexpected()
