"""What the commands of this package print with `--json`, by example."""

from typing import Final

_ID: Final = "01a20cd2-2bb4-7edd-8c95-41046af9ae37"
_AT_MS: Final = 1_795_000_000_000
_RATE: Final[dict[str, object]] = {"count": 10, "per_ms": 1_000, "burst": 1}
_STATUS: Final[dict[str, object]] = {
    "id": _ID,
    "queue": "mail",
    "state": "done",
    "priority": 5,
    "failures": 1,
    "crashes": 0,
    "attempts": 2,
    "attempts_max": 5,
    "token": 17,
    "result": "sent",
    "errors": ["ValueError: bad address"],
    "not_before_at_ms": _AT_MS,
    "enqueued_at_ms": _AT_MS,
    "finished_at_ms": _AT_MS + 250,
    "history": [
        {
            "number": 1,
            "worker": "host-41-7d0e93a2",
            "began_at_ms": _AT_MS + 10,
            "ended_at_ms": _AT_MS + 40,
            "end": "failed",
            "error": "ValueError: bad address",
        }
    ],
    "progress": "40 %",
    "worker": "host-41-7d0e93a2",
    "options": {"order_key": "customer-7", "expires_after_ms": 7_200_000},
    "sequence": 4_711,
    "applied_index": 1_204,
    "lag_ms": None,
    "result_base64": "c2VudA==",
    "progress_base64": "NDAgJQ==",
}
_SETTINGS: Final[dict[str, object]] = {
    "paused": False,
    "concurrency": 16,
    "rate": _RATE,
    "attempts_max": 5,
    "crashes_max": 10,
    "backoff": {"base_ms": 1_000, "kind": "exponential", "max_ms": 600_000, "jitter_percent": 20},
    "result_ttl_ms": 3_600_000,
    "ageing_ms": 60_000,
    "tasks_max": 100_000,
    "payload_bytes_max": 67_108_864,
    "enqueue_rate": _RATE,
    "fair_weights": {"gold": 3},
}
_QUEUE: Final[dict[str, object]] = {
    "queue": "mail",
    "enqueued": 3,
    "counts": {"ready": 1, "done": 2},
    "settings": _SETTINGS,
    "payload_bytes": 4_096,
    "oldest_ready_at_ms": _AT_MS,
}
_SETTLED: Final[dict[str, object]] = {
    "tasks": [{"id": _ID, "state": "cancelled", "error": None}],
}
_SWEPT: Final[dict[str, object]] = {"tasks": 12, "dry_run": False}
_HELD: Final[dict[str, object]] = {
    "queues": [{"queue": "mail", "paused": True, "is_changed": True}],
}
_LIMIT: Final[dict[str, object]] = {"concurrency": 3, "rate": _RATE}
_QUOTA: Final[dict[str, object]] = {
    "tasks_max": 1_000_000,
    "payload_bytes_max": 4_294_967_296,
    "enqueue_rate": _RATE,
}
CONTROL_SHAPES: Final[dict[str, dict[str, object]]] = {
    "status": _STATUS,
    "task show": _STATUS,
    "task why": {
        "id": _ID,
        "state": "blocked",
        "reasons": [
            {
                "rule": "order_key",
                "text": "another task has the order key 'customer-7'",
                "facts": {"key": "customer-7"},
            }
        ],
    },
    "task edit": {"state": "scheduled"},
    "task confirm": _SETTLED,
    "task cancel": _SETTLED,
    "task retry": _SETTLED,
    "task list": {"tasks": [_STATUS], "has_more": False},
    "queue list": {"queues": [_QUEUE]},
    "queue show": _QUEUE,
    "queue set": {"queue": "mail", "is_changed": True, "settings": _SETTINGS},
    "queue pause": _HELD,
    "queue resume": _HELD,
    "queue purge": _SWEPT,
    "queue redrive": _SWEPT,
    "queue discard": _SWEPT,
    "queue move": _SWEPT,
    "limit list": {
        "limits": [{"key": "smtp", "limit": _LIMIT, "leased": 3, "parked": 12}],
    },
    "limit set": {"key": "smtp", "is_changed": True, "limit": _LIMIT},
    "limit remove": {"key": "smtp", "is_changed": True},
    "quota show": _QUOTA,
    "quota set": _QUOTA,
}
"""`task cancel` and `task retry` print what `queue purge` prints when options choose the tasks, and
`task list --count` prints `matched` only."""
