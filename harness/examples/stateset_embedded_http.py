"""stateset-embedded 1.40.0 (PyPI; Rust with SQLite inside), unmodified, behind the assignment's routes.

    DATABASE_FILE=store.db python stateset_embedded_http.py 5951
"""

import os
import sqlite3
import uuid
from contextlib import closing

from reservation_http import Refused, serve
from stateset_embedded import Commerce

FILE = os.environ["DATABASE_FILE"]
STATUS = {"pending": "PENDING", "confirmed": "CONFIRMED", "released": "CANCELLED", "expired": "EXPIRED"}
REFUSED = {
    "Insufficient stock": (409, "insufficient_availability"),
    "Inventory reservation expired": (409, "reservation_expired"),
    "Inventory item not found": (404, "item_not_found"),
    "Inventory reservation not found": (404, "reservation_not_found"),
    "Invalid UUID": (404, "reservation_not_found"),
    "Validation error": (422, "validation_failed"),
}


class Service:
    def __init__(self):
        self.inventory = Commerce(FILE).inventory

    def create_item(self, name, quantity):
        item = str(uuid.uuid4())
        self.inventory.create_item(item, name, initial_quantity=quantity)
        return self.get_item(item) | {"name": name}

    def get_item(self, item):
        stock = self.inventory.get_stock(item)
        if stock is None:
            raise Refused(404, "item_not_found")
        # The package says what is allocated, which is held and sold together: confirming changes no number.
        return {"id": item, "total_quantity": int(stock.total_on_hand), "available_quantity": int(stock.total_available)}

    def reserve(self, item, customer, quantity, ttl_seconds, key):
        if type(ttl_seconds) is not int:
            raise Refused(422, "validation_failed")  # the package takes whole seconds
        hold = self.call(self.inventory.reserve, item, quantity, "order", customer, ttl_seconds)
        return self.get_reservation(hold.id) | {"status": STATUS[hold.status]}

    def get_reservation(self, reservation):
        # The package's Python client cannot read a reservation, so its row is read.
        query = """select r.id, i.sku as item_id, cast(r.quantity as integer) as quantity, r.status, r.created_at, r.expires_at
            from inventory_reservations r join inventory_items i on i.id = r.item_id where r.id = ?"""
        with closing(sqlite3.connect(f"file:{FILE}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            row = connection.execute(query, (reservation,)).fetchone()
        if row is None:
            raise Refused(404, "reservation_not_found")
        return dict(row) | {"status": STATUS[row["status"]]}

    def confirm(self, reservation):
        self.call(self.inventory.confirm_reservation, reservation)
        return {"id": reservation, "status": "CONFIRMED"}

    def cancel(self, reservation):
        self.call(self.inventory.release_reservation, reservation)
        return {"id": reservation, "status": "CANCELLED"}

    def expire(self):
        return 0  # the package has no sweep: a reservation expires what has lapsed before it counts

    def call(self, function, *args):
        try:
            return function(*args)
        except (RuntimeError, ValueError) as error:
            for words, answer in REFUSED.items():
                if words in str(error):
                    raise Refused(*answer) from None
            raise


if __name__ == "__main__":
    serve(Service())
