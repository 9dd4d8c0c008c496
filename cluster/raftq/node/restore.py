"""Make empty data folders into nodes of a new cluster that begins with a backup.

`python -m raftq.node.restore FILE --cluster … (--node-id ID --data-dir DIR | --node ID=DIR …)`

The new cluster has an id of its own, so that it and the old one can never mix. Every node of the
new cluster is restored, with the same id, before the first is started. See
docs/decisions/0006-backup-and-restore.md.
"""

import argparse
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec

from raftq.consensus.offline import FIRST_TERM, first_snapshot
from raftq.consensus.payloads.store import dump_chunks
from raftq.core.machine import Machine
from raftq.node.backup_files import Print, load_backup, print_facts
from raftq.node.settings import SETTINGS, Address, BadSetting, address_text
from raftq.protocol.errors import StorageError
from raftq.storage.backups import BackupMeta
from raftq.storage.data_dir import SNAPSHOTS_NAME, VOTE_NAME, filled_folder, new_identity
from raftq.storage.files import Files, RealFiles
from raftq.storage.snapshots import SnapshotStore
from raftq.storage.vote import VoteFile

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


class RestoreError(Exception):
    """The command line asks for something that cannot be."""


def restore(
    files: Files,
    meta: BackupMeta,
    machine: Machine,
    folders: Mapping[str, Path],
    cluster: Mapping[str, Address],
    cluster_id: str,
) -> None:
    """Fill the folders of some nodes of a new cluster.

    Args:
        files: The disk.
        meta: Of the backup.
        machine: Of the backup; becomes the new cluster's.
        folders: Empty ones, by node id.
        cluster: Peer addresses of all members of the new cluster.
        cluster_id: Of the new cluster; the same for all its nodes.

    Raises:
        UnsupportedFormat: A folder is not empty.
        DataDirLocked: A node uses a folder.
        OSError: The disk did not take it. What was begun is no data folder; empty it first.
    """
    machine.refound(cluster_id)
    snapshot = first_snapshot(machine, meta.index, cluster)
    addresses = {node: address_text(address) for node, address in cluster.items()}
    for node, folder in folders.items():
        identity = msgspec.structs.replace(new_identity(node, addresses), cluster_id=cluster_id)
        with filled_folder(files, folder, identity):
            SnapshotStore(files, folder / SNAPSHOTS_NAME).write(snapshot, dump_chunks(machine))
            VoteFile.open(files, folder / VOTE_NAME).store(FIRST_TERM, None)


# ---------------------------------------------------------------- the command


def main(arguments: Sequence[str] | None = None, output: Print = print) -> int:
    """Restore, and print what to do next; return an exit code."""
    options = _parser().parse_args(arguments)
    try:
        cluster = _cluster(options.cluster)
        folders = _folders(options, cluster)
        meta, machine = load_backup(RealFiles(), options.file)
        cluster_id = _cluster_id(options.cluster_id, meta)
        restore(RealFiles(), meta, machine, folders, cluster, cluster_id)
    except RestoreError as error:
        return _say(str(error), EXIT_USAGE)
    except (OSError, StorageError) as error:
        return _say(str(error), EXIT_FAILED)
    facts: dict[str, object] = {
        "cluster_id": cluster_id,
        "index": meta.index,
        "state_hash": meta.state_hash,
        "restored": ", ".join(f"{node}={folder}" for node, folder in folders.items()),
    }
    print_facts(facts, as_json=options.json, output=output)
    if not options.json:
        for line in _next_steps(options, [node for node in cluster if node not in folders], facts):
            output(line)
    return 0


def _say(text: str, code: int) -> int:
    print(f"raftq: {text}", file=sys.stderr)
    return code


def _next_steps(
    options: argparse.Namespace, missing: Sequence[str], facts: Mapping[str, object]
) -> list[str]:
    lines = [""]
    if missing:
        lines.append("The other nodes, each on its machine, before any node is started:")
    for node in missing:
        lines.append(
            f"    raftq restore {options.file} --cluster-id {facts['cluster_id']} "
            f"--cluster {options.cluster} --node-id {node} --data-dir DIR"
        )
    return [
        *lines,
        "`raftq inspect DIR` shows the state hash of each folder's snapshot: the one above.",
        "Then start raftqd on every node as usual. `raftq cluster status` shows the same hash",
        "until something changes; tasks that fell due meanwhile do so at once.",
    ]


def _cluster(text: str) -> dict[str, Address]:
    parse = next(setting.parse for setting in SETTINGS if setting.key == "cluster")
    try:
        return cast("dict[str, Address]", parse(text))
    except BadSetting as error:
        raise RestoreError(f"--cluster is {text!r}; allowed is: {error}") from None


def _folders(options: argparse.Namespace, cluster: Mapping[str, Address]) -> dict[str, Path]:
    """Return where each node that is to be restored here keeps its data."""
    pairs: list[tuple[str, str]] = []
    if options.node_id is not None or options.data_dir is not None:
        if options.node_id is None or options.data_dir is None:
            raise RestoreError("--node-id and --data-dir belong together")
        pairs.append((options.node_id, options.data_dir))
    for text in cast("list[str]", options.node or []):
        node, _, folder = text.partition("=")
        pairs.append((node, folder))
    folders = {node: Path(folder) for node, folder in pairs if folder}
    if not folders or len(folders) != len(pairs) or len(set(folders.values())) != len(pairs):
        raise RestoreError(
            "name each node once with a folder of its own: --node-id ID --data-dir DIR, or "
            "--node ID=DIR for each"
        )
    strange = [node for node in folders if node not in cluster]
    if strange:
        raise RestoreError(f"{strange[0]!r} is not in --cluster, which has {', '.join(cluster)}")
    return folders


def _cluster_id(given: str | None, meta: BackupMeta) -> str:
    if given is None:
        return secrets.token_hex(16)
    if not re.fullmatch("[0-9a-f]{32}", given):
        raise RestoreError(f"--cluster-id is {given!r}; it must be the 32 hex digits of a restore")
    if given == meta.cluster_id:
        raise RestoreError(
            "--cluster-id is that of the old cluster; leave it out for the first node, and give "
            "the one that is printed then for the others"
        )
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m raftq.node.restore", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--cluster", required=True)
    parser.add_argument("--node-id")
    parser.add_argument("--data-dir")
    parser.add_argument("--node", action="append")
    parser.add_argument("--cluster-id")
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
