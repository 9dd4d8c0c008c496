"""What `raftq schedule` prints with `--json`, by example."""

from typing import Final

_AT_MS: Final = 1_795_000_000_000
_CHANGED: Final[dict[str, object]] = {
    "schedules": [{"schedule": "report", "is_changed": True, "next_at_ms": _AT_MS}]
}
_SCHEDULE: Final[dict[str, object]] = {
    "schedule": "report",
    "queue": "reports",
    "payload": "weekday",
    "cron": "0 9 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "every_ms": None,
    "missed": "one",
    "overlap": "skip",
    "jitter_ms": 0,
    "paused": False,
    "priority": 5,
    "attempts_max": 0,
    "options": {"order_key": "reports"},
    "payload_base64": "d2Vla2RheQ==",
    "revision": 1204,
    "next_at_ms": _AT_MS,
    "last_tick_at_ms": _AT_MS - 86_400_000,
    "runs": 7,
    "skipped": 1,
    "last_task": "01a20cd2-2bb4-7edd-8c95-41046af9ae37",
}
SCHEDULE_SHAPES: Final[dict[str, dict[str, object]]] = {
    "schedule set": _CHANGED,
    "schedule list": {"schedules": [_SCHEDULE]},
    "schedule show": _SCHEDULE,
    "schedule next": {"timezone": "Europe/Berlin", "next_at_ms": [_AT_MS]},
    "schedule pause": _CHANGED,
    "schedule resume": _CHANGED,
    "schedule delete": {"deleted": ["report"]},
}
