from collections.abc import Callable

from pysyncobj.journal import Journal
from pysyncobj.serializer import Serializer as _Serializer

PIPE_NOTIFIER_ENABLED: bool
createJournal: Callable[[object], Journal]
createPoller: Callable[[object], object]
monotonicTime: Callable[[], float]
Serializer: Callable[..., _Serializer]
