"""What a worker imports: `raftq worker mailsite.worker:app`. Django first, then its tasks."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailsite.settings")
django.setup()

from mailsite.tasks import app  # noqa: E402  # Models cannot be imported before.

__all__ = ["app"]
