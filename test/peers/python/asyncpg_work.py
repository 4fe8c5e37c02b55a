"""asyncpg (its own implementation of the protocol, binary formats, introspection of types) works through the gateway.

DATABASE_URL is the agent's connection string. Held statements are answered in this order: the INSERT of note 7401 is
approved, the COPY is approved.
"""
import asyncio
import os

import asyncpg

from checks import check, equal, run_checks

URL = os.environ["DATABASE_URL"]
loop = asyncio.new_event_loop()


def asynchronous(function):
    def run(connection):
        loop.run_until_complete(function(connection))
    run.__doc__ = function.__doc__
    return check(run)


@asynchronous
async def reads_types(connection):
    """asyncpg reads common types in binary, with user-defined ones looked up in the catalog"""
    row = await connection.fetchrow("SELECT * FROM every_type WHERE id = $1", 1)
    equal((row["a_bigint"], row["an_enum"], row["an_int_array"], row["a_bytea"]), (9223372036854775807, "busy", [1, None, 3], b"\x00\xff\x10"))


@asynchronous
async def user_types_as_parameters(connection):
    """asyncpg sends a parameter of a user-defined type"""
    equal(await connection.fetchval("SELECT id FROM every_type WHERE an_enum = $1", "busy"), 1)


@asynchronous
async def statements_again(connection):
    """asyncpg reuses its cached statements"""
    for i in range(1, 51):
        equal(await connection.fetchval("SELECT name FROM customers WHERE id = $1", i), f"customer {i}")


@asynchronous
async def cursors(connection):
    """asyncpg reads through a portal inside a transaction"""
    async with connection.transaction(readonly=True):
        equal([row["id"] async for row in connection.cursor("SELECT id FROM orders ORDER BY id", prefetch=100)], list(range(1, 2001)))


@asynchronous
async def cancel(connection):
    """asyncpg cancels a query that takes too long"""
    try:
        await connection.fetchval("SELECT count(*) FROM generate_series(1, 20000000) a, generate_series(1, 1000) b", timeout=0.5)
        raise AssertionError("the query was not cancelled")
    except asyncio.TimeoutError:
        equal(await connection.fetchval("SELECT 1"), 1)


@asynchronous
async def refused(connection):
    """asyncpg gets the refusal at Parse, and its connection goes on"""
    try:
        await connection.execute("DELETE FROM payments WHERE true OR id = $1", 1)
        raise AssertionError("it ran")
    except asyncpg.InsufficientPrivilegeError as error:
        equal("CRITICAL" in f"{error} {error.detail}", True)
    equal(await connection.fetchval("SELECT count(*) FROM payments"), 2000)


@asynchronous
async def held(connection):
    """asyncpg's held INSERT runs once it is approved"""
    equal(await connection.fetchval("INSERT INTO notes VALUES ($1, $2) RETURNING id", 7401, "from asyncpg"), 7401)


@asynchronous
async def copy_in(connection):
    """asyncpg's held binary COPY loads once it is approved"""
    equal(await connection.copy_records_to_table("notes", records=[(i, "copied") for i in range(7500, 7600)]), "COPY 100")


@asynchronous
async def released(connection):
    """asyncpg's pool resets its connection without losing it"""
    async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
        for _ in range(3):
            async with pool.acquire() as pooled:
                equal(await pooled.fetchval("SELECT 1"), 1)


run_checks(lambda: loop.run_until_complete(asyncpg.connect(URL)), lambda connection: loop.run_until_complete(connection.close()))
