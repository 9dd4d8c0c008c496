"""Addresses as people write them: `host:port`."""

import re
from typing import TypeAlias

from raftq.protocol.errors import InvalidRequest

Address: TypeAlias = tuple[str, int]


def parse_address(text: str) -> Address:
    """Return (host, port) of `host:port`; an IPv6 host stands in brackets.

    Raises:
        InvalidRequest: It is none.
    """
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    # Python refuses to read thousands of digits.
    number = int(port) if re.fullmatch("[0-9]{1,5}", port) else 0
    if not separator or not host or not 1 <= number <= 65_535:
        raise InvalidRequest(
            f"{text!r} is no address; expected host:port with a port from 1 to 65535, like "
            "127.0.0.1:7601"
        )
    return host, number


def address_text(address: Address) -> str:
    """Return `host:port`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
