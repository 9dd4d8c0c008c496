"""PySyncObj's messages, which are dictionaries, as our typed ones, and back."""

from typing import cast

from raftq.consensus.peers.messages import (
    AppendEntries,
    NextIndex,
    RaftMessage,
    RequestVote,
    SnapshotPart,
    TimeoutNow,
    Vote,
)


def append_entries(message: dict[str, object]) -> AppendEntries:
    """Return a PySyncObj append_entries message that carries log entries."""
    return AppendEntries(
        cast(int, message["term"]),
        cast(int, message["commit_index"]),
        cast("int | None", message["prevLogIdx"]),
        cast("int | None", message["prevLogTerm"]),
        cast("list[tuple[bytes, int, int]]", message["entries"]),
    )


def from_pysyncobj(message: dict[str, object], term: int) -> RaftMessage:
    """Return any other PySyncObj message; `term` is the sender's, which its acks lack."""
    match message["type"]:
        case "next_node_idx":
            return NextIndex(
                term,
                cast(int, message["next_node_idx"]),
                cast(bool, message["success"]),
                cast(bool, message["reset"]),
            )
        case "request_vote":
            return RequestVote(
                cast(int, message["term"]),
                cast(int, message["last_log_index"]),
                cast(int, message["last_log_term"]),
                is_transfer=False,
            )
        case "response_vote":
            return Vote(cast(int, message["term"]))
        case "timeout_now":
            return TimeoutNow(cast(int, message["term"]))
        case kind:
            raise AssertionError(f"PySyncObj sent a message of unexpected type {kind!r}")


def to_pysyncobj(message: RaftMessage) -> dict[str, object]:
    """Return the dictionary that PySyncObj expects for a message."""
    match message:
        case AppendEntries(term, commit_index, previous_index, previous_term, entries):
            return {
                "type": "append_entries",
                "term": term,
                "commit_index": commit_index,
                "prevLogIdx": previous_index,
                "prevLogTerm": previous_term,
                "entries": entries,
            }
        case SnapshotPart(term=term, offset=offset, data=data, is_last=is_last):
            return {
                "type": "append_entries",
                "term": term,
                # A snapshot says nothing of the entries in our log, so it moves no commit index.
                "commit_index": 0,
                "serialized": (data, offset == 0, is_last),
            }
        case NextIndex(next_index=next_index, success=success, reset=reset):
            return {
                "type": "next_node_idx",
                "next_node_idx": next_index,
                "success": success,
                "reset": reset,
            }
        case RequestVote(term=term, last_index=last_index, last_term=last_term):
            return {
                "type": "request_vote",
                "term": term,
                "last_log_index": last_index,
                "last_log_term": last_term,
            }
        case Vote(term=term):
            return {"type": "response_vote", "term": term}
        case TimeoutNow(term=term):
            return {"type": "timeout_now", "term": term}
