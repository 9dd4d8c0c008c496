"""Reading whole snapshots."""

from raftq.storage.snapshots import SnapshotMeta, SnapshotStore


def load_all(store: SnapshotStore) -> tuple[SnapshotMeta, list[bytes]] | None:
    """Return the current snapshot with the chunks that have no key, every byte of it verified."""
    opened = store.load()
    if opened is None:
        return None
    try:
        return opened.meta, list(opened.chunks)
    finally:
        opened.keyed.close()
