"""The blocking client is the asyncio client, for threads."""

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest
from tests.support.fake_node import FakeCluster, Script, Silent, success

from raftq.client import AsyncClient, Client
from raftq.protocol.errors import Conflict, ConnectionLost, InvalidRequest
from raftq.protocol.statuses import TaskStatus

FOREIGN = {"run"}
"""What only `Client` has."""


@contextmanager
def node(answer: Script = success) -> Generator[str]:
    """Yield the address of a scripted node that runs on a thread of its own."""
    addresses: list[str] = []
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        async with FakeCluster(1) as cluster:
            cluster["n1"].fallback = answer
            addresses.append(cluster.addresses)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(20)
        yield addresses[0]
    finally:
        ended.set()
        thread.join()


def public(cls: type) -> dict[str, object]:
    # What makes a client of something else than addresses differs: `over`.
    names = [name for name in dir(cls) if not name.startswith("_") and name != "over"]
    members = {name: getattr(cls, name) for name in names}
    return {name: value for name, value in members.items() if callable(value)}


def test_both_clients_have_the_same_methods() -> None:
    assert set(public(Client)) - FOREIGN == set(public(AsyncClient))


@pytest.mark.parametrize("name", [*sorted(public(AsyncClient)), "__init__"])
def test_a_method_takes_the_same_arguments_in_both_clients(name: str) -> None:
    asynchronous = inspect.signature(getattr(AsyncClient, name))
    blocking = inspect.signature(getattr(Client, name))
    names = [each for each in asynchronous.parameters if each not in ("random", "wall_ms")]
    assert list(blocking.parameters) == names
    for parameter in names:
        assert blocking.parameters[parameter] == asynchronous.parameters[parameter]
    if name == "tasks":
        assert (asynchronous.return_annotation, blocking.return_annotation) == (
            AsyncIterator[TaskStatus],
            Iterator[TaskStatus],
        )
    else:
        assert blocking.return_annotation == asynchronous.return_annotation


def test_a_blocking_method_returns_the_answer_and_raises_the_error() -> None:
    with node() as address, Client(address) as client:
        assert client.enqueue("q", b"x").created
        assert client.new_task(b"x").id < client.new_id()
    with node(Conflict("other")) as address, Client(address) as client, pytest.raises(Conflict):
        client.enqueue("q", b"x")


def test_arguments_that_do_not_fit_are_refused_at_once_and_harm_no_other_call() -> None:
    refusals: list[str] = []
    with node() as address, Client(address) as client:

        def call_wrongly() -> None:
            try:
                client.enqueue("q")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
            except TypeError as error:
                refusals.append(str(error))

        caller = threading.Thread(target=call_wrongly, daemon=True)
        caller.start()
        caller.join(10)
        assert not caller.is_alive(), "it waits for a call that was never made"
        assert client.enqueue("q", b"x").created
    assert len(refusals) == 1
    assert "payload" in refusals[0]


def test_threads_share_a_client() -> None:
    with node() as address, Client(address) as client, ThreadPoolExecutor(16) as pool:
        ids = [uuid4() for _ in range(300)]
        calls = [pool.submit(client.enqueue, "q", b"x", id=each) for each in ids]
        assert [call.result(20).id for call in calls] == [each.bytes for each in ids]


def test_ids_made_on_many_threads_differ() -> None:
    with Client("127.0.0.1:1") as client, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(lambda: [client.new_id() for _ in range(500)]) for _ in range(16)]
        assert len({each for call in calls for each in call.result(20)}) == 16 * 500


def test_a_closed_client_refuses_calls_and_closing_again_is_harmless() -> None:
    with node() as address:
        client = Client(address)
        client.enqueue("q", b"x")
        client.close()
        client.close()
        with pytest.raises(InvalidRequest, match="closed"):
            client.enqueue("q", b"x")


def test_a_client_that_was_never_used_closes() -> None:
    Client("127.0.0.1:1").close()


def test_close_ends_the_calls_of_other_threads() -> None:
    with node(Silent()) as address:
        client = Client(address)
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(client.enqueue, "q", b"x", timeout=50) for _ in range(4)]
            while client.run(_open_calls) < 5:  # This one, too.
                time.sleep(0.005)
            began = time.monotonic()
            client.close()
            for call in calls:
                with pytest.raises((ConnectionLost, InvalidRequest)):
                    call.result(20)
            assert time.monotonic() - began < 10


async def _open_calls(_: AsyncClient) -> int:
    return len(asyncio.all_tasks())


def test_calls_that_race_with_close_end_and_never_hang() -> None:
    with node() as address:
        for _ in range(20):
            client = Client(address)
            with ThreadPoolExecutor(4) as pool:
                calls = [pool.submit(client.queue, "q") for _ in range(8)]
                client.close()
                for call in calls:
                    error = call.exception(20)
                    assert error is None or isinstance(error, InvalidRequest | ConnectionLost)


def test_its_own_thread_cannot_wait_for_itself() -> None:
    with node() as address, Client(address) as client:

        async def within(_: AsyncClient) -> None:
            with pytest.raises(InvalidRequest, match="own thread"):
                client.enqueue("q", b"x")
            with pytest.raises(InvalidRequest, match="own thread"):
                client.close()

        client.run(within)
        assert client.enqueue("q", b"x").created


def test_an_address_that_is_none_is_refused_before_a_thread_is_started() -> None:
    before = threading.active_count()
    with pytest.raises(InvalidRequest):
        Client("nowhere:x")
    assert threading.active_count() == before


PROGRAM = """
import gc, sys
from raftq.client import Client
client = Client(sys.argv[1])
assert client.enqueue("q", b"x").created
{end}
"""


@pytest.mark.parametrize(
    "end",
    ["client.close()", "", "del client; gc.collect()", "raise SystemExit(0)"],
    ids=["closed", "left open", "dropped", "exit"],
)
def test_a_program_ends_without_a_warning(end: str) -> None:
    with node() as address:
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM.format(end=end), address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_an_interrupted_caller_takes_its_call_with_it() -> None:
    program = """
import asyncio, signal, sys, threading, time
from raftq.client import Client

client = Client(sys.argv[1], timeout="60s")
main = threading.main_thread().ident
threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT]).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
began = time.monotonic()
try:
    client.queue("q")
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - began < 20)
while asyncio.all_tasks(client._loop) and time.monotonic() - began < 20:
    time.sleep(0.01)
print("ended", time.monotonic() - began < 20)
client.close()
"""
    with node(Silent()) as address:
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", program, address],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert (ended.stdout, ended.stderr) == ("interrupted True\nended True\n", "")
