"""Coroutines handed to a loop by threads: an interrupted caller is nobody else's trouble."""

import asyncio
import threading

import pytest

from raftq.client.submitting import Submissions


async def _answer() -> int:
    return 1


def test_calls_after_an_interrupted_one_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    wake = loop.call_soon_threadsafe
    submissions = Submissions(loop)

    def interrupted(*_: object) -> None:
        monkeypatch.setattr(loop, "call_soon_threadsafe", wake)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        submissions.submit(_answer)
    answers: list[int] = []
    caller = threading.Thread(
        target=lambda: answers.append(submissions.submit(_answer).wait()), daemon=True
    )
    caller.start()
    caller.join(10)
    assert answers == [1]
    wake(loop.stop)
    thread.join()
    loop.close()
