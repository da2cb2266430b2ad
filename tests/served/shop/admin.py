from django.contrib import admin

from .models import Order, Product


class OrderInline(admin.TabularInline):
    model = Order
    extra = 0


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["name", "price"]
    search_fields = ["name"]
    inlines = [OrderInline]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("product", "status", "is_gift", "created")
    list_filter = ["status"]
    search_fields = ["product__name", "note"]
    actions = ["mark_paid"]

    @admin.display(boolean=True, description="gift")
    def is_gift(self, order):
        return bool(order.note)

    @admin.action(description="Mark as paid")
    def mark_paid(self, request, queryset):
        queryset.update(status=Order.Status.PAID)
        self.message_user(request, "They are paid.")
