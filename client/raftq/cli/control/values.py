"""What is written on the command line for settings: rates, backoffs, counts, sizes, weights."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from raftq.client import Backoff, BackoffKind, Rate
from raftq.client import backoff as make_backoff
from raftq.client.keywords.rates import rate_of
from raftq.protocol import limits
from raftq.protocol.errors import InvalidRequest

T = TypeVar("T", bound=msgspec.Struct)
NOTHING: Final = "none"
"""Takes a bound away."""
_SIZE: Final = re.compile(r"([0-9]+)\s*(B|KiB|MiB|GiB)?\Z")
_SIZES: Final = {"B": 1, "KiB": limits.KIB, "MiB": limits.MIB, "GiB": 1_024 * limits.MIB}
_BACKOFF: Final = re.compile(
    r"(?P<base>\S+)(?:\s+(?P<kind>fixed|linear|exponential))?(?:\s+max\s+(?P<max>\S+))?"
    r"(?:\s+jitter\s+(?P<jitter>[0-9]+)%?)?\Z"
)


def bounds(
    given: Mapping[str, tuple[str | None, Callable[[str], object]]],
) -> dict[str, object]:
    """Return those bounds that are given, read; `none` is None, which takes the bound away.

    Raises:
        InvalidRequest: One is not written as it must be; the text names its option.
    """
    found: dict[str, object] = {}
    for name, (text, read) in given.items():
        if text is not None:
            try:
                found[name] = None if text.strip() == NOTHING else read(text)
            except InvalidRequest as error:
                option = "--" + name.replace("_", "-")
                raise InvalidRequest(f"{option}: {error.message}") from None
    return found


def changed(present: T, changes: Mapping[str, object]) -> T:
    """Return settings with changes."""
    return msgspec.structs.replace(present, **changes)


def read_count(text: str) -> int:
    """Return a whole number.

    Raises:
        InvalidRequest: It is none.
    """
    if not text.strip().isascii() or not text.strip().isdigit():
        raise InvalidRequest(f"{text!r} is no number; write a whole number, or {NOTHING!r}")
    return int(text)


def read_size(text: str) -> int:
    """Return a number of bytes, written like `1048576` or `64MiB`.

    Raises:
        InvalidRequest: It is none.
    """
    match = _SIZE.match(text.strip())
    if match is None:
        raise InvalidRequest(
            f"{text!r} is no size; write bytes or a number with KiB, MiB or GiB, or {NOTHING!r}"
        )
    return int(match[1]) * _SIZES[match[2] or "B"]


def read_rate(text: str) -> Rate:
    """Return a rate, written like `10/s` or `100/5m burst 20`.

    Raises:
        InvalidRequest: It is none.
    """
    return rate_of(text)


def read_backoff(text: str) -> Backoff:
    """Return a backoff, written like `5s` or `1s linear max 10m jitter 20`.

    Raises:
        InvalidRequest: It is none.
    """
    match = _BACKOFF.match(text.strip())
    if match is None:
        raise InvalidRequest(
            f"{text!r} is no backoff; write the first pause, and if you like the kind, the longest "
            "pause and the jitter in percent, like '5s' or '1s linear max 10m jitter 20'"
        )
    kind = BackoffKind(match["kind"] or BackoffKind.EXPONENTIAL)
    jitter = int(match["jitter"] or Backoff().jitter_percent)
    if match["max"] is not None:
        return make_backoff(match["base"], kind, max=match["max"], jitter_percent=jitter)
    made = make_backoff(match["base"], kind, jitter_percent=jitter)
    # A first pause that is longer than the usual longest one means what it says.
    return Backoff(made.base_ms, made.kind, max(made.base_ms, made.max_ms), made.jitter_percent)


def read_weights(texts: Sequence[str], present: Mapping[str, int]) -> dict[str, int]:
    """Return fair weights: those there are, with the given ones set; a weight of 1 is the default.

    Raises:
        InvalidRequest: One is not written like `KEY=WEIGHT`.
    """
    weights: dict[str, int] = {} if NOTHING in texts else dict(present)
    for text in texts:
        key, separator, weight = text.rpartition("=")
        if text == NOTHING:
            continue
        if not separator or not key or not weight.isascii() or not weight.isdigit():
            raise InvalidRequest(f"{text!r} is no weight; write KEY=WEIGHT, like 'gold=3'")
        weights[key] = int(weight)
    return {key: weight for key, weight in weights.items() if weight != 1}
