"""Orders over HTTP."""

from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from mailsite.models import Order
from mailsite.tasks import confirm
from raftq.client import UnknownTask


@csrf_exempt
@require_POST
@transaction.atomic
def post_order(request: HttpRequest) -> JsonResponse:
    """Take an order; once it is committed, and only then, have it confirmed."""
    order = Order.objects.create(address=request.POST["address"])
    transaction.on_commit(lambda: enqueue_confirmation(order), robust=True)
    return JsonResponse({"id": order.id}, status=202)


def enqueue_confirmation(order: Order) -> None:
    """Enqueue with the order's id: however often this is called, it is one task."""
    confirm.options(id=order.id).enqueue(order.id)


async def get_order(request: HttpRequest, id: UUID) -> JsonResponse:
    """Tell how far an order is."""
    order = await Order.objects.filter(pk=id).afirst()
    if order is None:
        return JsonResponse({"detail": "there is no such order"}, status=404)
    if order.is_confirmed:
        return JsonResponse({"state": "confirmed"})
    try:
        status = await confirm.job(id).astatus()
    except UnknownTask:  # Committed, and not enqueued yet; see `enqueue_forgotten`.
        return JsonResponse({"state": "accepted"})
    return JsonResponse({"state": status.state})
