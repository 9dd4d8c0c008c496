"""A call to a broker in memory that waits."""

from concurrent.futures import Future

from raftq.protocol.calls import LeaseCall, ResultCall
from raftq.protocol.replies import Reply


class Poll:
    """A call that waits; its future gets the reply."""

    def __init__(self, call: LeaseCall | ResultCall, wait_ends_at_ms: int) -> None:
        self.call = call
        self.wait_ends_at_ms = wait_ends_at_ms
        self.future: Future[Reply] = Future()

    @property
    def request(self) -> tuple[str, str] | None:
        """What a repetition of a lease call is known by."""
        call = self.call
        return (call.worker, call.request_id) if isinstance(call, LeaseCall) else None

    def answer(self, reply: Reply | Exception) -> None:
        """Give the caller its reply, if it waits still."""
        if not self.future.set_running_or_notify_cancel():
            return
        if isinstance(reply, Exception):
            self.future.set_exception(reply)
        else:
            self.future.set_result(reply)
