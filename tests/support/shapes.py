"""Whether JSON looks like the example that documents it."""

from typing import Any, cast

_FREE = ("counts", "queues", "options", "facts", "fair_weights")
"""Objects whose keys are names of queues, states, options or keys of the application."""


def fits(example: Any, found: Any) -> bool:
    """Whether a value has the keys and types of an example; what may be missing may be null."""
    if example is None or found is None:
        return True
    if type(example) is not type(found):
        return False
    if isinstance(example, dict):
        keys = cast("dict[str, Any]", example)
        return keys.keys() == found.keys() and all(
            (key in _FREE and isinstance(keys[key], dict)) or fits(keys[key], found[key])
            for key in keys
        )
    if isinstance(example, list):
        return bool(found) and all(fits(example[0], each) for each in found)
    return True
