"""The live page of orders: its route, its view, and its place on the home page."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from apps.common.websockets.broadcast import stream_position

from .consumers import group_of

TITLE = "Orders"
DESCRIPTION = "For everyone who is signed in."
URL = "/orders/demo/"
ROUTE = "orders/<slug:orders_id>/"


@login_required
def index(request: HttpRequest, orders_id: str) -> HttpResponse:
    # First of all: what is broadcast from here on reaches the page, also before it has connected.
    position = stream_position(group_of(orders_id))
    context = {
        "title": TITLE,
        "orders_id": orders_id,
        "position": position,
    }
    return render(request, "orders/index.html", context)


urlpatterns = [path(ROUTE, index, name="orders")]
