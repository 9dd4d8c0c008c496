from collections.abc import Callable

from pysyncobj.journal import Journal

PIPE_NOTIFIER_ENABLED: bool
createJournal: Callable[[object], Journal]
createPoller: Callable[[object], object]
monotonicTime: Callable[[], float]
