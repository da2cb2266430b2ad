"""A page of a group: what it hands to its service, and when it read its state."""

import time

from django.http import HttpRequest, JsonResponse

from apps.common.websockets.page_data import page_data


def page(request: HttpRequest, group: str) -> JsonResponse:
    data = page_data(request, f"chaos.{group}")
    return JsonResponse({"page_data": data, "at": time.monotonic()})
