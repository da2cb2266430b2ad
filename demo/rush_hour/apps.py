"""Guests of the demo: every few seconds one orders something, and the kitchen cooks it.

Nothing here knows of pages. Rows are saved as anywhere in Django, and the live board shows them.
"""

import os
import random
import threading
import time

from django.apps import AppConfig

SECONDS = 4  # between two changes
MOST = 6  # orders on the board
DISHES = ["Ramen", "Pho", "Dal", "Paella", "Pierogi", "Bibimbap", "Moussaka", "Tacos", "Borscht", "Falafel"]
NEXT = {"new": "cooking", "cooking": "served"}


class RushHourConfig(AppConfig):
    name = "apps.rush_hour"

    def ready(self):
        if os.environ.get("RUN_MAIN") == "true":  # the process that serves, not the one that restarts it
            threading.Thread(target=self.serve_guests, daemon=True).start()

    def serve_guests(self):
        orders = self.apps.get_model("orders", "Order")
        while True:
            time.sleep(SECONDS)
            self.change_one(orders)

    def change_one(self, orders):
        waiting = [order for order in orders.objects.order_by("id") if order.status in NEXT]
        if not waiting or (len(waiting) < MOST and random.random() < 0.4):
            item, table = random.choice(DISHES), random.randint(1, 20)
            orders.objects.create(
                item=item, quantity=random.randint(1, 4), price=f"{random.randint(8, 19)}.50", table=table
            )
        else:
            order = random.choice(waiting)
            order.status = NEXT[order.status]
            order.save()
        if orders.objects.count() > 2 * MOST:
            for order in orders.objects.filter(status="served").order_by("id")[:1]:
                order.delete()
