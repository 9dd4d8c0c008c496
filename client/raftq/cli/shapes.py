"""What each command prints with `--json`, by example. Keys are stable; new ones may be added.

docs/reference/cli.md shows these, and a test compares them with what the commands print.
"""

from typing import Final

from raftq.cli.control.shapes import CONTROL_SHAPES
from raftq.cli.schedule_shapes import SCHEDULE_SHAPES

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
    **CONTROL_SHAPES,
    **SCHEDULE_SHAPES,
    "events tail": {
        "index": 1204,
        "number": 0,
        "at_ms": 1_795_000_000_000,
        "task_id": _ID,
        "queue": "mail",
        "state": "done",
    },
    "top": {
        "at_ms": 1_795_000_000_000,
        "cluster_id": "5f0c0d3e",
        "leader": "n2",
        "term": 3,
        "commit_index": 1204,
        "nodes": [
            {"id": "n1", "role": "follower", "is_voter": True, "applied_index": 1203, "behind": 1}
        ],
        "depth": 12,
        "enqueued_per_second": 40.2,
        "done_per_second": 39.8,
        "queues": [
            {
                "queue": "mail",
                "counts": {"ready": 12, "done": 2300},
                "paused": False,
                "enqueued_per_second": 40.2,
                "done_per_second": 39.8,
                "oldest_ready_ms": 250,
            }
        ],
    },
    "config show": {
        "addresses": {"value": "10.0.0.1:7601", "from": "raftq.toml"},
        "token_file": {"value": "operator.token", "from": "RAFTQ_TOKEN_FILE"},
        "tls_ca": {"value": None, "from": "default"},
    },
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
    "bench": {
        "format": 1,
        "machine": {
            "system": "Linux 6.18.44 x86_64",
            "processor": "AMD EPYC",
            "cores": 2,
            "memory": "24684096 kB",
            "file_system": "ext4",
            "fdatasync_ms": 0.164,
            "load_before": 0.04,
            "began_at": "2026-11-24T12:21:47Z",
            "python": "3.11.7",
            "raftq": "0.1.0",
            "tornado": "6.6.1",
            "pysyncobj": "0.3.17",
            "msgpack": "1.2.4",
            "msgspec": "0.22.0",
        },
        "settings": {
            "nodes": 3,
            "seconds": 4.0,
            "disturbances": 7,
            "tasks": 1_000_000,
            "payload_bytes": 256,
            "settings": {"snapshot-entries": "50000"},
            "rounds": 3,
        },
        "figures": [
            {
                "case": "leader-killed",
                "what": "gap, worst",
                "unit": "ms",
                "pick": "worst",
                "value": 84.3,
                "min": 72.9,
                "max": 84.3,
                "values": [72.9, 84.3],
            }
        ],
        "curves": {
            "offered-load": [{"at": 500.0, "rate": 499.8, "p50_ms": 0.7, "p99_ms": 2.1}],
        },
    },
}
