"""Django 5.2 on psycopg 3: migrations (which `develop` lets through), the ORM, and the admin's own queries over HTTP.

The project's settings are in this file, its models in shop/. DEVELOP_URL is the same database where the policy is `develop`.
"""
import os
from urllib.parse import parse_qsl, urlsplit

import django
from django.conf import settings

from scenario import ENDLESS, NOTE, TYPES, URL, error, repeatedly, run, unexpected


# [connect
def database(url):
    at = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql", "HOST": at.hostname, "PORT": at.port, "NAME": at.path[1:],
        "USER": at.username, "PASSWORD": at.password, "OPTIONS": dict(parse_qsl(at.query)), "CONN_HEALTH_CHECKS": True,
    }
# connect]


settings.configure(
    DATABASES={"default": database(URL), "develop": database(os.environ["DEVELOP_URL"])}, SECRET_KEY="a test", DEBUG=False, USE_TZ=True,
    ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=__name__, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages", "shop"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages"]}}],
)
django.setup()

from django.contrib import admin  # noqa: E402  (Django must be set up first)
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection, transaction  # noqa: E402
from django.db.models import Count, Sum  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402

from shop.models import Customer, Note, Order  # noqa: E402


urlpatterns = [path("admin/", admin.site.urls)]


def migrate():
    call_command("migrate", database="develop", verbosity=0)
    User.objects.db_manager("develop").create_superuser("boss", password="secret")
    return sorted(connection.introspection.table_names())


def rows(sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [list(row) for row in cursor.fetchall()]


def fails(act):
    try:
        act()
    except DatabaseError as caught:
        diagnostic = caught.__cause__.diag
        return error(caught, diagnostic.sqlstate, diagnostic.message_detail, diagnostic.message_hint)
    return unexpected()


class Django:
    def read(self):
        names = [Customer.objects.get(pk=i).name for i in range(1, 13)]
        statuses = list(Order.objects.filter(customer__pk=7).order_by("pk").values_list("status", "customer__name"))
        portions = sum(1 for _ in Order.objects.only("id").iterator(chunk_size=300))
        return [names, [list(row) for row in statuses], portions, rows(TYPES), fails(lambda: rows("SELECT 1/0")), rows("SELECT 1")]

    def held(self):
        Note.objects.create(id=NOTE, body="Django")
        return Note.objects.get(pk=NOTE).body

    def held_in_transaction(self):
        with transaction.atomic():
            Note(id=NOTE + 1, body="taken back").save(force_insert=True)
            transaction.set_rollback(True)
        with transaction.atomic():
            Note(id=NOTE + 2, body="stays").save(force_insert=True)
        return [list(row) for row in Note.objects.filter(pk__in=[NOTE + 1, NOTE + 2]).values_list()]

    def denied(self):
        return [fails(lambda: Customer.objects.filter(pk=5).update(name="changed")), Customer.objects.get(pk=5).name]

    def refused(self):
        return [fails(lambda: rows("DELETE FROM payments")), rows("SELECT count(*) FROM payments")]

    def refused_in_transaction(self):
        with transaction.atomic():
            seen = [rows("SELECT count(*) FROM payments"), fails(lambda: rows("DELETE FROM payments")), fails(lambda: rows("SELECT 1"))]
            transaction.set_rollback(True)
        return [*seen, rows("SELECT count(*) FROM payments")]

    def cancel(self):
        connection.ensure_connection()
        with repeatedly(connection.connection.cancel):
            failed = fails(lambda: rows(ENDLESS.format("a")))
        return [failed, rows("SELECT 1")]

    def reconnect(self):
        try:
            rows(ENDLESS.format("lost"))
        except DatabaseError:
            connection.close()
            return Customer.objects.count()
        return unexpected()

    def own_a_migration(self):
        return migrate()

    def own_admin(self):
        browser = Client()
        browser.force_login(User.objects.get(username="boss"))
        pages = ["/admin/", "/admin/shop/order/", "/admin/shop/order/?q=customer+7&status__exact=paid&o=-1", "/admin/shop/order/7/change/",
                 "/admin/shop/customer/?p=1", "/admin/shop/order/7/history/", "/admin/auth/user/"]
        return [browser.get(page).status_code for page in pages]

    def own_admin_change(self):
        browser = Client()
        browser.force_login(User.objects.get(username="boss"))
        answer = browser.post("/admin/auth/group/add/", {"name": f"group {NOTE}", "_save": "Save"})
        return [answer.status_code, rows("SELECT name FROM auth_group")]

    def own_aggregates(self):
        grouped = Order.objects.values("status").annotate(n=Count("id"), total=Sum("total")).order_by("status")
        return [[row["status"], row["n"], str(row["total"])] for row in grouped]

    def own_introspection(self):
        with connection.cursor() as cursor:
            seen = connection.introspection
            return [sorted(seen.get_table_list(cursor)), [column.name for column in seen.get_table_description(cursor, "orders")],
                    seen.get_relations(cursor, "orders"), sorted(seen.get_constraints(cursor, "orders")), seen.get_sequences(cursor, "orders")]

    def own_prefetch(self):
        customers = Customer.objects.prefetch_related("orders").filter(pk__in=[7, 8]).order_by("pk")
        return [[customer.name, len(customer.orders.all()), customer.orders.exists()] for customer in customers]


run(Django())
