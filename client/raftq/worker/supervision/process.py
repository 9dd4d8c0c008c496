"""One worker process: `python -m raftq.worker.supervision.process SETTINGS LINK NUMBER`.

It is started by `raftq worker`, whose process is its parent, and stops when that is gone.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Final, NoReturn

import msgspec

from raftq.client.async_client import AsyncClient
from raftq.protocol.errors import Forbidden, RaftqError, RequestError
from raftq.worker.app import App
from raftq.worker.finding import load_app
from raftq.worker.logs import configure_logs
from raftq.worker.loop import Worker
from raftq.worker.runtime import Runtime
from raftq.worker.scheduling import sync_schedules
from raftq.worker.supervision import link
from raftq.worker.supervision.collecting import look_less_often
from raftq.worker.supervision.settings import QueuePlan, Settings, plan_queues

_log = logging.getLogger(__name__)
_ALIVE_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 5.0


class Process:
    """Runs an App's tasks, and listens to signals and to the parent meanwhile.

    Args:
        app: Whose tasks.
        settings: Of this process.
        plan: What is leased from.
        parent: The socket to the parent.
    """

    def __init__(
        self, app: App, settings: Settings, plan: QueuePlan, parent: socket.socket
    ) -> None:
        self._app = app
        self._settings = settings
        self._plan = plan
        self._parent = parent
        self._signals = 0
        self._refusal: RequestError | None = None
        """Why the cluster does not take what the App declares."""

    async def run(self) -> int:
        """Run until the end and return the exit code."""
        reader, writer = await asyncio.open_connection(sock=self._parent)
        async with self._app.new_async_client("worker") as client:
            try:
                runtime = Runtime(self._app, client, self._settings, self._plan)
            except RequestError as error:
                return _refuse(error)
            writer.write(link.LOADED)
            worker = runtime.worker
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._on_signal, worker)
            beside = [
                asyncio.create_task(_listen(reader, worker)),
                asyncio.create_task(_show_life(writer)),
                asyncio.create_task(self._announce(client, worker, writer)),
            ]
            try:
                await runtime.run()
            except RequestError as error:
                return _refuse(error)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.wait(beside)
                writer.close()
        if self._refusal is not None:
            return _refuse(self._refusal)
        return link.EXIT_STOPPED if worker.given_up is None else link.EXIT_RECYCLE

    def _on_signal(self, worker: Worker) -> None:
        self._signals += 1
        if self._signals == 1:
            _drain(worker)
        else:
            worker.abandon()

    async def _announce(
        self, client: AsyncClient, worker: Worker, writer: asyncio.StreamWriter
    ) -> None:
        """Say that this process works once the cluster answers, and until then that it cannot.

        The cluster is told of the App's schedules before; if it refuses one, the worker ends.
        """
        while True:
            try:
                cluster = await client.cluster(timeout=_PROBE_SECONDS)
                changed = await sync_schedules(client, list(self._app.schedules.values()))
            except RequestError as error:
                self._refusal = error
                worker.abandon()
                return
            except RaftqError as error:
                advice = "is the cluster running? `raftq dev` starts a local one; the App's "
                advice += "addresses or RAFTQ_ADDRESSES say where it is"
                _log.warning("cluster_unreachable", extra={"error": str(error), "advice": advice})
                await asyncio.sleep(_PROBE_SECONDS)
                continue
            writer.write(link.READY)
            facts = {
                "app": self._settings.target,
                "queues": list(self._plan.queues),
                "limits": dict(self._plan.queue_limits),
                "tasks": len(self._app.tasks),
                "concurrency": self._settings.concurrency,
                "schedules": len(self._app.schedules),
                "schedules_changed": changed,
                "cluster": cluster.cluster_id,
            }
            _log.info("worker_ready", extra=facts)
            return


def _drain(worker: Worker) -> None:
    if not worker.is_stopping:
        _log.info("worker_process_drains")
        worker.stop()


async def _listen(reader: asyncio.StreamReader, worker: Worker) -> None:
    """Do what the parent says; without a parent, drain."""
    try:
        while word := await reader.read(1):
            if word == link.STOP:
                worker.abandon()
            else:
                _drain(worker)
    except ConnectionError:
        pass
    _drain(worker)


async def _show_life(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(link.ALIVE)
        await asyncio.sleep(_ALIVE_SECONDS)


def _refuse(error: RequestError) -> int:
    """Say what is wrong with what was asked for, and return the exit code for it."""
    print(f"raftq: {error.code}: {error.message}", file=sys.stderr)
    return link.EXIT_NOT_ALLOWED if isinstance(error, Forbidden) else link.EXIT_USAGE


def _end_while_loading(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(link.EXIT_STOPPED)


def _exit(code: int) -> NoReturn:
    """End this process as usual, but not later than in a few seconds.

    Programs clean up at exit; a thread that cannot be stopped must not keep them from ending.
    """

    def end() -> None:
        time.sleep(link.EXIT_SECONDS)
        os._exit(code)

    threading.Thread(target=end, name="raftq-exit", daemon=True).start()
    sys.exit(code)


def main() -> None:
    """Be a worker process."""
    settings = msgspec.json.decode(sys.argv[1], type=Settings)
    parent = socket.socket(fileno=int(sys.argv[2]))
    os.set_inheritable(parent.fileno(), False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_while_loading)
    configure_logs(settings.log_level, settings.log_style, sys.argv[3])
    try:
        app = load_app(settings.target)
        plan = plan_queues(app, settings)
        for task in app.tasks.values():
            task.validate()
    except RequestError as error:
        _exit(_refuse(error))
    for warning in plan.warnings:
        _log.warning("queue_without_tasks", extra={"advice": warning})
    look_less_often()
    _exit(asyncio.run(Process(app, settings, plan, parent).run()))


if __name__ == "__main__":
    main()
