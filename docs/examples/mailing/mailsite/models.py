"""What the site remembers."""

from datetime import datetime
from uuid import UUID, uuid4

from django.db import models


class Order(models.Model):
    """An order; its id is also that of the task that confirms it."""

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, default=uuid4)
    address: "models.EmailField[str, str]" = models.EmailField()
    ordered_at: "models.DateTimeField[datetime, datetime]" = models.DateTimeField(auto_now_add=True)
    is_confirmed: "models.BooleanField[bool, bool]" = models.BooleanField(default=False)
