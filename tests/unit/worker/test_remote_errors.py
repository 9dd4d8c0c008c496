"""An exception as the text that is recorded, and back."""

from typing import Any

import pytest

from raftq.protocol import limits
from raftq.worker.serialising.remote_error import RemoteError


class Unwilling(Exception):
    def __str__(self) -> str:
        raise ValueError


def raised(error: BaseException) -> RemoteError:
    try:
        raise error
    except BaseException as caught:
        return RemoteError.of(caught)


def test_a_person_reads_type_message_and_traceback() -> None:
    error = raised(ZeroDivisionError("division by zero"))
    first, blank, third, *_ = error.text.splitlines()
    assert (first, blank) == ("ZeroDivisionError: division by zero", "")
    assert third == "Traceback (most recent call last):"
    assert "raise error" in error.text


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"), ValueError(), ValueError("a: b"), ValueError("line\nline\n\nline"),
        KeyError("x"), Unwilling(), ExceptionGroup("two", [ValueError("a"), TypeError("b")]),
        ValueError("ä☃"),
    ],
    ids=repr,
)  # fmt: skip
def test_the_text_tells_what_was_raised(error: Exception) -> None:
    told = raised(error)
    assert RemoteError.parse(told.text) == told


def test_a_message_that_looks_like_a_traceback_does_not_become_one() -> None:
    told = raised(ValueError("x\n\nTraceback (most recent call last):\nforged"))
    read = RemoteError.parse(told.text)
    assert read.message == "x\nTraceback (most recent call last):\nforged"
    assert "raise error" in read.traceback and "forged" in read.message


def test_a_class_has_its_module_and_its_place_in_it() -> None:
    class Local(Exception): ...

    read = RemoteError.parse(raised(Local("x")).text)
    assert read.type == f"{__name__}.{Local.__qualname__}" and "<locals>" in read.type


def test_a_long_traceback_keeps_its_newest_calls_and_a_long_message_its_beginning() -> None:
    # Two hundred functions, because calls of one and the same are folded.
    calls = "".join(f"def f{each}(n):\n    f{each + 1}(n)\n" for each in range(200))
    names: dict[str, Any] = {}
    exec(calls + "def f200(n):\n    raise ValueError(n)\n", names)
    with pytest.raises(ValueError) as raised:
        names["f0"]("m" * 10_000)
    told = RemoteError.of(raised.value)
    assert len(told.traceback) > len(told.text) == limits.ERROR_TEXT_CHARACTERS_MAX
    read = RemoteError.parse(told.text)
    assert read.message.startswith("mmm") and read.message.endswith("…")
    assert read.traceback.startswith("Traceback (most recent call last):\n  …\n")
    assert read.traceback.rstrip().endswith("m")


def test_text_that_is_no_unicode_is_made_so() -> None:
    assert raised(ValueError("a\ud800b")).text.startswith("ValueError: a?b")


@pytest.mark.parametrize(
    "text", ["", "lease ran out (worker w: 1)", ": x", "\n", "7up: x", "a b: c"]
)
def test_a_reason_that_is_no_exception_has_no_type(text: str) -> None:
    assert RemoteError.parse(text) == RemoteError("", text)


def test_the_machinery_around_the_function_is_not_shown() -> None:
    error = raised(ValueError("x"))
    assert "raftq/worker" not in error.text
    from raftq.worker.envelope import unpack
    from raftq.worker.errors import UnreadablePayload

    with pytest.raises(UnreadablePayload) as unreadable:
        unpack(b"")
    calls = unreadable.value.__traceback__
    assert calls is not None
    ours = unreadable.value.with_traceback(calls.tb_next)
    assert RemoteError.of(ours).traceback == ""
