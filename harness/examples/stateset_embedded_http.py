"""stateset-embedded 1.40.0 (PyPI; Rust with SQLite inside), unmodified, behind the assignment's routes.

    DATABASE_FILE=store.db python stateset_embedded_http.py 5951
"""

import os
import uuid

from reservation_http import Refused, serve
from stateset_embedded import Commerce

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
        self.inventory = Commerce(os.environ["DATABASE_FILE"]).inventory

    def create_item(self, name, quantity):
        item = str(uuid.uuid4())
        self.inventory.create_item(item, name, initial_quantity=quantity)
        return self.get_item(item) | {"name": name}

    def get_item(self, item):
        stock = self.inventory.get_stock(item)
        if stock is None:
            raise Refused(404, "item_not_found")
        # The package says what is allocated, which is held and sold together: confirming changes no number.
        return {"id": item, "total_quantity": int(stock.total_on_hand),
                "available_quantity": int(stock.total_available)}  # fmt: skip

    def reserve(self, item, customer, quantity, ttl_seconds, key):
        if type(ttl_seconds) is not int:
            raise Refused(422, "validation_failed")  # the package takes whole seconds
        hold = self.call(self.inventory.reserve, item, quantity, "order", customer, ttl_seconds)
        return {"id": hold.id, "item_id": item, "quantity": int(hold.quantity), "status": hold.status.upper()}

    def get_reservation(self, reservation):
        # The package's Python client cannot read a reservation, or its deadline. To read the file beside it, with
        # Python's own SQLite, would end the locks of the package's: two SQLites in one process may not share a file.
        raise Refused(404, "no_route")

    def confirm(self, reservation):
        self.call(self.inventory.confirm_reservation, reservation)
        return {"id": reservation, "status": "CONFIRMED"}

    def cancel(self, reservation):
        self.call(self.inventory.release_reservation, reservation)
        return {"id": reservation, "status": "CANCELLED"}

    def expire(self):
        # The package has no sweep and needs none to sell again: `reserve` first expires what has lapsed of its item.
        return 0

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
