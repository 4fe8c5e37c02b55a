"""The admin of the shop: lists with filters, search and joins."""
from django.contrib import admin

from shop.models import Customer, Order


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display, list_filter, search_fields, list_select_related = ["id", "customer", "total"], ["status"], ["customer__name"], True


admin.site.register(Customer)
