"""Hypothesis strategies for messages, made from their own types and ranges."""

from typing import cast

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

_RAW = msgspec.Raw(msgspec.msgpack.encode([105]))
_LIST_LENGTH_MAX = 4
_BYTES_LENGTH_MAX = 40


def messages_of(type_: object) -> st.SearchStrategy[object]:
    """Return valid values of a message type or a union of them."""
    return _values(inspect.type_info(type_))


def _values(info: inspect.Type) -> st.SearchStrategy[object]:
    match info:
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(
                lambda *values: cast(object, cls(*values)),
                *[_field(each) for each in fields],
            )
        case inspect.UnionType(types=types):
            return st.one_of(*[_values(each) for each in types])
        case inspect.ListType(item_type=item):
            least = info.min_length or 0
            return st.lists(_values(item), min_size=least, max_size=least + _LIST_LENGTH_MAX)
        case inspect.TupleType(item_types=items):
            return st.tuples(*[_values(each) for each in items])
        case inspect.DictType(key_type=key, value_type=value):
            return st.dictionaries(_values(key), _values(value), max_size=_LIST_LENGTH_MAX)
        case inspect.EnumType(cls=cls):
            return st.sampled_from(list(cls))
        case _:
            return _scalars(info)


def _field(field: inspect.Field) -> st.SearchStrategy[object]:
    """Return values of a field; one that may be left out has a default that is none."""
    has_default = (field.default, field.default_factory) != (msgspec.NODEFAULT, msgspec.NODEFAULT)
    if field.required or has_default:
        return _values(field.type)
    return st.one_of(st.just(msgspec.UNSET), _values(field.type))


def _scalars(info: inspect.Type) -> st.SearchStrategy[object]:
    match info:
        case inspect.IntType(ge=least, le=greatest):
            return st.integers(
                -(2**63) if least is None else least, 2**64 - 1 if greatest is None else greatest
            )
        case inspect.StrType(pattern=pattern, min_length=shortest, max_length=longest):
            if pattern is not None:
                return st.from_regex(pattern, fullmatch=True)
            greatest = min(longest or _BYTES_LENGTH_MAX, _BYTES_LENGTH_MAX)
            return st.text(min_size=shortest or 0, max_size=greatest)
        case inspect.BytesType(min_length=shortest):
            least = shortest or 0
            return st.binary(min_size=least, max_size=max(least, _BYTES_LENGTH_MAX * (not least)))
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.RawType():
            return st.just(_RAW)
        case _:
            raise AssertionError(f"no strategy for {info}")
