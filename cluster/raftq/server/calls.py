"""What kinds of calls there are, and a command's reply as its caller gets it."""

from typing import Final, TypeAlias, TypeGuard, get_args

from raftq.protocol.calls import Call, ClusterCall, LeaseCall, ReadCall, ResultCall
from raftq.protocol.commands import ControlCommand, Enqueue, Settlement
from raftq.protocol.errors import RaftqError, error_from_code
from raftq.protocol.replies import CommandReply, Rejected, Reply

ClientCommand: TypeAlias = Enqueue | Settlement | ControlCommand
"""What clients may propose as it is. A lease has a call form, and only a leader fires schedules."""
_COMMANDS: Final = get_args(ClientCommand)
_READS: Final = get_args(ReadCall)


def is_command(call: Call) -> TypeGuard[ClientCommand]:
    """Tell whether a call is written to the log as it is."""
    return isinstance(call, _COMMANDS)


def is_read(call: Call) -> TypeGuard[ReadCall]:
    """Tell whether a call is answered from a machine."""
    return isinstance(call, _READS)


def changes_nothing(call: Call) -> bool:
    """Tell whether a call whose outcome is unknown did nothing in any case."""
    return is_read(call) or isinstance(call, ClusterCall)


def wait_ms_of(call: Call) -> int:
    """Return how long a call may wait on top of its deadline."""
    return call.wait_ms if isinstance(call, LeaseCall | ResultCall) else 0


def accept(reply: CommandReply) -> Reply:
    """Return a command's reply as a call's; a rejected command becomes its error."""
    match reply:
        case Rejected():
            raise refusal(reply)
        case _:
            return reply  # pyright: ignore[reportReturnType]


def refusal(reply: Rejected) -> RaftqError:
    """Return the error that a rejected command is to its caller."""
    facts = {"retry_after_ms": reply.retry_after_ms} if reply.retry_after_ms else {}
    return error_from_code(reply.code, reply.message, facts)
