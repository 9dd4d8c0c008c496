"""How values become bytes and come back as what the annotations say.

The default is MessagePack by msgspec: None, bool, int, float, str, bytes, list, tuple, set, dict,
datetime, date, time, timedelta, UUID, Decimal, enums, dataclasses, TypedDicts, NamedTuples, msgspec
structs and, where installed, pydantic models. No pickle: whoever can enqueue could then run any
code in the workers.
"""

import sys
from collections.abc import Callable
from typing import Any, Protocol

import msgspec


class Serializer(Protocol):
    """How an App stores arguments and results; pass another one as `App(serializer=…)`.

    Workers and producers must use the same. The `name` is stored with each task, and a worker
    refuses a task of another name instead of guessing.
    """

    @property
    def name(self) -> str:
        """What this format is called."""
        ...

    def encode(self, value: object) -> bytes:
        """Return a value as bytes; raise TypeError or ValueError if that is not possible."""
        ...

    def decoder(self, annotation: object) -> Callable[[bytes], object]:
        """Return a function that reads values of a type; it raises ValueError on others.

        Raises:
            TypeError: Values of this type can never be read.
        """
        ...


class MsgpackSerializer:
    """The default: MessagePack, typed.

    Args:
        encode_hook: Returns another type's value as one that can be stored; raises
            NotImplementedError for types that it does not know.
        decode_hook: Called with a type and what was stored, and returns a value of that type;
            raises NotImplementedError for types that it does not know.
    """

    def __init__(
        self,
        encode_hook: Callable[[object], object] | None = None,
        decode_hook: Callable[[type[Any], object], object] | None = None,
    ) -> None:
        self._encode_hook = encode_hook
        self._decode_hook = decode_hook
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._encode_other)

    @property
    def name(self) -> str:
        """What this format is called."""
        return "msgpack"

    def encode(self, value: object) -> bytes:
        """Return a value as bytes; raise TypeError or ValueError if that is not possible."""
        try:
            return self._encoder.encode(value)
        except OverflowError as error:
            raise ValueError(f"{error}; send it as a str") from None
        except RecursionError:
            raise ValueError("it contains itself, or is nested too deeply") from None

    def decoder(self, annotation: object) -> Callable[[bytes], object]:
        """Return a function that reads values of a type; it raises ValueError on others.

        Raises:
            TypeError: Values of this type can never be read.
        """
        kind: Any = annotation
        return msgspec.msgpack.Decoder(kind, dec_hook=self._decode_other).decode

    def _encode_other(self, value: object) -> object:
        if self._encode_hook is not None:
            try:
                return self._encode_hook(value)
            except NotImplementedError:
                pass
        if is_pydantic_model(type(value)):
            return dump_pydantic(value)
        raise TypeError(f"{type(value).__qualname__} is not a type that can be stored")

    def _decode_other(self, kind: type[Any], stored: object) -> object:
        if self._decode_hook is not None:
            try:
                return self._decode_hook(kind, stored)
            except NotImplementedError:
                pass
        if is_pydantic_model(kind):
            return load_pydantic(kind, stored)
        raise TypeError(f"{kind.__qualname__} is not a type that can be read")


def is_pydantic_model(kind: type[Any]) -> bool:
    """Tell whether a class is a pydantic model, without importing pydantic."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def dump_pydantic(model: Any) -> object:
    """Return a model as plain values."""
    dumped: object = model.model_dump(mode="json", by_alias=True, round_trip=True)
    return dumped


def load_pydantic(kind: Any, stored: object) -> object:
    """Return a model of plain values; raise ValueError if they do not fit."""
    # By way of JSON, because strict models take a str for a datetime from JSON only.
    model: object = kind.model_validate_json(msgspec.json.encode(stored))
    return model
