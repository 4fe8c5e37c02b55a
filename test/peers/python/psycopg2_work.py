"""psycopg2 (libpq, simple protocol) does its everyday work through the gateway.

DATABASE_URL is the agent's connection string. Statements that the default policy holds are answered by whoever runs
this program, in this order: the INSERT of note 7001 is approved, the UPDATE of note 5 is denied with the reason
`not today`, the COPY is approved.
"""
import io
import os
import select

import psycopg2
import psycopg2.extras

from checks import check, contains, equal, run_checks

URL = os.environ["DATABASE_URL"]


@check
def reads_types(connection):
    """psycopg2 reads every common type"""
    with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("SELECT * FROM every_type WHERE id = %s", (1,))
        row = cursor.fetchone()
    equal((row["a_bool"], row["a_bigint"], row["a_text"], row["an_int_array"], bytes(row["a_bytea"])),
          (True, 9223372036854775807, "Grüße 🐘 'quoted' \"too\"", [1, None, 3], b"\x00\xff\x10"))
    equal(row["a_jsonb"], {"b": {"c": 10000000000}})


@check
def parameters(connection):
    """psycopg2 sends parameters of every kind"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, %s::text, %s, %s::int[], %s::bytea",
                       (1, None, "it's; -- \\ \"x\"", [1, 2], psycopg2.Binary(b"\x00\x01")))
        row = cursor.fetchone()
    equal((row[0], row[1], row[2], row[3], bytes(row[4])), (1, None, "it's; -- \\ \"x\"", [1, 2], b"\x00\x01"))


@check
def server_side_cursor(connection):
    """psycopg2 reads through a server-side cursor"""
    with connection.cursor(name="portion") as cursor:
        cursor.itersize = 300
        cursor.execute("SELECT id FROM orders ORDER BY id")
        equal(sum(1 for _ in cursor), 2000)
    connection.commit()


@check
def errors(connection):
    """psycopg2 gets the server's own errors, and the transaction is aborted until its rollback"""
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT 1/0")
            raise AssertionError("a division by zero passed")
        except psycopg2.errors.DivisionByZero as error:
            equal(error.diag.message_primary, "division by zero")
        try:
            cursor.execute("SELECT 1")
            raise AssertionError("the transaction was not aborted")
        except psycopg2.errors.InFailedSqlTransaction:
            connection.rollback()
        cursor.execute("SELECT 1")
        equal(cursor.fetchone(), (1,))


@check
def copy_out(connection):
    """psycopg2 copies out"""
    out = io.StringIO()
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY (SELECT id, name FROM customers ORDER BY id LIMIT 3) TO STDOUT WITH CSV HEADER", out)
    equal(out.getvalue(), "id,name\n1,customer 1\n2,customer 2\n3,customer 3\n")


@check
def notifications(connection):
    """psycopg2 hears a notification of another session"""
    connection.autocommit = True
    other = psycopg2.connect(URL)
    other.autocommit = True
    connection.cursor().execute("LISTEN news")
    other.cursor().execute("NOTIFY news, 'hello'")
    while not connection.notifies:
        if select.select([connection], [], [], 10) == ([], [], []):
            raise AssertionError("no notification in ten seconds")
        connection.poll()
    equal((connection.notifies[0].channel, connection.notifies[0].payload), ("news", "hello"))
    other.close()


@check
def cancel(connection):
    """psycopg2 cancels its own running query"""
    import threading
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    try:
        connection.cursor().execute("SELECT count(*) FROM generate_series(1, 20000000) a, generate_series(1, 1000) b")
        raise AssertionError("the query was not cancelled")
    except psycopg2.errors.QueryCanceled:
        connection.rollback()
    timer.join()


@check
def held_and_approved(connection):
    """psycopg2's held INSERT runs once it is approved, with a notice that names the approval"""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO notes VALUES (%s, %s) RETURNING id", (7001, "from psycopg2"))
        equal(cursor.fetchone(), (7001,))
    connection.commit()
    contains("apr_", "".join(connection.notices))


@check
def held_and_denied(connection):
    """psycopg2's denied UPDATE fails with the reason given"""
    with connection.cursor() as cursor:
        try:
            cursor.execute("UPDATE notes SET body = %s WHERE id = %s", ("changed", 5))
            raise AssertionError("a denied statement ran")
        except psycopg2.errors.InsufficientPrivilege as error:
            contains("not today", f"{error.diag.message_primary} {error.diag.message_detail}")
            contains("retry", error.diag.message_hint)
        connection.rollback()
        cursor.execute("SELECT body FROM notes WHERE id = 5")
        equal(cursor.fetchone(), ("note 5",))


@check
def copy_in(connection):
    """psycopg2's held COPY FROM STDIN loads once it is approved"""
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY notes FROM STDIN", io.StringIO("".join(f"{i}\tcopied\n" for i in range(7100, 7200))))
        connection.commit()
        cursor.execute("SELECT count(*) FROM notes WHERE id BETWEEN 7100 AND 7199")
        equal(cursor.fetchone(), (100,))


@check
def refused(connection):
    """psycopg2 gets the refusal of a destructive statement as an error, and its session goes on"""
    for statement in ("DELETE FROM payments", "DROP TABLE customers", "TRUNCATE orders CASCADE"):
        with connection.cursor() as cursor:
            try:
                cursor.execute(statement)
                raise AssertionError(f"{statement} ran")
            except psycopg2.errors.InsufficientPrivilege as error:
                contains("CRITICAL", f"{error.diag.message_primary} {error.diag.message_detail}")
            connection.rollback()
            cursor.execute("SELECT (SELECT count(*) FROM payments), (SELECT count(*) FROM customers), (SELECT count(*) FROM orders)")
            equal(cursor.fetchone(), (2000, 200, 2000))


run_checks(lambda: psycopg2.connect(URL), lambda connection: connection.close())
