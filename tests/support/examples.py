"""How many examples a property test tries.

Each test names the number that fits into the time of an ordinary run; a profile multiplies all of
them: `pytest tests/property --hypothesis-profile=thorough`.
"""

from hypothesis import settings

_USUAL = 100
"""Examples of Hypothesis itself where nobody says otherwise."""


def examples(usual: int) -> int:
    """Return how many examples a test tries that usually tries so many."""
    return max(1, usual * settings().max_examples // _USUAL)
