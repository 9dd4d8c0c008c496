"""Whether JSON looks like the example that documents it."""

from typing import Any, cast


def fits(example: Any, found: Any) -> bool:
    """Whether a value has the keys and types of an example; counts have a key for each state."""
    if type(example) is not type(found):
        return False
    if isinstance(example, dict):
        keys = cast("dict[str, Any]", example)
        return keys.keys() == found.keys() and all(
            key in ("counts", "queues") or fits(keys[key], found[key]) for key in keys
        )
    if isinstance(example, list):
        return bool(found) and all(fits(example[0], each) for each in found)
    return True
