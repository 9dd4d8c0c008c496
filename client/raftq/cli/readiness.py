"""Whether a node serves calls, asked over HTTP with as few imports as can be."""

import json
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Final

DEFAULT_HTTP: Final = "127.0.0.1:7611"
DEFAULT_SECONDS: Final = 2.0
_ANSWER_BYTES_MAX: Final = 4_096
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Where a node listens that listens everywhere. RAFTQ_HTTP of a container is often the node's own
setting, and no certificate is made out to such an address."""


def quick_ready(arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Run `raftq node ready` if its arguments are plain, and return the exit code.

    Returns:
        None for anything unusual, which the full command line then judges.
    """
    tls_ca = environment.get("RAFTQ_TLS_CA") or None
    if list(arguments) not in ([], ["--json"]):
        if len(arguments) != 2 or arguments[0] != "--http":
            return None
        return report(arguments[1], DEFAULT_SECONDS, tls_ca, as_json=False)
    http = environment.get("RAFTQ_HTTP") or DEFAULT_HTTP
    return report(http, DEFAULT_SECONDS, tls_ca, as_json=bool(arguments))


def report(http: str, timeout: float, tls_ca: str | None, *, as_json: bool) -> int:
    """Print whether a node is ready, and return the exit code: 0 if it is, else 1."""
    is_ready, text = ask(http, timeout, tls_ca)
    if as_json:
        print(json.dumps({"http": http, "ready": is_ready, "answer": text}))
    else:
        print(text if is_ready else f"raftq: {text}", file=sys.stdout if is_ready else sys.stderr)
    return 0 if is_ready else 1


def ask(http: str, timeout: float, tls_ca: str | None = None) -> tuple[bool, str]:
    """Return whether `/readyz` says yes, and its words or why there are none.

    Args:
        http: host:port.
        timeout: Seconds.
        tls_ca: See `raftq.client.AsyncClient`; turns TLS on.
    """
    host, separator, port = http.rpartition(":")
    address = f"{_EVERYWHERE.get(host, host)}{separator}{port}"
    try:
        connection = http_connection(address, timeout, tls_ca)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            text = answer.read(_ANSWER_BYTES_MAX).decode(errors="replace").strip()
            return answer.status == 200, text
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        return False, f"{http} does not answer: {str(error) or type(error).__name__}"


def http_connection(address: str, timeout: float, tls_ca: str | None) -> HTTPConnection:
    """Return a connection to `host:port`, not opened yet; with TLS if there is a CA."""
    if tls_ca is None:
        return HTTPConnection(address, timeout=timeout)
    import ssl
    from http.client import HTTPSConnection

    context = ssl.create_default_context(cafile=None if tls_ca == "system" else tls_ca)
    return HTTPSConnection(address, timeout=timeout, context=context)
