"""The command `raftq`: starts what was asked for, and imports nothing else.

`raftq node ready` runs every few seconds in a container, so its plain form does without the
command line's library; every other form, help included, goes through `raftq.cli.commands`.
"""

import os
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:3] == ["node", "ready"]:
        from raftq.cli.readiness import quick_ready

        code = quick_ready(sys.argv[3:], os.environ)
        if code is not None:
            sys.exit(code)
    from raftq.cli.commands import run

    run(sys.argv[1:])


if __name__ == "__main__":
    main()
