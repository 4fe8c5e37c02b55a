"""Models of the shop's tables, which Django reads and writes but does not make."""
from django.db import models


class Customer(models.Model):
    id = models.AutoField(primary_key=True)
    name = models.TextField()
    email = models.TextField(unique=True)

    class Meta:
        db_table, managed = "customers", False


class Order(models.Model):
    id = models.AutoField(primary_key=True)
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    status = models.TextField(choices=[("open", "open"), ("paid", "paid"), ("shipped", "shipped")])
    total = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        db_table, managed = "orders", False


class Note(models.Model):
    id = models.IntegerField(primary_key=True)
    body = models.TextField()

    class Meta:
        db_table, managed = "notes", False
