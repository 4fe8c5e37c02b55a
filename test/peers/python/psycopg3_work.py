"""psycopg 3 (libpq, extended protocol, pipeline mode) does its everyday work through the gateway.

DATABASE_URL is the agent's connection string. Held statements are answered in this order: the INSERT of note 7301 is
approved, the INSERT inside a pipeline is approved.
"""
import os

import psycopg
from psycopg.rows import dict_row

from checks import check, contains, equal, run_checks

URL = os.environ["DATABASE_URL"]


@check
def reads_types(connection):
    """psycopg 3 reads every common type in text and in binary"""
    for binary in (False, True):
        with connection.cursor(row_factory=dict_row, binary=binary) as cursor:
            row = cursor.execute("SELECT id, a_bool, a_bigint, a_text, a_bytea, a_jsonb, a_uuid, a_date, an_int_array, a_range"
                                 " FROM every_type WHERE id = %s", (1,)).fetchone()
        equal((row["a_bool"], row["a_bigint"], row["an_int_array"], row["a_bytea"]),
              (True, 9223372036854775807, [1, None, 3], b"\x00\xff\x10"))


@check
def prepared(connection):
    """psycopg 3 prepares a statement on the server after five uses and goes on using it"""
    for i in range(1, 21):
        equal(connection.execute("SELECT name FROM customers WHERE id = %s", (i,)).fetchone(), (f"customer {i}",))
    equal(connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0] >= 1, True)


@check
def pipeline(connection):
    """psycopg 3 pipelines fifty statements, and a failed one aborts only what follows it up to the next sync"""
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int * 2", (i,)) for i in range(50)]
        equal([cursor.fetchone()[0] for cursor in cursors], [i * 2 for i in range(50)])
    try:
        with connection.pipeline() as pipe:
            connection.execute("SELECT 1")
            connection.execute("SELECT 1/0")
            connection.execute("SELECT 2")
            pipe.sync()
        raise AssertionError("the error was lost")
    except psycopg.errors.DivisionByZero:
        connection.rollback()
    equal(connection.execute("SELECT 3").fetchone(), (3,))


@check
def refused_in_pipeline(connection):
    """psycopg 3 gets the refusal of one statement in a pipeline, and nothing of it has run"""
    try:
        with connection.pipeline():
            connection.execute("SELECT 1")
            connection.execute("DELETE FROM payments")
            connection.execute("SELECT 2")
        raise AssertionError("the refusal was lost")
    except psycopg.errors.InsufficientPrivilege as error:
        contains("CRITICAL", f"{error.diag.message_primary} {error.diag.message_detail}")
    connection.rollback()
    equal(connection.execute("SELECT count(*) FROM payments").fetchone(), (2000,))


@check
def server_side_cursor(connection):
    """psycopg 3 reads through a server-side cursor, forwards and back"""
    with connection.cursor(name="portion", scrollable=True) as cursor:
        cursor.execute("SELECT id FROM orders ORDER BY id")
        equal(len(cursor.fetchmany(500)), 500)
        cursor.scroll(-100)
        equal(cursor.fetchone(), (401,))


@check
def copy_out(connection):
    """psycopg 3 copies out in binary"""
    with connection.cursor() as cursor, cursor.copy("COPY (SELECT id FROM orders) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4"])
        equal(sum(1 for _ in copy.rows()), 2000)


@check
def savepoints(connection):
    """psycopg 3's nested transactions roll back to their savepoint"""
    with connection.transaction():
        try:
            with connection.transaction():
                connection.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            pass
        equal(connection.execute("SELECT 1").fetchone(), (1,))


@check
def held(connection):
    """psycopg 3's held INSERT with parameters runs once it is approved"""
    with connection.transaction():
        cursor = connection.execute("INSERT INTO notes VALUES (%s, %s) RETURNING id", (7301, "from psycopg 3"))
        equal(cursor.fetchone(), (7301,))


@check
def held_in_pipeline(connection):
    """psycopg 3's pipeline goes on in order after a held statement in it is approved"""
    connection.autocommit = True
    with connection.pipeline():
        first = connection.execute("SELECT 1")
        insert = connection.execute("INSERT INTO notes VALUES (%s, %s) RETURNING id", (7302, "piped"))
        last = connection.execute("SELECT count(*) FROM notes WHERE id = 7302")
        equal((first.fetchone(), insert.fetchone(), last.fetchone()), ((1,), (7302,), (1,)))


run_checks(lambda: psycopg.connect(URL), lambda connection: connection.close())
