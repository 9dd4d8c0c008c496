"""Bytes in JSON: as text (UTF-8) or as base64, never as both."""

import base64
import binascii

from raftq.protocol.errors import InvalidRequest, PayloadTooLarge


def to_bytes(text: str | None, encoded: str | None, field: str) -> bytes | None:
    """Return the bytes given as text or as base64; None if neither was given.

    Raises:
        InvalidRequest: Both were given, or the base64 is malformed.
    """
    if text is not None and encoded is not None:
        raise InvalidRequest(f"give either {field} or {field}_base64, not both")
    if text is not None:
        return text.encode()
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{field}_base64 is no base64: {error}") from None


def bounded(data: bytes | None, bytes_max: int, field: str) -> bytes | None:
    """Return bytes that are within their limit.

    Raises:
        PayloadTooLarge: They are not.
    """
    if data is not None and len(data) > bytes_max:
        raise PayloadTooLarge(
            f"the {field} has {len(data)} bytes; the limit is {bytes_max}", bytes_max=bytes_max
        )
    return data


def text_of(data: bytes | None) -> str | None:
    """Return bytes as text; None if there are none, or if they are no UTF-8."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def as_text(data: bytes) -> tuple[str | None, str | None]:
    """Return (text, base64) of bytes, of which one is None."""
    text = text_of(data)
    return (text, None) if text is not None else (None, base64.b64encode(data).decode())
