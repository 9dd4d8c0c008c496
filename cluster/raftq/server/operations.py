"""Every operation of the HTTP API: its path, what it takes and what it answers."""

import re
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from raftq.protocol.events import PositionText
from raftq.protocol.fields import (
    Consistency,
    Index,
    Key,
    QueueName,
    ScheduleName,
    TimeoutMs,
    Token,
    WaitMs,
)
from raftq.protocol.options import KeyLimit, QueueChanges, QueueSettings, Quota, TaskFilter
from raftq.server import http_answers as answers
from raftq.server import http_bodies as bodies
from raftq.server.control import answers as control_answers
from raftq.server.control import bodies as control_bodies
from raftq.server.control.filters import FILTER_PARAMETERS
from raftq.server.control.options import ScheduleBody
from raftq.server.events.http import QUERY as EVENT_PARAMETERS

_Kind = type[Struct] | None
_READ: Final = ("consistency", "timeout_ms")
_CHANGE: Final = ("timeout_ms",)
_END_OF_TEXT: Final = r"\\Z"
"""The end of patterns of ours, as JSON writes it; the patterns of JSON Schema know only `$`."""
_READ_TASK: Final = (*_READ, "min_index")


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    summary: str
    answer: _Kind
    body: _Kind = None
    query: tuple[str, ...] = ()
    status: int = 200


def _get(path: str, summary: str, answer: _Kind, query: tuple[str, ...] = ()) -> Operation:
    return Operation("get", path, summary, answer, None, query)


def _post(path: str, summary: str, body: _Kind, answer: _Kind, status: int = 200) -> Operation:
    return Operation("post", path, summary, answer, body, (), status)


def _change(method: str, path: str, summary: str, answer: _Kind, body: _Kind = None) -> Operation:
    return Operation(method, path, summary, answer, body, _CHANGE)


