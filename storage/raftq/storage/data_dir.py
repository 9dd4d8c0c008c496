"""The data folder of one node: its lock, its identity and where the rest lies.

Owns the lock file, the identity file and the layout. Does not own the contents of the journal,
vote and snapshot files. Invariants: one process at a time; the identity is written last when a
folder is made and never missing afterwards, so a half-made folder is made again and a folder
that lost a part is refused; nothing in a folder is read before its format was checked.
"""

import fcntl
import os
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from raftq.protocol.errors import DataDirLocked, UnsupportedFormat
from raftq.protocol.versions import DATA_FORMAT_VERSION
from raftq.storage.files import Files, RealFiles, read_file, replace_file, temporary_path
from raftq.storage.record import IDENTITY, check_format, corrupt, encode_record, read_record
from raftq.storage.sync_job import sync_failed

LOCK_NAME: Final = "lock"
IDENTITY_NAME: Final = "identity"
VOTE_NAME: Final = "vote"
JOURNAL_NAME: Final = "journal"
SNAPSHOTS_NAME: Final = "snapshots"
_FOLDER_MODE: Final = 0o700


class Identity(msgspec.Struct, frozen=True):
    """Whose folder this is; stored as JSON, for people who look into the file."""

    node_id: str
    members: list[str]
    """The ids of the members that this node was first started with; a list in the log is newer."""
    cluster_id: str | None = None
    addresses: list[str] = []
    """Their peer addresses, in the same order; empty if they were not told."""
    is_joining: bool = False
    """Made by a node that joins a cluster: it is no member before the log says so."""
    is_on_probation: bool = False
    """It began empty in a cluster that exists: it may have forgotten votes, and must not vote."""
    votes_after_term: int = 0
    """It may vote in later terms only."""


class DataDir:
    """An open, locked data folder. Open one with `DataDir.open`."""

    def __init__(self, files: Files, path: Path, lock: int, identity: Identity) -> None:
        self._files = files
        self._lock = lock
        self._identity = identity
        self.path: Final = path
        self.journal_folder: Final = path / JOURNAL_NAME
        self.snapshot_folder: Final = path / SNAPSHOTS_NAME
        self.vote_path: Final = path / VOTE_NAME

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        node_id: str,
        members: list[str] | Mapping[str, str],
        is_joining: bool = False,
        files: Files | None = None,
    ) -> "DataDir":
        """Lock a node's folder and check that it is this node's; make it if it is empty.

        Args:
            path: The folder; missing parents are made.
            node_id: This node.
            members: Ids of all members of the cluster, in any order, or their peer addresses by
                id. They are only stored, and only when the folder is made: see `check_members`.
            is_joining: Whether the node joins a cluster that exists, if the folder is made now.
            files: The disk of the identity file; the real one if None.

        Raises:
            DataDirLocked: Another process uses the folder.
            UnsupportedFormat: It belongs to another node, cluster or version, or is no data folder.
            CorruptRecord: Its identity is damaged.
        """
        files = files or RealFiles()
        if not path.is_dir():
            _make_folder(path)
        lock = _take_lock(path / LOCK_NAME)
        try:
            if IDENTITY_NAME not in files.names(path):
                _make(files, path, new_identity(node_id, members, is_joining=is_joining))
            identity = read_identity(path / IDENTITY_NAME, read_file(files, path / IDENTITY_NAME))
            if identity.node_id != node_id:
                raise _mismatch(path, "node", identity.node_id, node_id)
            _check_whole(path)
            files.sync_folder(path)
        except BaseException:
            os.close(lock)
            raise
        return cls(files, path, lock, identity)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)

    def free_bytes(self) -> int:
        """Return the space that is left for this process on the folder's file system."""
        return shutil.disk_usage(self.path).free

    @property
    def cluster_id(self) -> str | None:
        """The cluster this folder belongs to, once that is recorded."""
        return self._identity.cluster_id

    def record_cluster_id(self, cluster_id: str) -> None:
        """Return once the cluster's identity is durable in the folder. Blocks.

        Raises:
            UnsupportedFormat: The folder belongs to another cluster.
            SyncFailed: The node must stop.
        """
        if self.cluster_id == cluster_id:
            return
        if self.cluster_id is not None:
            raise _mismatch(self.path, "cluster", self.cluster_id, cluster_id)
        self._store(msgspec.structs.replace(self._identity, cluster_id=cluster_id))

    @property
    def bootstrap(self) -> Mapping[str, str]:
        """The members that this node was first started with: peer addresses by id."""
        identity = self._identity
        addresses = identity.addresses or [""] * len(identity.members)
        return dict(zip(identity.members, addresses, strict=True))

    @property
    def is_joining(self) -> bool:
        """Whether this node is a member only once the log says so."""
        return self._identity.is_joining

    def check_members(self, members: Iterable[str]) -> None:
        """Compare the configured members with those of the first start; call it only while no
        newer list can exist, because that is what counts.

        Raises:
            UnsupportedFormat: They differ.
        """
        expected = sorted(members)
        if self._identity.members != expected:
            found = ", ".join(self._identity.members)
            raise _mismatch(self.path, "members", found, ", ".join(expected))

    @property
    def is_on_probation(self) -> bool:
        """Whether this node may have forgotten what it promised, and must not vote."""
        return self._identity.is_on_probation

    @property
    def votes_after_term(self) -> int:
        """The term up to which this node votes for nobody."""
        return self._identity.votes_after_term

    def begin_probation(self) -> None:
        """Return once it is durable that this node must not vote. Blocks.

        Raises:
            SyncFailed: The node must stop.
        """
        self._store(msgspec.structs.replace(self._identity, is_on_probation=True))

    def end_probation(self, term: int) -> None:
        """Return once it is durable that this node may vote after a term. Blocks.

        Raises:
            SyncFailed: The node must stop.
        """
        self._store(
            msgspec.structs.replace(self._identity, is_on_probation=False, votes_after_term=term)
        )

    def _store(self, identity: Identity) -> None:
        try:
            store_identity(self._files, self.path, identity)
        except OSError as error:
            raise sync_failed(self.path, error) from error
        self._identity = identity


