"""asyncpg: its own implementation of the protocol, binary formats, its cache of statements, types looked up in the catalog."""
import asyncio

import asyncpg

from scenario import ENDLESS, NOTE, TYPES, URL, error, run, unexpected


# [connect
async def connect():
    return await asyncpg.connect(URL)
# connect]


class Asyncpg:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.connection = self.wait(connect())

    def wait(self, awaited):
        return self.loop.run_until_complete(awaited)

    def rows(self, sql, *parameters):
        return [list(row) for row in self.wait(self.connection.fetch(sql, *parameters))]

    def fails(self, sql, *parameters):
        try:
            self.rows(sql, *parameters)
        except asyncpg.PostgresError as caught:
            return error(caught, caught.sqlstate, caught.detail, caught.hint)
        return unexpected()

    def read(self):
        names = [self.rows("SELECT name FROM customers WHERE id = $1", i)[0][0] for i in range(1, 13)]
        return [names, self.rows(TYPES), self.wait(self.portions()), self.fails("SELECT 1/0"), self.rows("SELECT 1")]

    async def portions(self):
        async with self.connection.transaction(readonly=True):
            return len([row async for row in self.connection.cursor("SELECT id FROM orders ORDER BY id", prefetch=100)])

    def held(self):
        made = self.rows("INSERT INTO notes VALUES ($1, $2) RETURNING id", NOTE, "asyncpg")
        return [made, self.rows("SELECT body FROM notes WHERE id = $1", NOTE)]

    def held_in_transaction(self):
        for note, body, end in ((NOTE + 1, "taken back", "rollback"), (NOTE + 2, "stays", "commit")):
            transaction = self.connection.transaction()
            self.wait(transaction.start())
            self.rows("INSERT INTO notes VALUES ($1, $2)", note, body)
            self.wait(getattr(transaction, end)())
        return self.rows("SELECT id, body FROM notes WHERE id IN ($1, $2)", NOTE + 1, NOTE + 2)

    def denied(self):
        return [self.fails("UPDATE customers SET name = $1 WHERE id = $2", "changed", 5), self.rows("SELECT name FROM customers WHERE id = 5")]

    def refused(self):
        return [self.fails("DELETE FROM payments"), self.rows("SELECT count(*) FROM payments")]

    def refused_in_transaction(self):
        transaction = self.connection.transaction()
        self.wait(transaction.start())
        seen = [self.rows("SELECT count(*) FROM payments"), self.fails("DELETE FROM payments"), self.fails("SELECT 1")]
        self.wait(transaction.rollback())
        return [*seen, self.rows("SELECT count(*) FROM payments")]

    def cancel(self):
        try:
            self.wait(self.connection.fetch(ENDLESS.format("a"), timeout=1))
        except asyncio.TimeoutError:
            return self.rows("SELECT 1")
        return unexpected()

    def reconnect(self):
        try:
            self.rows(ENDLESS.format("lost"))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self.connection = self.wait(connect())
            return self.rows("SELECT count(*) FROM customers")
        return unexpected()

    def own_user_types(self):
        row = self.rows("SELECT a_bytea, an_enum, an_int_array, a_numeric FROM every_type WHERE an_enum = $1", "busy")[0]
        return [row[0].hex(), row[1], row[2], str(row[3])]

    def own_copy(self):
        copied = self.wait(self.connection.copy_records_to_table("notes", records=[(NOTE + i, "copied") for i in range(10, 20)]))
        return [copied, self.rows("SELECT count(*) FROM notes WHERE id BETWEEN $1 AND $2", NOTE + 10, NOTE + 19)]

    def own_pool(self):
        async def lend():
            async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
                return [await pool.fetchval("SELECT $1::int", i) for i in range(3)]
        return self.wait(lend())

    def own_notify(self):
        async def hear():
            heard = self.loop.create_future()
            await self.connection.add_listener("news", lambda connection, pid, channel, payload: heard.set_result([channel, payload]))
            other = await connect()
            await other.execute("NOTIFY news, 'hello'")
            await other.close()
            return await asyncio.wait_for(heard, 10)
        return self.wait(hear())


run(Asyncpg())
