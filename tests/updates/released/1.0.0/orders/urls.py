"""The address of the page of orders, and its entry on the home page."""

from django.urls import path
from django.utils.translation import gettext_lazy as _

from . import views

TITLE = _("Orders")
DESCRIPTION = _("For everyone who is signed in.")
URL = "/orders/demo/"
ROUTE = "orders/<slug:orders_id>/"

urlpatterns = [path(ROUTE, views.index, name="orders")]
