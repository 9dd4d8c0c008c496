"""Arguments and results as bytes, and back as what the annotations say."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypedDict, TypeVar
from uuid import UUID, uuid4

import msgspec
import pydantic
import pytest

from raftq.protocol import limits
from raftq.protocol.errors import PayloadTooLarge
from raftq.worker import App
from raftq.worker.errors import (
    InvalidArguments,
    InvalidTask,
    UnknownTaskName,
    UnreadablePayload,
    UnreadableResult,
)
from raftq.worker.serialising.serializer import MsgpackSerializer
from raftq.worker.task import Task

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(Enum):
    RED = "red"


class Level(StrEnum):
    HIGH = "high"


@dataclass(frozen=True)
class Address:
    street: str
    lines: tuple[str, ...] = ()


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    id: UUID


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    at: datetime
    price: Decimal
    by: str = pydantic.Field(alias="from")


def declared(function: Callable[..., Any], **options: Any) -> Task[..., Any]:
    task: Task[..., Any] = App().task(name="task", **options)(function)
    return task


def there_and_back(task: Task[..., Any], *args: object, **kwargs: object) -> tuple[Any, Any]:
    payload = task.payload(args, kwargs, {})
    return task.decode_arguments(payload)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, -(2**63)),
        (float, 1.5),
        (str, "ä\0"),
        (bytes, b"\xff\0"),
        (bool, True),
        (datetime, datetime(2026, 3, 29, 2, 30, 0, 123456)),
        (datetime, datetime(2026, 3, 29, 2, 30, tzinfo=UTC)),
        (datetime, datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=2)))),
        (date, date(2026, 2, 28)),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (UUID, uuid4()),
        (Decimal, Decimal("1.10")),
        (Colour, Colour.RED),
        (Level, Level.HIGH),
        (Address, Address("a", ("b", "c"))),
        (Point, Point(1, 2)),
        (Row, {"id": uuid4()}),
        (set[int], {1, 2}),
        (frozenset[str], frozenset({"a"})),
        (tuple[int, str], (1, "a")),
        (list[Address], [Address("a")]),
        (dict[int, Decimal], {1: Decimal(2)}),
        (UUID | None, None),
        (Order, Order(at=datetime(2026, 1, 1), price=Decimal("2.50"), **{"from": "me"})),
        (list[Order], []),
        (Any, {"a": [1, None, b"b", {"c": 1.5}]}),
    ],
)
def test_a_value_comes_back_as_its_annotation_says(annotation: Any, value: object) -> None:
    def function(argument: Any) -> Any:
        return argument

    function.__annotations__ = {"argument": annotation, "return": annotation}
    task = declared(function)
    ((by_position,), _) = there_and_back(task, value)
    (_, by_name) = there_and_back(task, argument=value)
    assert by_position == by_name["argument"] == value
    assert type(by_position) is type(value)
    assert task.decode_result(task.encode_result(value)) == value


def test_every_kind_of_parameter_is_read_by_its_own_annotation() -> None:
    def function(
        first: UUID, /, second: date, *rest: Decimal, named: set[int], **more: bytes
    ) -> None: ...

    one, day = uuid4(), date(2026, 1, 1)
    args, kwargs = there_and_back(
        declared(function), one, day, Decimal(1), Decimal(2), named={3}, second2=b"x", third=b"y"
    )
    assert args == [one, day, Decimal(1), Decimal(2)]
    assert kwargs == {"named": {3}, "second2": b"x", "third": b"y"}


def test_defaults_are_the_workers_and_are_not_sent() -> None:
    def function(number: int, factor: int = 2) -> None: ...

    assert there_and_back(declared(function), 1) == ([1], {})


def test_a_class_that_is_defined_further_down_can_be_named() -> None:
    def function(later: "Later") -> None: ...

    task = declared(function)
    assert there_and_back(task, Later(1)) == ([Later(1)], {})


@dataclass
class Later:
    number: int


@pytest.mark.parametrize(
    ("args", "kwargs", "words", "argument"),
    [
        ((), {}, "missing a required argument: 'address'", None),
        (("a", 1, 2), {}, "too many positional arguments", None),
        (("a",), {"tme": 1}, "unexpected keyword argument 'tme'", None),
        ((1,), {}, "argument 'address' of task 'task' is int, not str", "address"),
        (("a", "b"), {}, "argument 'times' of task 'task' is str, not int", "times"),
        (("a", 2**64), {}, r"argument 'times' .* cannot be sent: .*send it as a str", "times"),
        (("\ud800",), {}, "argument 'address' of task 'task' .* cannot be sent", "address"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    args: tuple[object, ...], kwargs: dict[str, object], words: str, argument: str | None
) -> None:
    def function(address: str, times: int = 1) -> None: ...

    with pytest.raises(InvalidArguments, match=words) as refused:
        declared(function).payload(args, kwargs, {})
    assert refused.value.argument == argument


def test_a_further_named_argument_is_named_as_it_was_given() -> None:
    def function(**more: int) -> None: ...

    with pytest.raises(InvalidArguments, match="argument 'size' of task 'task' is str, not int"):
        declared(function).payload((), {"size": "x"}, {})


@pytest.mark.parametrize(
    "value", [(1, 2), uuid4(), Decimal(1), {1}, date(2026, 1, 1), Address("a"), {"a": (1,)}]
)
@pytest.mark.parametrize(
    "annotation", [None, Any, object, TypeVar("T"), dict[str, Any] | list[Any]]
)
def test_a_value_that_would_arrive_as_another_is_refused(annotation: Any, value: object) -> None:
    def function(argument: Any) -> None: ...

    function.__annotations__ = {} if annotation is None else {"argument": annotation}
    with pytest.raises(InvalidArguments, match="argument 'argument'"):
        declared(function).payload((value,), {}, {})


def test_what_an_annotation_says_only_in_part_is_not_lost_in_silence() -> None:
    def function(row: dict[str, Any]) -> None: ...

    task = declared(function)
    assert there_and_back(task, {"a": [1]}) == ([{"a": [1]}], {})
    with pytest.raises(InvalidArguments, match="annotate it with its full type"):
        task.payload(({"a": (1,)},), {}, {})


def test_a_value_of_no_known_type_is_refused_with_what_to_do() -> None:
    def function(path: Any) -> None: ...

    with pytest.raises(InvalidArguments, match=r"'path'.*Path.* cannot be sent.*serializer"):
        declared(function).payload((Path("/"),), {}, {})
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidArguments, match="contains itself"):
        declared(function).payload((loop,), {}, {})


def test_a_pydantic_model_that_does_not_fit_is_refused() -> None:
    def function(order: Order) -> None: ...

    with pytest.raises(InvalidArguments, match="argument 'order'"):
        declared(function).payload(({"at": 1},), {}, {})


def test_annotations_that_can_never_be_read_are_named() -> None:
    def missing(value: "Fraction") -> None: ...

    def mixed(value: Path | dict[str, int]) -> None: ...

    with pytest.raises(InvalidTask, match=r"annotations of task 'task' cannot be evaluated.*Fra"):
        declared(missing).arguments.check()
    with pytest.raises(InvalidTask, match=r"argument 'value' of task 'task' is .*cannot be read"):
        declared(mixed).arguments.check()


def test_arguments_over_the_clusters_limit_are_refused_with_the_sizes() -> None:
    def function(content: bytes) -> bytes:
        return content

    task = declared(function)
    room = limits.PAYLOAD_BYTES_MAX - len(task.payload((b"",), {}, {})) - 8
    task.payload((bytes(room),), {}, {})
    with pytest.raises(
        PayloadTooLarge, match=f"'task' take .* {limits.PAYLOAD_BYTES_MAX}"
    ) as large:
        task.payload((bytes(limits.PAYLOAD_BYTES_MAX),), {}, {})
    assert large.value.facts["payload_bytes_max"] == limits.PAYLOAD_BYTES_MAX
    with pytest.raises(PayloadTooLarge, match="the result of task 'task' takes"):
        task.encode_result(bytes(limits.RESULT_BYTES_MAX))


def test_a_result_that_cannot_be_stored_or_read_is_an_error() -> None:
    def function() -> int:
        return 1

    task = declared(function)
    assert task.encode_result(None) is None
    assert task.decode_result(None) is None
    with pytest.raises(InvalidArguments, match=r"the result of task 'task' \(PosixPath\)"):
        task.encode_result(Path("/"))
    stored = task.encode_result("no number")
    assert stored is not None
    with pytest.raises(UnreadableResult, match="result of task 'task' is not int") as unreadable:
        task.decode_result(stored)
    assert unreadable.value.raw == stored


# ---------------------------------------------------------------- the payload


def test_an_app_reads_a_payload_into_the_task_that_it_names() -> None:
    app = App()

    @app.task(timeout="30s")
    def send(address: str) -> None: ...

    invocation = app.read(send.payload(("a@b",), {}, {"traceparent": "00-1"}))
    assert (invocation.task, invocation.args, invocation.kwargs) == (send, ["a@b"], {})
    assert (invocation.headers, invocation.timeout_ms) == ({"traceparent": "00-1"}, 30_000)
    assert app.read(send.payload(("a",), {}, {}, 5)).timeout_ms == 5
    assert app.read(send.payload(("a",), {}, {}, 0)).timeout_ms is None


def test_a_payload_is_messagepack_that_any_language_can_write() -> None:
    app = App()

    @app.task
    def send(address: str, times: int) -> None: ...

    assert msgspec.msgpack.decode(send.payload(("a",), {"times": 2}, {"h": "1"})) == [
        1, "send", ["a"], {"times": 2}, {"headers": {"h": "1"}},
    ]  # fmt: skip
    foreign = msgspec.msgpack.encode([1, "send", ["a", 2], {}])
    assert app.read(foreign).args == ["a", 2]
    newer = msgspec.msgpack.encode([1, "send", ["a", 2], {}, {"colour": "red"}, "more"])
    assert app.read(newer).args == ["a", 2]


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"text", b"\x91", b"\xc1", b"\x81\xa1a\x01", b"\xd9\xff", b"\x91" * 5_000,
        msgspec.msgpack.encode([1, 2, [], {}]),
        msgspec.msgpack.encode([1, "send", {}, {}]),
        msgspec.msgpack.encode([1, "send", [], {1: 2}]),
        msgspec.msgpack.encode([1, "send", [], {}, {"timeout_ms": -1}]),
        msgspec.msgpack.encode([2, "send", [], {}]),
        b"\x94\x01\xa2\xff\xfe\x90\x80",
    ],
)  # fmt: skip
def test_any_other_bytes_are_unreadable(payload: bytes) -> None:
    app = App()

    @app.task
    def send() -> None: ...

    with pytest.raises(UnreadablePayload):
        app.read(payload)


def test_an_unknown_name_suggests_the_nearest() -> None:
    app = App()

    @app.task
    def send() -> None: ...

    with pytest.raises(UnknownTaskName, match=r"'sned' \(did you mean 'send'\?\)"):
        app.read(msgspec.msgpack.encode([1, "sned", [], {}]))


def test_arguments_of_a_newer_producer_are_refused_by_name() -> None:
    app = App()

    @app.task
    def send(address: str) -> None: ...

    with pytest.raises(InvalidArguments, match="unexpected keyword argument 'copy'"):
        app.read(msgspec.msgpack.encode([1, "send", ["a"], {"copy": "b"}]))
    with pytest.raises(InvalidArguments, match="argument 'address' of task 'send' is not str"):
        app.read(msgspec.msgpack.encode([1, "send", [7], {}]))


# ---------------------------------------------------------------- other serializers


class Reversed:
    """A format of somebody's own: text, backwards."""

    name = "reversed"

    def encode(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise TypeError("not a str")
        return value[::-1].encode()

    def decoder(self, annotation: object) -> Callable[[bytes], object]:
        return lambda stored: stored.decode()[::-1]


def test_another_serializer_stores_arguments_and_results() -> None:
    app = App(serializer=Reversed())

    @app.task
    def send(address: str, *, name: str) -> str:
        return name

    payload = send.payload(("abc",), {"name": "xyz"}, {})
    assert b"cba" in payload and b"zyx" in payload
    assert app.read(payload).args == ["abc"]
    assert send.encode_result("abc") == b"cba"
    assert send.decode_result(b"cba") == "abc"
    with pytest.raises(InvalidArguments, match="not a str"):
        send.payload((1,), {"name": "a"}, {})


def test_a_worker_refuses_a_format_that_its_task_was_not_declared_with() -> None:
    there, here = App(serializer=Reversed()), App()

    def send(address: str) -> None: ...

    payload = there.task(send).payload(("abc",), {}, {})
    here.task(send)
    with pytest.raises(UnreadablePayload, match=r"format 'reversed'.*reads 'msgpack'"):
        here.read(payload)
    per_task = App()
    per_task.task(serializer=Reversed())(send)
    assert per_task.read(payload).args == ["abc"]


def test_hooks_of_the_serializer_add_types() -> None:
    def encode(value: object) -> object:
        if isinstance(value, Path):
            return str(value)
        raise NotImplementedError

    def decode(kind: type[Any], stored: object) -> object:
        if kind is Path:
            return Path(str(stored))
        raise NotImplementedError

    def function(path: Path, order: Order | None = None) -> None: ...

    order = Order(at=datetime(2026, 1, 1), price=Decimal(1), **{"from": "me"})
    task = declared(function, serializer=MsgpackSerializer(encode, decode))
    assert there_and_back(task, Path("/a"), order) == ([Path("/a"), order], {})
    with pytest.raises(InvalidArguments):
        task.payload((object(),), {}, {})


class Incomparable:
    """Like an array of numpy: comparing it is no answer."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]  # Python's own way to say unhashable.


def test_a_value_that_cannot_be_compared_would_arrive_as_another() -> None:
    def function(value: Any) -> None: ...

    task = declared(function, serializer=MsgpackSerializer(lambda value: [1]))
    with pytest.raises(InvalidArguments, match="would arrive as something"):
        task.payload((Incomparable(),), {}, {})


def test_metadata_of_an_annotation_is_not_looked_into() -> None:
    def function(value: Annotated[int, Incomparable()]) -> None: ...

    assert there_and_back(declared(function), 1) == ([1], {})


def test_a_function_whose_parameters_nobody_knows_is_no_task() -> None:
    values: dict[str, Any] = {}
    with pytest.raises(InvalidTask, match="has no known parameters"):
        declared(values.update)


# ---------------------------------------------------------------- what fits


def none() -> None: ...
def two(a: int, b: int) -> None: ...
def one_of_two(a: int, b: int = 0) -> None: ...
def by_position(a: int, b: int = 0, /) -> None: ...
def by_name(a: int = 0, *, b: int) -> None: ...
def by_name_or_not(a: int, *, b: int = 0) -> None: ...
def any_number(a: int, *more: int, **named: int) -> None: ...


@pytest.mark.parametrize("skipped", [0, 1])
@pytest.mark.parametrize("named", [{}, {"b": 1}, {"c": 1}], ids=str)
@pytest.mark.parametrize(
    "function", [none, two, one_of_two, by_position, by_name, by_name_or_not, any_number]
)
def test_arguments_fit_exactly_if_python_could_call_the_function_with_them(
    function: Callable[..., None], named: dict[str, int], skipped: int
) -> None:
    arguments = App().declare(function, {}).arguments
    for count in range(4):
        try:
            function(*[0] * (skipped + count), **named)
        except TypeError:
            with pytest.raises(InvalidArguments):
                arguments.encode([1] * count, named, skipped)
            with pytest.raises(InvalidArguments):
                arguments.decode([b"\x01"] * count, dict.fromkeys(named, b"\x01"), skipped)
        else:
            stored, by_names = arguments.encode([1] * count, named, skipped)
            assert arguments.decode(stored, by_names, skipped) == ([1] * count, named)
