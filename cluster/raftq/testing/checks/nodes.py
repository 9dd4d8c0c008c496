"""Replication: what nodes applied, led and kept, compared with each other."""

from collections.abc import Iterator

from raftq.core.machine import Machine
from raftq.testing.checks.verdict import Violation
from raftq.testing.facts import (
    AppliedEntry,
    ClusterFacts,
    LeaderSeen,
    LogSeen,
    NodeSeen,
    NodeStarted,
    SnapshotInstalled,
)


def check_leaders(facts: ClusterFacts) -> Iterator[Violation]:
    """One leader per term."""
    leaders: dict[int, str] = {}
    for event in facts.events:
        match event:
            case LeaderSeen(node=node, term=term) | LogSeen(node=node, leads_term=int(term)):
                first = leaders.setdefault(term, node)
                if first != node:
                    text = f"{first} and {node} both led term {term} (at {event.at_ms:g} ms)"
                    yield Violation("two-leaders", text)
            case _:
                pass


def check_logs(facts: ClusterFacts) -> Iterator[Violation]:
    """Log matching: an index and a term name one entry, and one entry before it."""
    known: dict[tuple[int, int], tuple[str, int, int | None]] = {}
    for event in facts.events:
        if not isinstance(event, LogSeen):
            continue
        before: int | None = None
        for offset, (term, crc) in enumerate(zip(event.terms, event.crcs, strict=True)):
            index = event.first_index + offset
            node, other_crc, other_before = known.setdefault(
                (index, term), (event.node, crc, before)
            )
            differs_before = None not in (before, other_before) and before != other_before
            if crc != other_crc or differs_before:
                what = "are different entries" if crc != other_crc else "follow different entries"
                text = f"entries {index} of term {term} on {node} and {event.node} {what}"
                yield Violation("log-matching", text)
                break
            if other_before is None and before is not None:
                known[index, term] = (node, crc, before)
            before = term


def check_completeness(facts: ClusterFacts) -> Iterator[Violation]:
    """Leader completeness: what was committed in a term is in the log of every later leader."""
    committed: dict[int, AppliedEntry] = {}
    for event in facts.events:
        if isinstance(event, AppliedEntry) and event.node_term is not None and event.term:
            known = committed.get(event.index)
            if known is None or (known.node_term or 0) > event.node_term:
                committed[event.index] = event
    for event in facts.events:
        if isinstance(event, LogSeen) and event.leads_term is not None:
            yield from _missing(event, event.leads_term, committed)


def _missing(
    log: LogSeen, leads_term: int, committed: dict[int, AppliedEntry]
) -> Iterator[Violation]:
    for index, entry in committed.items():
        if entry.node_term is None or entry.node_term >= leads_term or index < log.first_index:
            continue
        offset = index - log.first_index
        found = log.terms[offset] if offset < len(log.terms) else None
        if found != entry.term:
            what = "nothing" if found is None else f"an entry of term {found}"
            yield Violation(
                "leader-completeness",
                f"{log.node} led term {leads_term} with {what} at index {index}, where "
                f"{entry.node} had applied an entry of term {entry.term} in term "
                f"{entry.node_term} (at {entry.at_ms:g} ms)",
            )
            return


def check_applied(facts: ClusterFacts) -> Iterator[Violation]:
    """Equal entries and equal state hashes at equal indexes, on all nodes, across restarts."""
    known: dict[int, AppliedEntry] = {}
    for event in facts.events:
        if isinstance(event, AppliedEntry):
            first = known.setdefault(event.index, event)
            is_other_term = first.term != event.term and first.term and event.term
            if is_other_term or first.crc != event.crc:
                text = _differ(first, event.node, event.at_ms, "applied different entries")
                yield Violation("applied-divergence", text)
            elif first.state_hash != event.state_hash:
                text = _differ(first, event.node, event.at_ms, "were in different states after it")
                yield Violation("state-divergence", text)
    for event in facts.events:
        if isinstance(event, SnapshotInstalled) and event.index in known:
            first = known[event.index]
            if first.state_hash != event.state_hash:
                text = _differ(first, event.node, event.at_ms, "differ: the latter's snapshot")
                yield Violation("state-divergence", text)
    yield from _machines_differ(facts)


def _differ(first: AppliedEntry, node: str, at_ms: float, how: str) -> str:
    return (
        f"at index {first.index}, {first.node} (at {first.at_ms:g} ms) and {node} "
        f"(at {at_ms:g} ms) {how}"
    )


def _machines_differ(facts: ClusterFacts) -> Iterator[Violation]:
    known: dict[int, tuple[str, str]] = {}
    for node, chunks in facts.machines.items():
        content = Machine.load(chunks).content_hash()
        index = facts.machine_indexes.get(node)
        if index is None:
            continue
        first, other = known.setdefault(index, (node, content))
        if content != other:
            text = f"the final states of {first} and {node} at index {index} differ"
            yield Violation("state-divergence", text)


def check_progress(facts: ClusterFacts) -> Iterator[Violation]:
    """Nothing is applied twice; term, commit and applied index never go back on a node."""
    applied: dict[str, int] = {}
    seen: dict[str, NodeSeen] = {}
    terms: dict[str, int] = {}
    for event in facts.events:
        node = event.node
        match event:
            case NodeStarted(is_wiped=is_wiped):
                applied.pop(node, None)
                seen.pop(node, None)
                if is_wiped:
                    terms.pop(node, None)
            case AppliedEntry(index=index):
                if index <= applied.get(node, 0):
                    text = f"{node} applied index {index} after {applied[node]}"
                    yield Violation("applied-twice", f"{text} (at {event.at_ms:g} ms)")
                applied[node] = index
            case SnapshotInstalled(index=index):
                if index < applied.get(node, 0):
                    text = f"{node} went from index {applied[node]} back to a snapshot of {index}"
                    yield Violation("regress", f"{text} (at {event.at_ms:g} ms)")
                applied[node] = index
            case NodeSeen():
                yield from _regress(seen.get(node), terms.get(node, 0), event)
                seen[node] = event
                terms[node] = event.term
            case _:
                pass


def _regress(before: NodeSeen | None, term: int, now: NodeSeen) -> Iterator[Violation]:
    pairs = {"term": (term, now.term)}
    if before is not None:
        pairs["commit index"] = (before.commit_index, now.commit_index)
        pairs["applied index"] = (before.applied_index, now.applied_index)
    for what, (old, new) in pairs.items():
        if new < old:
            text = f"the {what} of {now.node} went from {old} back to {new}"
            yield Violation("regress", f"{text} (at {now.at_ms:g} ms)")
