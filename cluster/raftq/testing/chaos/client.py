"""One process with clients: the programs of the simulator, on a real network.

Reads its orders from stdin: a line ends the programs, the end of the file ends the process.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

import msgspec

from raftq.testing.chaos.records import WrittenHistory
from raftq.testing.recording_client import RecordingClient
from raftq.testing.sim.clients import (
    KnownTasks,
    Load,
    Surroundings,
    drainer,
    producer,
    reader,
    runner,
    worker,
)

Program = Callable[[Surroundings], Awaitable[None]]
TOKEN_VARIABLE = "RAFTQ_TOKEN"
"""Where a client's token is; among the arguments everybody could read it."""
PROGRAMS = ("producer", "worker", "runner", "reader", "drainer")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the programs until they end or are told to."""
    options = _parser().parse_args(arguments)
    asyncio.run(_run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Clients of a chaos run.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--addresses", required=True)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--load", required=True, help="a Load as JSON")
    parser.add_argument("--programs", required=True, help="names separated by commas")
    parser.add_argument("--tls-ca", help="the CA of the nodes' certificates; speaks TLS")
    return parser


async def _run(options: argparse.Namespace) -> None:
    load = msgspec.json.decode(options.load, type=Load)
    history = WrittenHistory(options.history)
    known = KnownTasks()
    is_stopping = False

    def heard() -> None:
        nonlocal is_stopping
        if not sys.stdin.buffer.readline():
            sys.exit(1)  # The run is gone.
        is_stopping = True

    asyncio.get_running_loop().add_reader(sys.stdin, heard)
    async with asyncio.TaskGroup() as running:
        for number, kind in enumerate(options.programs.split(","), 1):
            name = f"{options.name}.{kind}{number}"
            chance = Random(f"{options.seed}/{name}")
            client = RecordingClient(
                history,
                options.addresses,
                timeout=load.call_timeout,
                name=name,
                token=os.environ.get(TOKEN_VARIABLE),
                tls_ca=options.tls_ca,
                random=chance,
            )
            around = Surroundings(client, chance, name, lambda: is_stopping)
            running.create_task(_program(around, _program_of(kind, load, known)))


async def _program(around: Surroundings, program: Program) -> None:
    async with around.client:
        await program(around)


def _program_of(kind: str, load: Load, known: KnownTasks) -> Program:
    match kind:
        case "producer":
            return producer(load, known)
        case "worker":
            return worker(load)
        case "runner":
            return runner(load)
        case "reader":
            return reader(load, known)
        case "drainer":
            return drainer(load)
        case _:
            raise ValueError(f"{kind!r} is no program; known are {', '.join(PROGRAMS)}")


if __name__ == "__main__":
    main()
