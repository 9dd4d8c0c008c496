"""The command `raftq`: starts what was asked for, and imports nothing else.

`raftq node ready` runs every few seconds in a container, so its plain form does without the
command line's library; every other form, help included, goes through `raftq.cli.commands`.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

_EXIT_INTERRUPTED: Final = 130


def main() -> None:
    """Run the command line."""
    try:
        _start(sys.argv[1:])
    except KeyboardInterrupt:  # While modules were loaded; later, the command itself sees to it.
        sys.exit(_EXIT_INTERRUPTED)


def _start(arguments: Sequence[str]) -> None:
    if list(arguments[:2]) == ["node", "ready"]:
        from raftq.cli.readiness import quick_ready

        code = quick_ready(arguments[2:], os.environ)
        if code is not None:
            sys.exit(code)
    from raftq.cli.commands import run

    run(arguments)


if __name__ == "__main__":
    main()
