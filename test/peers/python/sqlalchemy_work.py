"""SQLAlchemy (the ORM that most Python agents use, here over psycopg2) reflects, reads and writes through the gateway.

DATABASE_URL is the agent's connection string. Held statements are answered in this order: the INSERT of customer
`Orm` is approved, the UPDATE of that customer is approved.
"""
import os

from sqlalchemy import MetaData, Table, create_engine, func, inspect, select
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from checks import check, contains, equal, run_checks

engine = create_engine(os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg2://"))


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[str]


@check
def inspects(_):
    """SQLAlchemy inspects tables, columns, keys, indexes and views"""
    inspector = inspect(engine)
    equal({"customers", "orders", "payments"} <= set(inspector.get_table_names()), True)
    equal([column["name"] for column in inspector.get_columns("orders")], ["id", "customer_id", "status", "total"])
    equal(inspector.get_foreign_keys("orders")[0]["referred_table"], "customers")
    equal(inspector.get_view_names(), ["customer_totals"])
    equal(inspector.get_pk_constraint("payments")["constrained_columns"], ["id"])
    inspector.get_indexes("customers")
    inspector.get_check_constraints("orders")
    inspector.get_enums()


@check
def reflects(_):
    """SQLAlchemy reflects a table and selects from it"""
    orders = Table("orders", MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        equal(connection.execute(select(func.count()).select_from(orders)).scalar(), 2000)


@check
def orm(_):
    """SQLAlchemy's session loads objects and pages through them"""
    with Session(engine) as session:
        equal([c.name for c in session.scalars(select(Customer).order_by(Customer.id).limit(2).offset(3))], ["customer 4", "customer 5"])
        equal(session.get(Customer, 7).email, "c7@example.test")


@check
def writes(_):
    """SQLAlchemy's unit of work writes what is approved"""
    with Session(engine) as session:
        customer = Customer(name="Orm", email="orm@example.test")
        session.add(customer)
        session.flush()
        customer.name = "Orm 2"
        session.commit()
    with Session(engine) as session:
        equal(session.scalars(select(Customer.name).where(Customer.email == "orm@example.test")).all(), ["Orm 2"])


@check
def refused(_):
    """SQLAlchemy raises the refusal as a programming error, and its pool goes on"""
    with Session(engine) as session:
        try:
            session.query(Customer).delete()
            raise AssertionError("it ran")
        except ProgrammingError as error:
            contains("CRITICAL", str(error.orig))
    with Session(engine) as session:
        equal(session.scalar(select(func.count()).select_from(Customer)) >= 200, True)


run_checks(lambda: None)
