"""Replies as the command line shows them: JSON without bytes, and words for a person."""

import base64
import re
from collections.abc import Mapping
from typing import Final, cast
from uuid import UUID

import msgspec

from raftq.cli import moments
from raftq.cli.output import printable, safe
from raftq.client import (
    Backoff,
    KeyLimit,
    QueueSettings,
    QueueStatus,
    Quota,
    Rate,
    Reason,
    TaskStatus,
)
from raftq.protocol.options import TaskOptions

_NO_SETTING: Final = "none"
_HEX_ID: Final = re.compile(r"\b[0-9a-f]{32}\b")
_REASON_TIMES: Final = {
    "not_before_at_ms": "not before",
    "confirm_by_ms": "until",
    "next_at_ms": "the next at",
    "finished_at_ms": "since",
}
"""Facts of reasons that are instants, and how they are told."""


def task_facts(found: TaskStatus) -> dict[str, object]:
    """Return a task as JSON."""
    facts: dict[str, object] = {name: getattr(found, name) for name in found.__struct_fields__}
    facts["id"] = str(UUID(bytes=found.id))
    for name in ("result", "progress"):
        value: bytes | None = getattr(found, name)
        facts[name] = None if value is None else value.decode(errors="replace")
        facts[f"{name}_base64"] = None if value is None else base64.b64encode(value).decode()
    facts["history"] = [
        {name: getattr(each, name) for name in each.__struct_fields__} for each in found.history
    ]
    facts["options"] = None if found.options is None else options_facts(found.options)
    return facts


def options_facts(options: TaskOptions) -> dict[str, object]:
    """Return what a task was told beyond the plain ones, without what was not said."""
    facts: dict[str, object] = msgspec.to_builtins(options, builtin_types=(bytes,))
    if options.backoff is not None:
        facts["backoff"] = _builtin(options.backoff)
    if options.depends_on:
        facts["depends_on"] = [str(UUID(bytes=each)) for each in options.depends_on]
    return facts


def task_words(found: TaskStatus) -> dict[str, object]:
    """Return a task for a person: what it has, with times that can be read."""
    now = moments.now_ms()
    words: dict[str, object] = {
        "id": str(UUID(bytes=found.id)),
        "queue": found.queue,
        "state": found.state,
        "priority": found.priority,
        "attempts": f"{found.attempts} ({found.failures} failed of {found.attempts_max}, "
        f"{found.crashes} crashed)",
        "token": found.token,
        "worker": found.worker,
        "enqueued": moments.instant(found.enqueued_at_ms, now),
    }
    if found.not_before_at_ms > found.enqueued_at_ms:
        words["not before"] = moments.instant(found.not_before_at_ms, now)
    if found.finished_at_ms is not None:
        words["finished"] = moments.instant(found.finished_at_ms, now)
    if found.lag_ms is not None:
        words["stale"] = f"by up to {moments.span(found.lag_ms)}"
    if found.progress is not None:
        words["progress"] = printable(found.progress)
    if found.result is not None or found.state == "done":
        words["result"] = None if found.result is None else printable(found.result)
    if found.options is not None:
        words |= options_words(found.options)
    words["errors"] = "; ".join(printable(each.encode()) for each in found.errors)
    return {name: value for name, value in words.items() if value not in (None, "")} | (
        {"result": words["result"]} if "result" in words else {}
    )


def options_words(options: TaskOptions) -> dict[str, object]:
    """Return what a task was told beyond the plain ones, for a person."""
    words: dict[str, object] = {}
    for name, value in options_facts(options).items():
        words[_in_words(name)] = _option(name, value)
    if options.backoff is not None:
        words["backoff"] = backoff_text(options.backoff)
    return words


def _in_words(name: str) -> str:
    return name.removesuffix("_ms").removesuffix("_at").replace("_", " ")


def _option(name: str, value: object) -> object:
    if name.endswith("_at_ms") and isinstance(value, int):
        return moments.instant(value, moments.now_ms())
    if name.endswith("_ms") and isinstance(value, int):
        return moments.duration(value)
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value)))
    return printable(value.encode()) if isinstance(value, str) else value


def reason_words(reason: Reason) -> str:
    """Return what holds a task back for a person: ids as they are written, times to be read."""
    text = _HEX_ID.sub(lambda found: str(UUID(found[0])), safe(reason.text))
    now = moments.now_ms()
    for name, word in _REASON_TIMES.items():
        at_ms = reason.facts.get(name)
        if isinstance(at_ms, int):
            text += f"; {word} {moments.instant(at_ms, now)}"
    left_ms = reason.facts.get("lease_left_ms")
    if isinstance(left_ms, int):
        text += f"; its lease holds for {moments.span(left_ms)} unless it is extended"
    return text


# ---------------------------------------------------------------- queues and settings


def queue_facts(found: QueueStatus) -> dict[str, object]:
    """Return a queue as JSON."""
    return {
        "queue": found.queue,
        "enqueued": found.enqueued,
        "counts": found.counts,
        "settings": settings_facts(found.settings),
        "payload_bytes": found.payload_bytes,
        "oldest_ready_at_ms": found.oldest_ready_at_ms,
    }


def settings_facts(settings: QueueSettings | KeyLimit | Quota) -> dict[str, object]:
    """Return settings as JSON, those that nobody set as well."""
    return {name: _builtin(getattr(settings, name)) for name in settings.__struct_fields__}


def _builtin(value: object) -> object:
    if isinstance(value, Backoff | Rate):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    return value


def settings_words(settings: QueueSettings | KeyLimit | Quota) -> dict[str, object]:
    """Return settings as they are written on the command line."""
    words: dict[str, object] = {}
    for name in settings.__struct_fields__:
        shown = name.removesuffix("_ms").replace("_", "-")
        words[shown] = _setting(name, getattr(settings, name))
    return words


def _setting(name: str, value: object) -> object:
    if isinstance(value, Rate):
        return rate_text(value)
    if isinstance(value, Backoff):
        return backoff_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return weights_text(value)  # pyright: ignore[reportUnknownArgumentType]  # `fair_weights` is the only one.
    if name.endswith("_ms") and isinstance(value, int):
        return moments.duration(value)
    return _NO_SETTING if value is None else value


def weights_text(weights: Mapping[str, int]) -> str:
    """Return fair weights as they are written on the command line."""
    shown = ", ".join(f"{printable(key.encode())}={weight}" for key, weight in weights.items())
    return shown or _NO_SETTING


def rate_text(rate: Rate) -> str:
    """Return a rate as it is written on the command line."""
    per = moments.duration(rate.per_ms)
    burst = "" if rate.burst == 1 else f" burst {rate.burst}"
    return f"{rate.count}/{per[1:] if per[:1] == '1' and not per[1].isdigit() else per}{burst}"


def backoff_text(backoff: Backoff) -> str:
    """Return a backoff as it is written on the command line."""
    if backoff.base_ms == 0:
        return "0"
    base, longest = moments.duration(backoff.base_ms), moments.duration(backoff.max_ms)
    return f"{base} {backoff.kind} max {longest} jitter {backoff.jitter_percent}"
