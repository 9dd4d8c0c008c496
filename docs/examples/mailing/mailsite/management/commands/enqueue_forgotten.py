"""`manage.py enqueue_forgotten`: what a crash between commit and enqueue left behind."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.timezone import now

from mailsite.models import Order
from mailsite.tasks import app, confirm

OLD = timedelta(minutes=1)
"""By then an order has been confirmed, if its task was enqueued and nothing is amiss."""
BATCH = 500


class Command(BaseCommand):
    """Run it every few minutes, by cron or a timer."""

    help = "Enqueue the confirmation of orders that nobody has confirmed."

    def handle(self, *args: Any, **options: Any) -> None:
        """Enqueue; of an order whose task is there already, nothing changes."""
        late = Order.objects.filter(is_confirmed=False, ordered_at__lt=now() - OLD)[:BATCH]
        jobs = app.enqueue_many([confirm.options(id=each.id).draft(each.id) for each in late])
        self.stdout.write(f"{sum(bool(job.created) for job in jobs)} enqueued")
