"""Which leases a repeated lease call must return: a bounded memory for each worker."""

from collections import OrderedDict

from raftq.protocol import limits


class RequestMemory:
    """Recent (worker, request id) → tokens.

    Workers are ordered by their last use, so that forgetting costs nothing while nobody is old.
    """

    def __init__(self) -> None:
        self.workers: OrderedDict[str, tuple[int, OrderedDict[str, tuple[int, ...]]]]
        self.workers = OrderedDict()

    def recall(self, worker: str, request_id: str) -> tuple[int, ...]:
        """Return the tokens granted to a request, or nothing."""
        known = self.workers.get(worker)
        return () if known is None else known[1].get(request_id, ())

    def remember(
        self, worker: str, request_id: str, tokens: tuple[int, ...], lease_now_ms: int
    ) -> None:
        """Keep the grants of a request; the worker's oldest request gives way."""
        known = self.workers.get(worker)
        requests: OrderedDict[str, tuple[int, ...]] = OrderedDict() if known is None else known[1]
        requests[request_id] = tokens
        if len(requests) > limits.LEASE_REQUESTS_KEPT_PER_WORKER:
            requests.popitem(last=False)
        self.workers[worker] = (lease_now_ms, requests)
        self.workers.move_to_end(worker)

    def forget_silent(self, lease_now_ms: int) -> None:
        """Forget the workers that asked for nothing for long."""
        while self.workers:
            worker, (used_at_ms, _) = next(iter(self.workers.items()))
            if used_at_ms + limits.WORKER_FORGOTTEN_AFTER_MS > lease_now_ms:
                return
            del self.workers[worker]
