"""What each command prints with `--json`, by example. Keys are stable; new ones may be added.

docs/reference/cli.md shows these, and a test compares them with what the commands print.
"""

from typing import Final

_ID: Final = "01a20cd2-2bb4-7edd-8c95-41046af9ae37"
_STATE: Final[dict[str, object]] = {"state": "done"}
_CLUSTER: Final[dict[str, object]] = {
    "cluster_id": "5f0c0d3e",
    "node": "n1",
    "leader": "n2",
    "term": 3,
    "commit_index": 1204,
    "applied_index": 1204,
    "state_hash": "9ae1f04c22d7b310",
    "nodes": [
        {
            "id": "n1",
            "native_address": "127.0.0.1:7601",
            "http_address": "127.0.0.1:7611",
            "peer_address": "127.0.0.1:7621",
            "role": "follower",
            "reachable": True,
            "is_voter": True,
        }
    ],
}
_TOKEN: Final = "rq_3vX0yq2kE8m7l1uSx4Zb6nC9dF5gH0jKpQrTwYzAaBc"
SHAPES: Final[dict[str, dict[str, object]]] = {
    "certs new": {"files": ["certs/ca.crt", "certs/ca.key", "certs/n1.crt", "certs/n1.key"]},
    "token new": {
        "name": "app",
        "token": _TOKEN,
        "line": "app:" + "9f" * 32,
    },
    "enqueue": {"id": _ID, "state": "ready", "created": True},
    "lease": {
        "leases": [
            {
                "task_id": _ID,
                "queue": "mail",
                "token": 17,
                "attempt": 1,
                "payload_base64": "aGVsbG8=",
                "lease_ms": 30_000,
            }
        ]
    },
    "ack": _STATE,
    "fail": {"state": "ready"},
    "requeue": {"state": "ready"},
    "extend": {"state": "leased"},
    "status": {
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
        "result_base64": "c2VudA==",
        "errors": ["ValueError: bad address"],
        "not_before_at_ms": 1_795_000_000_000,
        "enqueued_at_ms": 1_795_000_000_000,
        "finished_at_ms": 1_795_000_000_250,
    },
    "queue": {"queue": "mail", "enqueued": 3, "counts": {"ready": 1, "done": 2}},
    "backup take": {
        "file": "monday.backup",
        "bytes": 52_428_800,
        "index": 1204,
        "state_hash": "9ae1f04c22d7b310",
        "cluster_id": "5f0c0d3e",
        "node": "n2",
        "taken_at_ms": 1_795_000_000_000,
    },
    "backup verify": {
        "index": 1204,
        "term": 3,
        "state_hash": "9ae1f04c22d7b310",
        "cluster_id": "5f0c0d3e",
        "node": "n2",
        "taken_at_ms": 1_795_000_000_000,
        "raftq_version": "0.1.0",
        "is_recovered": False,
        "queues": {"mail": {"ready": 1, "done": 2}},
    },
    "restore": {
        "cluster_id": "0c6f41b2a7d54c0e9b1f3f5d2a60e7c8",
        "index": 1204,
        "state_hash": "9ae1f04c22d7b310",
        "restored": "n1=/var/lib/raftq/n1",
    },
    "recover": {
        "node": "n1",
        "cluster_id": "5f0c0d3e",
        "last_term": 3,
        "last_index": 1204,
        "snapshot_index": 1000,
        "state_hash": "9ae1f04c22d7b310",
        "queues": {"mail": {"ready": 1, "done": 2}},
    },
    "cluster": _CLUSTER,
    "cluster status": _CLUSTER,
    "node ready": {"http": "127.0.0.1:7611", "ready": True, "answer": "ok"},
    "dev": {
        "addresses": "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603",
        "leader": "n1",
        "nodes": [
            {
                "id": "n1",
                "native": "127.0.0.1:7601",
                "http": "127.0.0.1:7611",
                "log": "/tmp/raftq-dev-x/n1.log",
            }
        ],
    },
}
