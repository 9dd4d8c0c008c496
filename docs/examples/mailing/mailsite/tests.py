"""Tests of the site, on a cluster in memory: `python manage.py test`."""

from datetime import timedelta
from io import StringIO
from unittest.mock import patch

from django.core import mail
from django.core.management import call_command
from django.db import transaction
from django.test import TestCase
from django.utils.timezone import now

from mailsite.models import Order
from mailsite.tasks import app, confirm
from raftq.client import NoLeader


class OrdersTest(TestCase):
    """Each test has a cluster of its own."""

    def setUp(self) -> None:
        self.raftq = self.enterContext(app.testing())

    def order(self) -> Order:
        """Place an order, as a browser does."""
        with self.captureOnCommitCallbacks(execute=True):
            answer = self.client.post("/orders", {"address": "a@example.org"})
        self.assertEqual(answer.status_code, 202)
        return Order.objects.get(pk=answer.json()["id"])

    def state(self, order: Order) -> str:
        """Return what the site says about an order."""
        return str(self.client.get(f"/orders/{order.id}").json()["state"])

    def test_an_order_is_confirmed_by_mail(self) -> None:
        order = self.order()
        self.assertEqual(self.state(order), "ready")
        self.raftq.run_pending()
        self.assertEqual(self.state(order), "confirmed")
        self.assertEqual([each.to for each in mail.outbox], [["a@example.org"]])

    def test_an_order_that_is_rolled_back_is_not_confirmed(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            self.client.post("/orders", {"address": "a@example.org"})
            transaction.set_rollback(True)
        self.assertEqual(self.raftq.enqueued(confirm), [])

    def test_a_worker_that_dies_after_the_mail_sends_no_second_one(self) -> None:
        self.order()
        self.raftq.kill_worker(after_run=True)
        (again,) = self.raftq.run_pending()
        self.assertEqual((again.result, len(mail.outbox)), (False, 1))

    def test_what_was_committed_and_not_enqueued_is_found(self) -> None:
        away = patch("mailsite.views.enqueue_confirmation", side_effect=NoLeader("no leader"))
        with self.assertLogs("django.test", "ERROR"), away:
            order = self.order()
        self.assertEqual(self.state(order), "accepted")
        self.assertEqual(self.enqueue_forgotten(), "0 enqueued", "it is young")
        Order.objects.update(ordered_at=now() - timedelta(minutes=2))
        self.assertEqual(self.enqueue_forgotten(), "1 enqueued")
        self.assertEqual(self.enqueue_forgotten(), "0 enqueued", "its task is there")
        self.raftq.run_pending()
        self.assertEqual(self.state(order), "confirmed")

    def enqueue_forgotten(self) -> str:
        """Run the command and return what it says."""
        said = StringIO()
        call_command("enqueue_forgotten", stdout=said)
        return said.getvalue().strip()
