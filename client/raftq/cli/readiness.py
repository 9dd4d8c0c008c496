"""Whether a node serves calls, asked over HTTP with as few imports as can be."""

import json
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Final

DEFAULT_HTTP: Final = "127.0.0.1:7611"
DEFAULT_SECONDS: Final = 2.0
_ANSWER_BYTES_MAX: Final = 4_096


def quick_ready(arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Run `raftq node ready` if its arguments are plain, and return the exit code.

    Returns:
        None for anything unusual, which the full command line then judges.
    """
    if list(arguments) not in ([], ["--json"]):
        if len(arguments) != 2 or arguments[0] != "--http":
            return None
        return report(arguments[1], DEFAULT_SECONDS, as_json=False)
    http = environment.get("RAFTQ_HTTP") or DEFAULT_HTTP
    return report(http, DEFAULT_SECONDS, as_json=bool(arguments))


def report(http: str, timeout: float, *, as_json: bool) -> int:
    """Print whether a node is ready, and return the exit code: 0 if it is, else 1."""
    is_ready, text = ask(http, timeout)
    if as_json:
        print(json.dumps({"http": http, "ready": is_ready, "answer": text}))
    else:
        print(text if is_ready else f"raftq: {text}", file=sys.stdout if is_ready else sys.stderr)
    return 0 if is_ready else 1


def ask(http: str, timeout: float) -> tuple[bool, str]:
    """Return whether `/readyz` says yes, and its words or why there are none."""
    try:
        connection = HTTPConnection(http, timeout=timeout)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            text = answer.read(_ANSWER_BYTES_MAX).decode(errors="replace").strip()
            return answer.status == 200, text
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError) as error:
        return False, f"{http} does not answer: {str(error) or type(error).__name__}"
