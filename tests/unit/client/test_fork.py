"""A blocking client and a fork: it stays the parent's."""

import subprocess
import sys

PROGRAM = """
import os, warnings
from raftq.client import Client, InvalidRequest

client = Client("127.0.0.1:1", timeout="100ms")
client._lock.acquire()  # As if another thread was about to close it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Newer Pythons warn of threads.
    child = os.fork()
if child == 0:
    try:
        client.cluster()
    except InvalidRequest as error:
        print(error)
    client.close()
else:
    client._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client._thread.is_alive()
    client.close()
"""


def test_a_forked_child_is_refused_and_takes_nothing_from_its_parent() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "this client was made before the fork; make one in each process\n"
