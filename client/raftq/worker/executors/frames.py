"""What a worker and one of its child processes say to each other, over a socket pair.

Each message is four bytes of length and a MessagePack array. Beside it the worker holds a pipe of
orders: a byte in it ends the run, and its end means that the worker is gone.
"""

import struct
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from raftq.protocol.options import NewTask

LENGTH: Final = struct.Struct(">I")
END_ORDER: Final = b"e"


class Job(Struct, array_like=True, frozen=True):
    """Worker to child: run this task."""

    payload: bytes
    task_id: bytes
    queue: str
    token: int
    attempt: int


class Ready(Struct, array_like=True, frozen=True, tag=1):
    """Child to worker: the App is imported."""


class Extended(Struct, array_like=True, frozen=True, tag=2):
    """Child to worker: the run may take so many seconds from now."""

    seconds: float


class Failure(Struct, array_like=True, frozen=True):
    """How a run failed; see `RunFailed`."""

    text: str
    delay_ms: int | None = None
    is_final: bool = False


class Ended(Struct, array_like=True, frozen=True, tag=3):
    """Child to worker: the run ended with a result, or failed."""

    result: bytes | None
    failure: Failure | None
    memory_bytes: int
    """Of the child, when the run had ended."""
    follow_ups: list[tuple[str, NewTask]] = []
    """Queues and tasks to be enqueued with the result."""


class Told(Struct, array_like=True, frozen=True, tag=4):
    """Child to worker: how far the run is."""

    progress: bytes


Answer: TypeAlias = Ready | Extended | Ended | Told
_encoder: Final = msgspec.msgpack.Encoder()
_jobs: Final = msgspec.msgpack.Decoder(Job)
_answers: Final[msgspec.msgpack.Decoder[Answer]] = msgspec.msgpack.Decoder(Answer)


def frame(message: Job | Answer) -> bytes:
    """Return a message's bytes, length included."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


def job(body: bytes) -> Job:
    """Return the job that a frame holds."""
    return _jobs.decode(body)


def answer(body: bytes) -> Answer:
    """Return the answer that a frame holds."""
    return _answers.decode(body)
