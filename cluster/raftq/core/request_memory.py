"""Which leases a repeated lease call must return: a memory bounded per worker and in all."""

from collections import OrderedDict
from collections.abc import Iterator

from raftq.protocol import limits

Requests = OrderedDict[str, tuple[int, ...]]


class RequestMemory:
    """Recent (worker, request id) → tokens.

    Workers are ordered by their last use, so that forgetting costs nothing while nobody is old.
    """

    def __init__(self) -> None:
        self._workers: OrderedDict[str, tuple[int, Requests]] = OrderedDict()
        self.requests_kept = 0
        self.tokens_kept = 0

    def recall(self, worker: str, request_id: str) -> tuple[int, ...]:
        """Return the tokens granted to a request, or nothing."""
        known = self._workers.get(worker)
        return () if known is None else known[1].get(request_id, ())

    def remember(
        self, worker: str, request_id: str, tokens: tuple[int, ...], lease_now_ms: int
    ) -> None:
        """Keep the grants of a request that is not known.

        The worker's oldest request gives way, and over all workers those silent for longest: a
        program that names itself anew for each call must not fill the memory of the cluster.
        """
        known = self._workers.get(worker)
        requests = Requests() if known is None else known[1]
        requests[request_id] = tokens
        self.requests_kept += 1
        self.tokens_kept += len(tokens)
        if len(requests) > limits.LEASE_REQUESTS_KEPT_PER_WORKER:
            self._uncount(requests.popitem(last=False)[1])
        self._workers[worker] = (lease_now_ms, requests)
        self._workers.move_to_end(worker)
        while (
            self.requests_kept > limits.LEASE_REQUESTS_KEPT_MAX
            or self.tokens_kept > limits.LEASE_TOKENS_KEPT_MAX
        ):
            self._forget_oldest()

    def forget_silent(self, lease_now_ms: int) -> None:
        """Forget the workers that were granted nothing for long."""
        while self._workers:
            used_at_ms, _ = next(iter(self._workers.values()))
            if used_at_ms + limits.WORKER_FORGOTTEN_AFTER_MS > lease_now_ms:
                return
            self._forget_oldest()

    def forget_all(self) -> None:
        """Forget every request."""
        while self._workers:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, (_, requests) = self._workers.popitem(last=False)
        for tokens in requests.values():
            self._uncount(tokens)

    def _uncount(self, tokens: tuple[int, ...]) -> None:
        self.requests_kept -= 1
        self.tokens_kept -= len(tokens)

    # ------------------------------------------------------------ snapshots

    def __iter__(self) -> Iterator[tuple[str, int, Requests]]:
        """Yield (worker, last use, requests), the worker silent for longest first."""
        for worker, (used_at_ms, requests) in self._workers.items():
            yield worker, used_at_ms, requests

    def restore(self, worker: str, used_at_ms: int, requests: Requests) -> None:
        """Enter a worker as it was yielded, in the same order."""
        self._workers[worker] = (used_at_ms, requests)
        self.requests_kept += len(requests)
        self.tokens_kept += sum(len(tokens) for tokens in requests.values())
