"""flexcommerce-inventory 1.0.0 (PyPI; Django), unmodified, behind the assignment's routes.

    DATABASE_URL=postgres://… python flexcommerce_inventory_http.py 5951
"""

import os
import uuid
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from reservation_http import Refused, serve

url = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework",
                    "flexcommerce_core", "flexcommerce_inventory"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "HOST": url.hostname, "PORT": url.port,
        "USER": unquote(url.username or ""), "PASSWORD": unquote(url.password or ""),
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 8}},
    }},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)  # fmt: skip
django.setup()

from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.core.exceptions import ValidationError  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import close_old_connections  # noqa: E402
from flexcommerce_core.exceptions import InsufficientStockError  # noqa: E402
from flexcommerce_inventory.models import InventoryItem, StockReservation  # noqa: E402
from flexcommerce_inventory.services import release_expired  # noqa: E402

# The package has one word for a hold that was cancelled and one that expired; ENDED says neither.
STATUS = {"pending": "PENDING", "fulfilled": "CONFIRMED", "released": "ENDED"}


class Service:
    def create_item(self, name, quantity):
        # Stock belongs to an object of any model, which is never read; this is what the package's own view does.
        product = ContentType.objects.get_for_model(ContentType)
        item = InventoryItem.objects.create(content_type=product, object_id=uuid.uuid4())
        item.restock(quantity, note="Initial stock")
        return shown(item) | {"name": name}

    def get_item(self, item):
        return shown(found(InventoryItem, item))

    def reserve(self, item, customer, quantity, ttl_seconds, key):
        try:
            hold = found(InventoryItem, item).reserve(quantity, order_ref=customer, ttl_minutes=ttl_seconds / 60)
        except InsufficientStockError:
            raise Refused(409, "insufficient_availability") from None
        return shown_hold(hold)

    def get_reservation(self, reservation):
        return shown_hold(found(StockReservation, reservation))

    def confirm(self, reservation):
        hold = found(StockReservation, reservation)
        return self.ended(hold, hold.inventory_item.confirm_sale(reservation_id=hold.pk), "fulfilled")

    def cancel(self, reservation):
        hold = found(StockReservation, reservation)
        return self.ended(hold, hold.inventory_item.release(reservation_id=hold.pk), "released")

    def expire(self):
        return release_expired()["released"]

    def ended(self, hold, done, status):
        # Both calls answer whether they did something. Where they did not, the row says whether it was done before.
        hold = found(StockReservation, hold.pk)
        if not done and hold.status != status:
            raise Refused(409, f"the reservation is {hold.status}")
        return shown_hold(hold)


def shown(item):
    return {"id": item.pk, "total_quantity": item.on_hand + item.sold, "available_quantity": item.available,
            "held_quantity": item.reserved, "confirmed_quantity": item.sold}  # fmt: skip


def shown_hold(hold):
    return {"id": hold.pk, "item_id": hold.inventory_item_id, "quantity": hold.quantity,
            "status": STATUS[hold.status], "created_at": hold.created_at, "expires_at": hold.expires_at}  # fmt: skip


def found(model, key):
    try:
        return model.objects.get(pk=key)
    except (model.DoesNotExist, ValidationError, ValueError):
        raise Refused(404, "not_found") from None


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    close_old_connections()
    serve(Service(), after=close_old_connections)
