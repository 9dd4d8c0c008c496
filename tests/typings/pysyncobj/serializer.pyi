from collections.abc import Callable

atomicReplace: Callable[[str, str], None]
