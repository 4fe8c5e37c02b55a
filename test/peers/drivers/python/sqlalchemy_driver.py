"""SQLAlchemy 2 on psycopg 3: the engine and its pool, reflection of a schema, the ORM and its unit of work."""
from sqlalchemy import ForeignKey, MetaData, Table, create_engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from scenario import ENDLESS, NOTE, TYPES, URL, error, repeatedly, run, unexpected

# [connect
engine = create_engine(URL.replace("postgres://", "postgresql+psycopg://", 1), pool_pre_ping=True)
# connect]


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]
    orders: Mapped[list["Order"]] = relationship(back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    status: Mapped[str]
    customer: Mapped[Customer] = relationship(back_populates="orders")


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


def body(note):
    with Session(engine) as session:
        found = session.get(Note, note)
        return found and found.body


def fails(act):
    try:
        act()
    except DBAPIError as caught:
        diagnostic = caught.orig.diag
        return error(caught, diagnostic.sqlstate, diagnostic.message_detail, diagnostic.message_hint)
    return unexpected()


def rename(customer, name):
    with Session(engine) as session:
        session.get(Customer, customer).name = name
        session.commit()


def execute(sql):
    with engine.begin() as connection:
        return [list(row) for row in connection.execute(text(sql))]


class SqlAlchemy:
    def read(self):
        with Session(engine) as session:
            names = [session.get(Customer, i).name for i in range(1, 13)]
            statuses = session.scalars(select(Order.status).join(Order.customer).where(Customer.id == 7).order_by(Order.id)).all()
            portions = sum(1 for _ in session.scalars(select(Order.id)).yield_per(300))
        return [names, list(statuses), execute(TYPES), portions, fails(lambda: execute("SELECT 1/0")), execute("SELECT 1")]

    def held(self):
        with Session(engine) as session:
            session.add(Note(id=NOTE, body="SQLAlchemy"))
            session.commit()
        return body(NOTE)

    def held_in_transaction(self):
        with Session(engine) as session:
            session.add(Note(id=NOTE + 1, body="taken back"))
            session.flush()
            session.rollback()
            session.add(Note(id=NOTE + 2, body="stays"))
            session.commit()
        return [body(NOTE + 1), body(NOTE + 2)]

    def denied(self):
        return [fails(lambda: rename(5, "changed")), execute("SELECT name FROM customers WHERE id = 5")]

    def refused(self):
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            failed = fails(lambda: connection.execute(text("DELETE FROM payments")))
            return [failed, connection.scalar(text("SELECT count(*) FROM payments"))]

    def refused_in_transaction(self):
        with engine.connect() as connection:
            seen = [connection.scalar(text("SELECT count(*) FROM payments")), fails(lambda: connection.execute(text("DELETE FROM payments"))),
                    fails(lambda: connection.execute(text("SELECT 1")))]
            connection.rollback()
            return [*seen, connection.scalar(text("SELECT count(*) FROM payments"))]

    def cancel(self):
        with engine.connect() as connection:
            with repeatedly(connection.connection.dbapi_connection.cancel):
                failed = fails(lambda: connection.execute(text(ENDLESS.format("a"))))
            connection.rollback()
            return [failed, connection.scalar(text("SELECT 1"))]

    def reconnect(self):
        try:
            execute(ENDLESS.format("lost"))
        except DBAPIError:
            return execute("SELECT count(*) FROM customers")
        return unexpected()

    def own_reflection(self):
        seen = inspect(engine)
        return [sorted(seen.get_table_names()), sorted(seen.get_view_names()), [column["name"] for column in seen.get_columns("every_type")],
                seen.get_pk_constraint("orders"), seen.get_foreign_keys("orders"), seen.get_indexes("customers"),
                seen.get_unique_constraints("customers"), seen.get_check_constraints("orders"), seen.get_enums(), seen.get_table_comment("orders")]

    def own_reflected_table(self):
        orders = Table("orders", MetaData(), autoload_with=engine)
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(orders))

    def own_unit_of_work(self):
        with Session(engine) as session:
            note = Note(id=NOTE + 10, body="first")
            session.add(note)
            session.flush()
            note.body = "second"
            session.commit()
        return body(NOTE + 10)

    def own_on_psycopg2(self):
        other = create_engine(URL.replace("postgres://", "postgresql+psycopg2://", 1))
        with Session(other) as session:
            page = session.scalars(select(Customer).order_by(Customer.id).limit(2).offset(3))
            seen = [customer.name for customer in page]
        other.dispose()
        return seen

    def own_savepoint(self):
        with Session(engine) as session:
            try:
                with session.begin_nested():
                    session.execute(text("SELECT 1/0"))
            except DBAPIError:
                return session.scalar(select(func.count()).select_from(Note).where(Note.id <= 100))
        return unexpected()


run(SqlAlchemy())
