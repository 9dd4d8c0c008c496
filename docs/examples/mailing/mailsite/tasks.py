"""The App of the site."""

from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from django.core.mail import send_mail
from django.db import close_old_connections

from mailsite.models import Order
from raftq.worker import App, Context, Hook


class DatabaseConnections(Hook):
    """Do around a run what Django does around a request: drop connections that are stale."""

    @contextmanager
    def running(self, context: Context) -> Generator[None]:
        """Surround a run, in its thread."""
        close_old_connections()
        try:
            yield
        finally:
            close_old_connections()


app = App(hooks=[DatabaseConnections()])


@app.task(queue="orders", timeout="30s")
def confirm(order_id: UUID) -> bool:
    """Confirm an order, unless that was done: a task may run more than once."""
    order = Order.objects.get(pk=order_id)
    if order.is_confirmed:
        return False
    send_mail("Your order", f"We have order {order_id}.", "shop@example.org", [order.address])
    order.is_confirmed = True
    order.save(update_fields=["is_confirmed"])
    return True
