"""docs/reference/native-protocol.md: its bytes are real, and it has every method and limit."""

import re
from pathlib import Path

import msgpack
import msgspec
from tests.support.asyncs import asynchronous, within
from tests.support.server_bench import serving

from raftq.protocol import codec, limits
from raftq.protocol.commands import AckItem, EnqueuePart, ExtendItem, FailItem, RequeueItem
from raftq.protocol.errors import ERRORS_BY_CODE, StorageError
from raftq.protocol.options import (
    Backoff,
    NewTask,
    QueueSettings,
    Quota,
    Rate,
    Schedule,
    TaskFilter,
    TaskOptions,
)
from raftq.protocol.replies import LeasedTask, Swept
from raftq.protocol.statuses import (
    Attempt,
    ClusterStatus,
    LimitStatus,
    NodeStatus,
    QueueList,
    QueueStatus,
    Reason,
    ScheduleList,
    ScheduleStatus,
    Settings,
    TaskPage,
    TaskStatus,
    Why,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "native-protocol.md"
ITEMS: dict[str, type[msgspec.Struct]] = {
    "enqueue": NewTask,
    "enqueue_parts": EnqueuePart,
    "ack": AckItem,
    "fail": FailItem,
    "requeue": RequeueItem,
    "extend": ExtendItem,
}
FIELDS = r"^\| `(\w+)` \|"


def hex_blocks() -> list[bytes]:
    """Return the bytes of each block, without the comments."""
    blocks = re.findall(r"^```hex\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return [bytes.fromhex(re.sub(r"#.*", "", block).replace("\n", " ")) for block in blocks]


def section(method: str) -> str:
    return (
        PAGE.read_text()
        .partition(f"### {method}\n")[2]
        .partition("\n### ")[0]
        .partition("\n## ")[0]
    )


@asynchronous
async def test_the_worked_example_is_what_goes_over_the_wire() -> None:
    hello, enqueue, answer = hex_blocks()
    assert f"({len(hello)} bytes)" in PAGE.read_text()
    assert msgpack.unpackb(hello) == [0, 1, "hello", [1, "doc"]]
    async with serving() as bench:
        client = await bench.native(hello=False)
        client.writer.write(hello)
        assert (await client.receive())[:3] == [1, 1, None]
        client.writer.write(enqueue)
        assert await within(5.0, client.reader.readexactly(len(answer))) == answer


def test_every_method_has_its_params_in_order() -> None:
    for method, call in codec.METHODS.items():
        expected = list(call.__struct_fields__)
        if method in ITEMS:
            expected += ITEMS[method].__struct_fields__
        assert re.findall(FIELDS, section(method), re.M) == expected, method
    assert len(re.findall(r"^### ", PAGE.read_text(), re.M)) == len(codec.METHODS)


def test_every_result_has_its_fields_in_order() -> None:
    text = re.sub(r"\s+", " ", PAGE.read_text())
    for kind in (
        LeasedTask,
        TaskStatus,
        Attempt,
        TaskPage,
        Why,
        Reason,
        Swept,
        QueueStatus,
        QueueList,
        Settings,
        LimitStatus,
        ScheduleList,
        ScheduleStatus,
        ClusterStatus,
        NodeStatus,
    ):
        assert ", ".join(kind.__struct_fields__) + "]" in text, kind


def test_every_map_has_its_fields() -> None:
    maps = PAGE.read_text().partition("\n## Maps\n")[2].partition("\n## ")[0]
    options, settings = (re.findall(FIELDS, part, re.M) for part in maps.split("Of a queue"))
    assert options == list(TaskOptions.__struct_fields__)
    assert settings == list(QueueSettings.__struct_fields__)
    for kind in (Backoff, Rate, Quota, TaskFilter, Schedule):
        for field in kind.__struct_fields__:
            assert f"`{field}`" in maps, (kind, field)


def test_every_error_that_a_client_can_meet_is_explained() -> None:
    table = PAGE.read_text().partition("## Errors")[2].partition("## Retry")[0]
    told = set(re.findall(r"`(\w+)`", table))
    for code, kind in ERRORS_BY_CODE.items():
        if not issubclass(kind, StorageError):
            assert code in told, code


def test_every_limit_is_the_real_one() -> None:
    text = PAGE.read_text()
    for number in (
        limits.REQUEST_BYTES_MAX,
        limits.REPLY_BYTES_MAX,
        limits.PAYLOAD_BYTES_MAX,
        limits.RESULT_BYTES_MAX,
        limits.ERROR_TEXT_CHARACTERS_MAX,
        limits.NATIVE_CALLS_IN_FLIGHT_MAX,
        limits.CONNECTIONS_PER_ADDRESS_MAX,
        limits.DELAY_MS_MAX,
        limits.LEASE_MS_MAX,
        limits.WAIT_MS_MAX,
        limits.TIMEOUT_MS_MAX,
        limits.QUEUES_PER_LEASE_MAX,
        limits.LEASES_PER_CALL_MAX,
        limits.ATTEMPTS_MAX_LIMIT,
        limits.PROGRESS_BYTES_MAX,
        limits.TASKS_LOOKED_AT_MAX,
        limits.TASKS_PER_SWEEP_MAX,
        limits.RESULT_TTL_MS_MAX,
        limits.CONFIRM_MS_MAX,
        limits.RATE_MAX,
        limits.AGEING_MS_DEFAULT,
        limits.SCHEDULE_PAYLOAD_BYTES_MAX,
    ):
        assert re.search(rf"\b{number}\b", text), number
    assert limits.NATIVE_IDLE_TIMEOUT_MS == 10 * limits.MINUTE_MS and "10 minutes" in text
    assert limits.HELLO_TIMEOUT_MS == 5_000 and "within 5 seconds" in text
