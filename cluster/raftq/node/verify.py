"""Check a backup and say what is in it: `python -m raftq.node.verify FILE [--json]`.

Reads every bit, loads the state as a node would, and checks its counts. Changes nothing.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from raftq.node.backup_files import Print, facts_of, load_backup, print_facts
from raftq.protocol.errors import StorageError
from raftq.storage.files import RealFiles


def main(arguments: Sequence[str] | None = None, output: Print = print) -> int:
    """Print the report; return 1 if the backup is damaged or unreadable, else 0."""
    parser = argparse.ArgumentParser(prog="python -m raftq.node.verify", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        facts = facts_of(*load_backup(RealFiles(), options.file))
    except (OSError, StorageError) as error:
        print(f"raftq: {error}", file=sys.stderr)
        return 1
    print_facts(facts, as_json=options.json, output=output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