_LIFE_CYCLE: Final = (
    _post(
        "/v1/queues/{queue}/tasks",
        "Enqueue tasks, all or none",
        bodies.EnqueueBody,
        answers.EnqueuedAnswer,
        201,
    ),
    _post(
        "/v1/tasks",
        "Enqueue tasks of several queues, all or none",
        bodies.EnqueuePartsBody,
        answers.EnqueuedAnswer,
        201,
    ),
    _post("/v1/queues/{queue}/leases", "Lease tasks", bodies.LeaseBody, answers.LeasesAnswer),
    _post("/v1/leases/{token}/ack", "Record a task as done", bodies.AckBody, answers.SettledAnswer),
    _post("/v1/leases/{token}/fail", "Record a failed run", bodies.FailBody, answers.SettledAnswer),
    _post(
        "/v1/leases/{token}/requeue", "Give a lease back", bodies.RequeueBody, answers.SettledAnswer
    ),
    _post("/v1/leases/{token}/extend", "Prolong a lease", bodies.ExtendBody, answers.SettledAnswer),
)
_CHANGED_TASK: Final = control_answers.ChangedTaskAnswer
_TASKS: Final = (
    _get(
        "/v1/tasks",
        "List tasks in the order of their enqueue",
        control_answers.TasksAnswer,
        (*FILTER_PARAMETERS, "after", "count_max", *_READ),
    ),
    _get("/v1/tasks/{id}", "Read one task", answers.TaskAnswer, _READ_TASK),
    _change(
        "patch", "/v1/tasks/{id}", "Edit a task that waits", _CHANGED_TASK, control_bodies.EditBody
    ),
    _get(
        "/v1/tasks/{id}/result",
        "Read one task, waiting for it to be over",
        answers.TaskAnswer,
        (*_READ_TASK, "wait_ms"),
    ),
    _get("/v1/tasks/{id}/why", "What holds a task back?", control_answers.WhyAnswer, _READ),
    _post("/v1/tasks/{id}/cancel", "Cancel a task", control_bodies.EmptyBody, _CHANGED_TASK),
    _post(
        "/v1/tasks/{id}/confirm",
        "Let a prepared task go on",
        control_bodies.EmptyBody,
        _CHANGED_TASK,
    ),
    _post(
        "/v1/sweeps",
        "Do one thing with many tasks",
        control_bodies.SweepBody,
        control_answers.SweptAnswer,
    ),
)
_QUEUES: Final = (
    _get("/v1/queues", "Read all queues", control_answers.QueuesAnswer, ("after_name", *_READ)),
    _get("/v1/queues/{queue}", "Read the counts of a queue", answers.QueueAnswer, _READ),
    _get("/v1/queues/{queue}/settings", "Read the settings of a queue", QueueSettings, _READ),
    _change(
        "patch",
        "/v1/queues/{queue}/settings",
        "Change settings of a queue",
        control_answers.ChangedAnswer,
        QueueChanges,
    ),
    _post(
        "/v1/queues/{queue}/purge",
        "Cancel the tasks of a queue that have not begun",
        control_bodies.PurgeBody,
        control_answers.SweptAnswer,
    ),
)
_CHANGED: Final = control_answers.ChangedAnswer
_SETTINGS: Final = (
    _get("/v1/quota", "Read the quota of the cluster", Quota, _READ),
    _change("put", "/v1/quota", "Set the quota of the cluster", _CHANGED, Quota),
    _get("/v1/limits", "Read all limit keys", control_answers.LimitsAnswer, ("after_key", *_READ)),
    _change("put", "/v1/limits/{key}", "Limit the tasks of a key", _CHANGED, KeyLimit),
    _change("delete", "/v1/limits/{key}", "Let the tasks of a key start freely", _CHANGED),
    _get(
        "/v1/schedules",
        "Read all schedules",
        control_answers.SchedulesAnswer,
        ("after_name", *_READ),
    ),
    _get("/v1/schedules/{name}", "Read one schedule", control_answers.ScheduleAnswer, _READ),
    _change("put", "/v1/schedules/{name}", "Set a schedule", _CHANGED, ScheduleBody),
    _change("delete", "/v1/schedules/{name}", "Delete a schedule", _CHANGED),
)
_CLUSTER: Final = (
    _get("/v1/cluster", "What the answering node knows of the cluster", answers.ClusterAnswer),
    _post("/v1/cluster/members", "Add a node", bodies.AddMemberBody, answers.ClusterAnswer),
    _change("delete", "/v1/cluster/members/{member}", "Remove a member", answers.ClusterAnswer),
    _post(
        "/v1/cluster/transfer-leader",
        "Hand leadership over",
        bodies.TransferLeaderBody,
        answers.ClusterAnswer,
    ),
    _get("/v1/events", "Follow events, as server-sent events", None, EVENT_PARAMETERS),
    _get("/v1/events/ws", "Follow events, by WebSocket", None, EVENT_PARAMETERS),
    _get("/v1/backup", "Take a backup; the answer is the file", None, _READ),
    _get("/v1/openapi.json", "This document", None),
    _get("/livez", "Does the event loop answer?", answers.LiveAnswer),
    _get("/readyz", "Does this node serve calls?", answers.ReadyAnswer),
    _get("/metrics", "Prometheus metrics", None),
)
OPERATIONS: Final = (*_LIFE_CYCLE, *_TASKS, *_QUEUES, *_SETTINGS, *_CLUSTER)

_PATH_KINDS: Final[dict[str, Any]] = {
    "queue": QueueName,
    "member": QueueName,
    "token": Token,
    "id": UUID,
    "key": Key,
    "name": ScheduleName,
}
_FILTER_KINDS: Final = {field.name: field.type for field in msgspec.structs.fields(TaskFilter)}
_QUERY_KINDS: Final[dict[str, Any]] = {
    **{name: _FILTER_KINDS[field] for name, field in FILTER_PARAMETERS.items()},
    "consistency": Consistency,
    "timeout_ms": TimeoutMs,
    "wait_ms": WaitMs,
    "min_index": Index,
    "after": Index,
    "after_name": QueueName,
    "after_key": Key,
    "task_id": UUID,
    "position": PositionText,
    "count_max": bodies.PageCount,
}


def path_schemas(path: str) -> dict[str, Any]:
    """Return the schema of each name in a path, in order."""
    return {name: _schema(_PATH_KINDS[name]) for name in re.findall(r"\{(\w+)\}", path)}


def query_schemas(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of each name in a query string."""
    return {name: _schema(_QUERY_KINDS[name]) for name in names}


def _schema(kind: Any) -> dict[str, Any]:
    """Return the schema of a type without references: an enum is written where it is used."""
    (schema,), components = msgspec.json.schema_components([kind])
    text = msgspec.json.encode(schema).decode()
    for name, component in components.items():
        reference = f'{{"$ref":"#/$defs/{name}"}}'
        text = text.replace(reference, msgspec.json.encode(component).decode())
    return msgspec.json.decode(text.replace(_END_OF_TEXT, "$"), type=dict[str, Any])
