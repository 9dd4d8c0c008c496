"""Save what a survivor has when the majority of a cluster is lost for good.

`python -m raftq.node.recover DIR [FILE] [--yes-lose-data] [--json]`

Reads the data folder of a stopped node and changes nothing in it. Without FILE it only says what it
found, to compare survivors. With FILE it writes a backup of everything that the node's log holds,
which `raftq restore` makes into a new cluster. See docs/operating/lost-majority.md.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from raftq.consensus.offline import OfflineState, replay_folder
from raftq.consensus.payloads.store import dump_chunks
from raftq.node.backup_files import Print, print_facts, queue_counts
from raftq.protocol.errors import NotReady, StorageError
from raftq.storage.backups import BackupMeta, write_backup
from raftq.storage.data_dir import IDENTITY_NAME, Identity, locked_folder, read_identity
from raftq.storage.files import Files, RealFiles, read_file

WARNING = """\
This cannot be undone once the new cluster has served a client:
- Writes that were acknowledged are LOST if they had not reached this node. It has everything up to
  the last index above, and cannot know what others had beyond it.
- Calls that failed, or whose outcome was unknown, may turn out to have happened.
- Tasks that were running, or were finished after the last index, run again.
- The lost nodes must never come back: their folders belong to the old cluster, and are refused."""


def recover(files: Files, identity: Identity, state: OfflineState, file: Path) -> BackupMeta:
    """Write a backup of where a survivor's log leads.

    Raises:
        NotReady: The node never belonged to a cluster.
        OSError: The disk did not take it.
    """
    if state.machine.cluster_id is None:
        raise NotReady("this node never belonged to a cluster that worked: it holds nothing")
    meta = BackupMeta(
        index=state.index,
        term=state.term,
        state_hash=state.machine.state_hash,
        cluster_id=state.machine.cluster_id,
        node=identity.node_id,
        taken_at_ms=time.time_ns() // 1_000_000,
        raftq_version=version("raftq"),
        is_recovered=True,
    )
    write_backup(files, file, meta, dump_chunks(state.machine))
    return meta


def main(arguments: Sequence[str] | None = None, output: Print = print) -> int:
    """Report, ask, write; return an exit code."""
    options = _parser().parse_args(arguments)
    files, path = RealFiles(), options.data_dir
    try:
        identity = read_identity(path / IDENTITY_NAME, read_file(files, path / IDENTITY_NAME))
        with locked_folder(path):  # To the end: payloads are read when they are written.
            state = replay_folder(files, path)
            print_facts(_facts(identity, state), as_json=options.json, output=output)
            if options.file is None:
                return 0
            if options.file.exists():
                return _say(f"{options.file} exists; name a new file")
            print(WARNING, file=sys.stderr)
            if not options.yes_lose_data and not _is_confirmed(identity.node_id):
                return _say("not confirmed; nothing was written")
            recover(files, identity, state, options.file)
    except (OSError, StorageError, NotReady) as error:
        return _say(str(error))
    print(f"written: {options.file}; `raftq restore` makes it a new cluster", file=sys.stderr)
    return 0


def _say(text: str) -> int:
    print(f"raftq: {text}", file=sys.stderr)
    return 1


def _is_confirmed(node: str) -> bool:
    print(f"To go on, type the id of this node ({node}): ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == node


def _facts(identity: Identity, state: OfflineState) -> dict[str, object]:
    return {
        "node": identity.node_id,
        "cluster_id": state.machine.cluster_id,
        "last_term": state.term,
        "last_index": state.index,
        "snapshot_index": state.snapshot_index,
        "state_hash": state.machine.state_hash,
        "queues": queue_counts(state.machine),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m raftq.node.recover", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--yes-lose-data", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
