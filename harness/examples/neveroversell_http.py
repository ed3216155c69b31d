"""neveroversell 0.1.0 (PyPI), unmodified, behind the assignment's routes: PostgreSQL functions and their Python client.

    DATABASE_URL=postgres://… python neveroversell_http.py 5951
"""

import os
import uuid
from datetime import timedelta

from neveroversell import Inventory
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool
from reservation_http import Refused, serve

STATUS = {"held": "PENDING", "confirmed": "CONFIRMED", "released": "CANCELLED", "expired": "EXPIRED"}
REFUSED = {
    "insufficient": (409, "insufficient_availability"),
    "confirmed": (409, "reservation_confirmed"),
    "released": (409, "reservation_cancelled"),
    "expired": (409, "reservation_expired"),
    "unknown_resource": (404, "item_not_found"),
    "not_found": (404, "reservation_not_found"),
}


class Service:
    def __init__(self, url):
        # The library's own pool has eight connections, too. This one is ours, so that a hold can be read by its id.
        self.pool = ConnectionPool(url, min_size=1, max_size=8, kwargs={"row_factory": dict_row}, open=True)
        self.inventory = Inventory(pool=self.pool)
        self.inventory.migrate()

    def create_item(self, name, quantity):
        item = str(uuid.uuid4())
        self.inventory.upsert_resource(item, quantity)
        return self.get_item(item) | {"name": name}

    def get_item(self, item):
        status = self.inventory.status(item)
        if status is None:
            raise Refused(404, "item_not_found")
        return {"id": item, "total_quantity": status.total, "available_quantity": status.available,
                "held_quantity": status.held, "confirmed_quantity": status.sold}  # fmt: skip

    def reserve(self, item, customer, quantity, ttl_seconds, key):
        ttl = timedelta(seconds=ttl_seconds)
        result = self.inventory.hold(item, quantity, customer, idempotency_key=key, ttl=ttl)
        return self.answer(result, "held", "replayed")

    def get_reservation(self, reservation):
        columns = "id, resource_id as item_id, qty as quantity, state, created_at, expires_at"
        with self.pool.connection() as connection:
            row = connection.execute(f"select {columns} from nos_holds where id = %s", (valid(reservation),)).fetchone()
        if row is None:
            raise Refused(404, "reservation_not_found")
        return row | {"status": STATUS[row.pop("state")]}

    def confirm(self, reservation):
        # The reservation's own id is its payment's reference, so that a repeat is the same payment.
        return self.answer(self.inventory.confirm(valid(reservation), reservation), "confirmed", "already_confirmed")

    def cancel(self, reservation):
        return self.answer(self.inventory.release(valid(reservation)), "released", "already_released")

    def expire(self):
        return sum(row.expired_holds for row in self.inventory.sweep())

    def answer(self, result, *done):
        if result.status not in done:
            raise Refused(*REFUSED[result.status])
        hold = result.hold
        # The library's answer has no `created_at`; its row has, and never changes it.
        return self.get_reservation(hold.id) | {"status": STATUS[hold.state], "expires_at": hold.expires_at}


def valid(reservation):
    try:
        return str(uuid.UUID(reservation))
    except ValueError:
        raise Refused(404, "reservation_not_found") from None


if __name__ == "__main__":
    serve(Service(os.environ["DATABASE_URL"]))