def new_identity(
    node_id: str, members: list[str] | Mapping[str, str], *, is_joining: bool = False
) -> Identity:
    """Return the identity of a folder that is being made; a joining node begins on probation."""
    ids = sorted(members)
    addresses: list[str] = []
    if isinstance(members, Mapping):
        addresses = [members[id_] for id_ in ids]
    return Identity(
        node_id, ids, addresses=addresses, is_joining=is_joining, is_on_probation=is_joining
    )


def read_identity(path: Path, data: bytes) -> Identity:
    """Return the identity from the bytes of an identity file.

    Raises:
        CorruptRecord: The bytes are damaged.
        UnsupportedFormat: Another version of raftq wrote them.
    """
    record = read_record(data, 0, 0)
    if record is None or record.tag != IDENTITY or record.end != len(data):
        raise corrupt(path, 0, "the identity of the data folder is unreadable")
    check_format(path, record.number)
    return msgspec.json.decode(record.body, type=Identity)


def store_identity(files: Files, path: Path, identity: Identity) -> None:
    """Write the identity file of a data folder, durably."""
    body = msgspec.json.encode(identity)
    record = encode_record(0, IDENTITY, DATA_FORMAT_VERSION, 0, body=body)
    replace_file(files, path / IDENTITY_NAME, record)


def _take_lock(path: Path) -> int:
    """Return a descriptor that holds the lock until it is closed or the process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise DataDirLocked(
            f"the data folder {path.parent} is in use by process {holder or 'unknown'}: stop that "
            "process, or give this node a folder of its own",
            path=str(path.parent),
            pid=int(holder) if holder.isdecimal() else None,
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def locked_folder(path: Path) -> Generator[None]:
    """Keep nodes off a data folder.

    Raises:
        DataDirLocked: A node uses it.
    """
    lock = _take_lock(path / LOCK_NAME)
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def filled_folder(files: Files, path: Path, identity: Identity) -> Generator[None]:
    """Make an empty folder a data folder that begins with content, which the body writes.

    The identity follows only when the body has ended well: a folder that was filled by half is no
    data folder, and no node starts on it.

    Raises:
        DataDirLocked: A node uses the folder.
        UnsupportedFormat: The folder is not empty.
    """
    if not path.is_dir():
        _make_folder(path)
    with locked_folder(path):
        if IDENTITY_NAME in files.names(path):
            raise UnsupportedFormat(
                f"{path} is a data folder already, and nothing in it may be overwritten: name an "
                "empty folder, or move this one away",
                path=str(path),
                found=IDENTITY_NAME,
            )
        _make_folders(path)
        yield
        store_identity(files, path, identity)


def _make(files: Files, path: Path, identity: Identity) -> None:
    """Make an empty folder a data folder; also one whose making was interrupted."""
    _make_folders(path)
    store_identity(files, path, identity)


def _make_folders(path: Path) -> None:
    folders = [path / JOURNAL_NAME, path / SNAPSHOTS_NAME]
    ours = {LOCK_NAME, JOURNAL_NAME, SNAPSHOTS_NAME, temporary_path(path / IDENTITY_NAME).name}
    foreign = [entry.name for entry in path.iterdir() if entry.name not in ours]
    foreign += [f"{f.name}/{e.name}" for f in folders if f.is_dir() for e in f.iterdir()]
    if foreign:
        raise UnsupportedFormat(
            f"{path} has no identity file, but holds {sorted(foreign)[0]!r}: it is no data folder, "
            "or a part of it was lost; name an empty folder",
            path=str(path),
            found=sorted(foreign)[0],
        )
    for folder in (path, *folders):
        _make_folder(folder)  # Before the identity, whose presence says that they exist.


def _make_folder(path: Path) -> None:
    """Make a folder, and those above it, durable; it may exist from an interrupted start."""
    if not path.parent.is_dir():
        _make_folder(path.parent)
    path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    with suppress(PermissionError):  # The folder above may belong to someone else.
        RealFiles().sync_folder(path.parent)


def _check_whole(path: Path) -> None:
    for name in (JOURNAL_NAME, SNAPSHOTS_NAME):
        if not (path / name).is_dir():
            raise corrupt(path / name, 0, "the folder is missing")


def _mismatch(path: Path, what: str, found: str, expected: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"the data folder {path} belongs to {what} {found}, but this node was started for {what} "
        f"{expected}: correct the configuration, or name the folder that belongs to it",
        path=str(path),
        found=found,
        expected=expected,
    )
