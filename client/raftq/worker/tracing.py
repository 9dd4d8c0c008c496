"""Traces of OpenTelemetry across the queue: `App(hooks=[Tracing()])`, with `raftq[otel]`.

The producer's trace travels in the task's headers; each attempt continues it. Names of spans and
attributes are those of OpenTelemetry's semantic conventions for messaging; what is raftq's own is
called `raftq.…`. Arguments and results are never recorded.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from raftq.worker.context import Context
from raftq.worker.hooks import Hook, Outgoing

try:
    from opentelemetry import context as contexts
    from opentelemetry import propagate, trace
    from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider
except ImportError as missing:
    raise ImportError("tracing needs OpenTelemetry: pip install 'raftq[otel]'") from missing

_Attributes = dict[str, str | int]


class Tracing(Hook):
    """Spans of tasks that are sent and run.

    Args:
        provider: Makes the tracer; the global one unless given.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer: Final = trace.get_tracer("raftq", tracer_provider=provider)

    @contextmanager
    def sending(self, queue: str | None, count: int) -> Generator[None]:
        """Surround a call that sends tasks with a span `send`, which their headers will name."""
        attributes = _attributes("send", queue)
        if count != 1:
            attributes["messaging.batch.message_count"] = count
        name = f"send {queue}" if queue else "send"
        with self._span(name, SpanKind.PRODUCER, attributes) as span:
            before = _send.set(span)
            try:
                yield
            finally:
                _send.reset(before)

    def enqueuing(self, outgoing: Outgoing) -> None:
        """Write the current trace into a task's headers."""
        if span := _send.get():
            span.set_attribute("messaging.message.id", str(outgoing.task_id))
            span.set_attribute("raftq.task.name", outgoing.name)
        propagate.inject(outgoing.headers)

    @contextmanager
    def running(self, context: Context) -> Generator[None]:
        """Surround a run with a span `process`, a child of what sent the task."""
        attributes = _attributes("process", context.queue) | {
            "messaging.message.id": str(context.task_id),
            "raftq.task.name": context.name,
            "raftq.attempt": context.attempt,
            "raftq.token": context.token,
        }
        sender = propagate.extract(context.headers)
        token = contexts.attach(sender)
        try:
            origin = trace.get_current_span(sender).get_span_context()
            links = [Link(origin)] if origin.is_valid else []
            name = f"process {context.queue}"
            with self._span(name, SpanKind.CONSUMER, attributes, links):
                yield
        finally:
            contexts.detach(token)

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, attributes: _Attributes, links: list[Link] | None = None
    ) -> Generator[Span]:
        """Make a span the current one; what is raised in it is told, whatever kind it is."""
        with self._tracer.start_as_current_span(
            name,
            kind=kind,
            attributes=attributes,
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                kind_of_error = type(error)
                span.record_exception(error)
                span.set_attribute(
                    "error.type", f"{kind_of_error.__module__}.{kind_of_error.__qualname__}"
                )
                span.set_status(StatusCode.ERROR, str(error))
                raise


_send: ContextVar[Span | None] = ContextVar("raftq_send", default=None)
"""The span of a call that makes a task and sends it."""


def _attributes(operation: str, queue: str | None) -> _Attributes:
    attributes: _Attributes = {
        "messaging.system": "raftq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    if queue:
        attributes["messaging.destination.name"] = queue
    return attributes
