"""Traces across the queue: what a producer began, each attempt continues."""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer, get_current_span

from raftq.protocol.errors import NoLeader
from raftq.worker import App, Context, current
from raftq.worker.hooks import Hook, Outgoing
from raftq.worker.tracing import Tracing

PROVIDER = TracerProvider()
EXPORTER = InMemorySpanExporter()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))
TRACER: Tracer = PROVIDER.get_tracer("test")


@pytest.fixture(autouse=True)
def no_spans() -> Generator[None]:
    EXPORTER.clear()
    yield


def spans(operation: str) -> list[ReadableSpan]:
    """Return the spans that ended, of one operation."""
    ended = EXPORTER.get_finished_spans()
    return [each for each in ended if each.name.split()[0] == operation]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_id(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def ids(span: ReadableSpan) -> tuple[int, int]:
    identity = span.get_span_context()
    assert identity is not None
    return identity.trace_id, identity.span_id


def made(*hooks: Hook) -> App:
    app = App(hooks=[*hooks, Tracing(PROVIDER)])

    @app.task(queue="mail", attempts_max=2)
    def send(address: str) -> int:
        if address == "full":
            raise ValueError("mailbox full")
        return ids_of_current()[1]

    @app.task(queue="other")
    async def asend(address: str) -> int:
        await asyncio.sleep(0)
        return ids_of_current()[1]

    return app


def ids_of_current() -> tuple[int, int]:
    here = get_current_span().get_span_context()
    return here.trace_id, here.span_id


def test_a_run_continues_the_trace_of_its_producer() -> None:
    app = made()
    with app.testing() as testing, TRACER.start_as_current_span("request") as request:
        job = app.tasks["send"].enqueue("a")
        testing.run_pending()
        result = job.result()
    (sent,), (processed,) = spans("send"), spans("process")
    assert parent_id(sent) == request.get_span_context().span_id
    assert parent_id(processed) == ids(sent)[1]
    assert ids(processed)[0] == ids(sent)[0] == request.get_span_context().trace_id
    assert [(link.context.trace_id, link.context.span_id) for link in processed.links] == [
        ids(sent)
    ]
    assert result == ids(processed)[1], "it is the current span of the task's code"


def test_spans_are_named_and_described_as_the_conventions_say() -> None:
    app = made()
    with app.testing() as testing:
        job = app.tasks["send"].enqueue("a")
        testing.run_pending()
    (sent,), (processed,) = spans("send"), spans("process")
    common = {
        "messaging.system": "raftq",
        "messaging.destination.name": "mail",
        "messaging.message.id": str(job.id),
        "raftq.task.name": "send",
    }
    assert (sent.name, sent.kind) == ("send mail", SpanKind.PRODUCER)
    assert attributes(sent) == common | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
    }
    assert (processed.name, processed.kind) == ("process mail", SpanKind.CONSUMER)
    token = attributes(processed)["raftq.token"]
    assert token >= 1
    assert attributes(processed) == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "raftq.attempt": 1,
        "raftq.token": token,
    }


def test_each_attempt_has_a_span_that_tells_what_it_raised() -> None:
    app = made()
    with app.testing() as testing:
        app.tasks["send"].enqueue("full")
        testing.run_pending(fail_fast=False)
    first, second = spans("process")
    assert [attributes(each)["raftq.attempt"] for each in (first, second)] == [1, 2]
    assert ids(first)[0] == ids(second)[0] and parent_id(first) == parent_id(second)
    for each in (first, second):
        assert not each.status.is_ok and each.status.description == "mailbox full"
        assert attributes(each)["error.type"] == "builtins.ValueError"
        assert [event.name for event in each.events] == ["exception"]


def test_async_code_is_traced_alike() -> None:
    app = made()

    async def body() -> None:
        async with app.testing() as testing:
            jobs = await asyncio.gather(*(app.tasks["asend"].aenqueue("a") for _ in range(3)))
            await testing.arun_pending()
            results = [await job.aresult() for job in jobs]
        assert sorted(results) == sorted(ids(each)[1] for each in spans("process"))

    asyncio.run(body())
    assert {parent_id(each) for each in spans("process")} == {
        ids(each)[1] for each in spans("send")
    }
    assert len({ids(each)[0] for each in spans("send")}) == 3


def test_drafts_are_part_of_the_trace_in_which_they_were_made() -> None:
    app = made()
    with app.testing() as testing:
        with TRACER.start_as_current_span("request") as request:
            drafts = [app.tasks["send"].draft("a") for _ in range(2)]
        app.enqueue_many(drafts)
        testing.run_pending()
    (sent,) = spans("send")
    assert attributes(sent)["messaging.batch.message_count"] == 2
    assert "messaging.message.id" not in attributes(sent)
    for each in spans("process"):
        assert parent_id(each) == request.get_span_context().span_id


def test_a_task_that_enqueues_goes_on_with_its_trace() -> None:
    app = made()

    @app.task(queue="orders")
    def order() -> None:
        app.tasks["send"].enqueue("a")

    with app.testing() as testing:
        order.enqueue()
        testing.run_pending()
    assert len({ids(each)[0] for each in EXPORTER.get_finished_spans()}) == 1
    (run_of_order, _) = spans("process")
    (_, mail) = spans("send")
    assert parent_id(mail) == ids(run_of_order)[1]


def test_a_task_from_elsewhere_begins_a_trace() -> None:
    app = made()
    task = app.tasks["send"]
    with app.testing() as testing, TRACER.start_as_current_span("not its parent"):
        testing.client().enqueue("mail", task.payload(("a",), {}, {}))
        with testing.client() as client:
            client.enqueue("mail", task.payload(("a",), {}, {"traceparent": "nonsense"}))
        context_before = context.attach(context.Context())
        testing.run_pending()
        context.detach(context_before)
    assert [each.parent for each in spans("process")] == [None, None]
    assert all(not each.links for each in spans("process"))


def test_an_enqueue_that_fails_is_seen_in_its_span() -> None:
    class Away(Hook):
        def enqueuing(self, outgoing: Outgoing) -> None:
            raise NoLeader("no leader")

    app = App(hooks=[Tracing(PROVIDER), Away()])

    @app.task(queue="mail")
    def send() -> None: ...

    with app.testing(), pytest.raises(NoLeader):
        send.enqueue()
    (sent,) = spans("send")
    assert attributes(sent)["error.type"] == "raftq.protocol.errors.NoLeader"
    assert not sent.status.is_ok


def test_baggage_arrives_and_headers_of_others_are_kept() -> None:
    seen: list[object] = []

    class Looking(Hook):
        def running(self, context: Context) -> Any:
            seen.append((baggage.get_baggage("tenant"), context.headers["mine"]))
            return super().running(context)

    app = App(hooks=[Tracing(PROVIDER), Looking()])

    @app.task
    def look() -> None:
        seen.append(sorted(current().headers))

    token = context.attach(baggage.set_baggage("tenant", "x"))
    with app.testing() as testing:
        look.options(headers={"mine": "1"}).enqueue()
        context.detach(token)
        testing.run_pending()
    assert seen == [("x", "1"), ["baggage", "mine", "traceparent"]]


def test_without_opentelemetry_the_advice_is_to_install_it() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None; import raftq.worker.tracing"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: tracing needs OpenTelemetry: pip install 'raftq[otel]'" in ended.stderr


def test_an_app_without_tracing_does_not_load_it() -> None:
    program = "import sys, raftq.worker; sys.exit('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
