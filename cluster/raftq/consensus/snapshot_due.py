"""When a snapshot is worth being written."""

from typing import Final

from raftq.consensus.parts import Parts, ReplicaConfig

_PATIENCE_WITH_TRANSFER: Final = 4
"""How much longer the log may become while a peer is sent the snapshot before."""


def snapshot_is_due(parts: Parts, config: ReplicaConfig) -> bool:
    """Tell whether a snapshot saves more than it writes: its cost stays in proportion.

    It saves reading the log again after a restart, and the bytes of payloads that nobody needs
    any more: those in the snapshot and in the log, less those of live tasks.
    """
    log, payloads = parts.log, parts.state.payloads
    if not parts.snapshotter.may_begin:
        return False
    if parts.engine.applied_index - log.first_index < 2:
        return False
    patience = _PATIENCE_WITH_TRANSFER if parts.peering.is_sending_snapshot else 1
    entries_max = patience * config.snapshot_entries
    live_bytes = parts.state.machine.live_payload_bytes
    bytes_max = patience * max(config.snapshot_bytes, live_bytes // 2)
    dead_bytes = log.payload_bytes + payloads.snapshot_bytes - live_bytes
    is_large = len(log) > entries_max or max(log.payload_bytes, dead_bytes) > bytes_max
    return is_large or payloads.is_of_old_snapshot
