"""`raftqd`: start one node and report how it ended.

Exit codes: 0 stopped on request, 1 a bug, 2 a wrong setting, 3 an address is taken, 4 the data
folder is in use, out of reach, or of another node or cluster, 5 the data is damaged or the disk
failed, 6 the node was removed from the cluster.
"""

import asyncio
import logging
import os
import signal
import sys
from typing import Final, NoReturn

from raftq.node.collector import look_rarely
from raftq.node.config import ConfigError, read_config
from raftq.node.credentials import Keeper
from raftq.node.logs import configure_logs
from raftq.node.open_files import allow_many_files
from raftq.node.process import CannotListen, Node
from raftq.node.settings import NodeConfig
from raftq.protocol.addresses import address_text
from raftq.protocol.errors import (
    DataDirLocked,
    RemovedFromCluster,
    StorageError,
    UnsupportedFormat,
)
from raftq.storage.data_dir import DataDir

_log = logging.getLogger(__name__)

EXIT_BUG: Final = 1
EXIT_SETTING: Final = 2
EXIT_ADDRESS: Final = 3
EXIT_DATA_DIR: Final = 4
EXIT_STORAGE: Final = 5
EXIT_REMOVED: Final = 6


def main() -> None:
    """Run a node until it is told to stop."""
    try:
        config = read_config(sys.argv[1:], os.environ)
    except ConfigError as error:
        _fail(EXIT_SETTING, str(error))
    configure_logs(config.log_level, config.log_format, config.node_id)
    look_rarely()
    allow_many_files()
    try:
        asyncio.run(_run(config, Keeper(config)))
    except ConfigError as error:
        _fail(EXIT_SETTING, str(error))
    except RemovedFromCluster as error:
        _fail(EXIT_REMOVED, str(error))
    except (DataDirLocked, UnsupportedFormat, DataDirUnusable) as error:
        _fail(EXIT_DATA_DIR, str(error))
    except StorageError as error:
        _fail(EXIT_STORAGE, str(error))
    except CannotListen as error:
        _fail(EXIT_ADDRESS, str(error))
    except Exception:
        _log.critical("node_failed", exc_info=True)
        _fail(EXIT_BUG, "this is a bug in raftq; the log above has the details")


class DataDirUnusable(Exception):
    """The operating system does not let this process use the data folder."""


async def _run(config: NodeConfig, keeper: Keeper) -> None:
    try:
        data_dir = DataDir.open(
            config.data_dir,
            node_id=config.node_id,
            members={node: address_text(address) for node, address in config.cluster.items()},
            is_joining=config.join,
        )
    except OSError as error:
        raise DataDirUnusable(
            f"data_dir is {str(config.data_dir)!r}, which cannot be used: {error}"
        ) from None
    try:
        await Node(config, data_dir, keeper).run()
    finally:
        # The end of Python restores the default handlers: a second SIGTERM would kill a node that
        # has stopped cleanly, and its exit code would tell of a crash. Ignored and not blocked,
        # because a thread that has just ended may still be there to be given the signal.
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, signal.SIG_IGN)


def _fail(code: int, text: str) -> NoReturn:
    print(f"raftqd: {text}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
