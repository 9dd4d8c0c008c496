"""What a worker process and its parent tell each other: single bytes over a socket pair.

The end of the stream says that the other side is gone. A process without a parent stops by itself.
"""

from typing import Final

DRAIN: Final = b"d"
"""Parent to process: lease no more, let runs end."""
STOP: Final = b"s"
"""Parent to process: give everything back at once."""
LOADED: Final = b"l"
"""Process to parent: the App is imported, and its settings can work."""
READY: Final = b"r"
"""Process to parent: the cluster has answered."""
ALIVE: Final = b"."
"""Process to parent, every second: the worker's loop turns."""

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_ALLOWED: Final = 5
EXIT_RECYCLE: Final = 75
"""The process wants to be started again: something in it cannot be stopped otherwise."""
EXITS_FOR_GOOD: Final = (EXIT_USAGE, EXIT_NOT_ALLOWED)
"""Starting the process again would not help."""
EXIT_SECONDS: Final = 5.0
"""How long the interpreter of a process that has done its work may take to end."""
EXTRA_SECONDS: Final = 20.0
"""How long a process may take to stop on top of the time that runs have: cancelling them, telling
the cluster, giving back, ending."""
