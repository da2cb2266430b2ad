"""The page of orders."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.common.websockets.page_data import page_data

from .consumers import group_of


@login_required
def index(request: HttpRequest, orders_id: str) -> HttpResponse:
    # Before any query: a broadcast after this line reaches the page, also before it has connected.
    context = {
        "page_data": page_data(request, group_of(orders_id)),
        "orders_id": orders_id,
    }
    return render(request, "orders/index.html", context)
