"""Any argument comes back as it was or is refused by name; any reason is text that can be read."""

from contextlib import suppress
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from raftq.protocol import limits
from raftq.worker import App
from raftq.worker.envelope import unpack
from raftq.worker.errors import InvalidArguments, UnreadablePayload
from raftq.worker.serialising.remote_error import RemoteError

app = App()


@app.task
def take(value: Any, *rest: Any, **more: dict[str, Any]) -> Any:
    return value


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)  # A signalling NaN cannot even be put into a set.
)
keys = st.text() | st.integers() | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.frozensets(scalars, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(one: object, other: object) -> bool:
    """Tell whether two values are equal, and of the same kind all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        left, right = cast("list[object]", one), cast("list[object]", other)
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(one, dict) and isinstance(other, dict):
        ours, theirs = cast("dict[object, object]", one), cast("dict[object, object]", other)
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    return one == other


@settings(deadline=None)  # A busy machine is no failure.
@given(value=values, rest=st.lists(values, max_size=2), more=st.dictionaries(keys, values))
def test_an_argument_comes_back_as_it_was_or_is_refused_by_name(
    value: object, rest: list[object], more: dict[Any, Any]
) -> None:
    try:
        payload = take.payload((value, *rest), {"more": more}, {})
    except InvalidArguments as refused:
        assert refused.argument in ("value", "rest", "more")
        return
    args, kwargs = take.decode_arguments(payload)
    assert same(args, [value, *rest]) and same(kwargs, {"more": more})


@settings(deadline=None)  # A busy machine is no failure.
@given(st.binary())
def test_no_payload_is_more_than_unreadable(payload: bytes) -> None:
    with suppress(UnreadablePayload):
        unpack(payload)


messages = st.lists(
    st.text(st.characters())
    | st.sampled_from(
        [
            "\n",
            "\n\n",
            "Traceback (most recent call last):",
            "  + Exception Group Traceback (most recent call last):",
            "a: b",
        ]
    )
).map("".join)


@settings(deadline=None)  # A busy machine is no failure.
@given(messages, st.booleans())
def test_a_reason_is_bounded_and_its_message_is_not_taken_for_a_traceback(
    message: str, has_traceback: bool
) -> None:
    calls = "Traceback (most recent call last):\n" + "  call\n" * 1_000
    text = RemoteError("mail.Refused", message, calls if has_traceback else "").text
    assert len(text) <= limits.ERROR_TEXT_CHARACTERS_MAX and text.encode()
    read = RemoteError.parse(text)
    assert read.type == "mail.Refused"
    assert ("call\n" in read.traceback) is bool(read.traceback) is has_traceback
    assert words(read.message) == words(message.encode(errors="replace").decode())


def words(text: str) -> str:
    return text.replace("\n", "")


@settings(deadline=None)  # A busy machine is no failure.
@given(messages)
def test_any_text_is_a_reason(text: str) -> None:
    read = RemoteError.parse(text)
    assert read.message or read.type or not text
