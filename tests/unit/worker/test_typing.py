"""What type checkers see of tasks: each wrong line of a program is found, and no right one."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import asyncio
from collections.abc import Coroutine
from typing import Any, assert_type
from uuid import UUID

from raftq.worker import App, Chain, Job, current

app = App()


@app.task(queue="mail", attempts_max=5, timeout="30s")
async def send(address: str, *, copies: int = 1) -> UUID:
    return UUID(int=copies)


@app.task
def add(left: int, right: int) -> int:
    return left + right


@app.task()
def log(line: str) -> None:
    print(line)


assert_type(add(1, 2), int)
coroutine: Coroutine[Any, Any, UUID] = send("a")
assert_type(add.enqueue(1, right=2), Job[int])
assert_type(add.enqueue(1, 2).result(), int)
assert_type(send.enqueue("a", copies=2).result("10s"), UUID)
assert_type(send.options(delay="60s", priority=1).enqueue("a").result(), UUID)
assert_type(add.job("0" * 32).result(), int)
assert_type(app.job("0" * 32).result(), object)
assert_type(app.gather([add.enqueue(1, 2)]), list[int])
assert_type(app.enqueue_many([add.draft(1, 2)]), list[Job[int]])
for job in app.as_completed([send.enqueue("a")]):
    assert_type(job.result(), UUID)
anything: list[Job[object]] = [add.enqueue(1, 2), send.enqueue("a")]
log.enqueue("x").result()
assert_type(app.chain(add.s(1, 2), add.s(3)), Chain[int])
assert_type(app.chain(add.s(1, 2), send.s()).enqueue(), Job[UUID])
assert_type(app.group([add.s(1, 2), app.chain(add.s(1, 2), add.s(3))]).enqueue(), list[Job[int]])
assert_type(app.group([add.s(1, 2)]).join(send.s()).enqueue().result(), UUID)
assert_type(current().follow_up(add.s(1, 2)), Job[int])
assert_type(current().follow_up(app.group([add.s(1, 2)])), list[Job[int]])

add("1", 2)  # wrong
send.enqueue(7)  # wrong
send.enqueue()  # wrong
send.enqueue("a", 2)  # wrong
send.enqueue("a", copys=2)  # wrong
send.draft("a", copies="2")  # wrong
send.options(delay="60s").enqueue(7)  # wrong
send.options(dely="60s")  # wrong
send.options(priority="high")  # wrong
text: str = add.enqueue(1, 2).result()  # wrong
app.chain(add.s(1, 2), app.group([add.s(3)]))  # wrong
app.group([add])  # wrong
app.task(on_conflict="fight")  # wrong
app.schedule("* * * * *", catch_up="some")  # wrong
unlike: list[Job[str]] = app.group([add.s(1, 2)]).enqueue()  # wrong


@app.task(quue="mail")  # wrong
def misspelt() -> None: ...


@app.task(execution="greenlet")  # wrong
def misplaced() -> None: ...


async def main() -> None:
    assert_type(await send("a"), UUID)
    assert_type(await send.aenqueue("a"), Job[UUID])
    assert_type(await (await send.aenqueue("a")).aresult(timeout=3), UUID)
    assert_type(await (await add.aenqueue(1, 2)).aresult(), int)
    assert_type(await app.agather([await add.aenqueue(1, 2)]), list[int])
    async for job in app.as_completed([await add.aenqueue(1, 2)]):
        assert_type(job.result(), int)
    await add.aenqueue(1, "2")  # wrong
    number: int = await (await send.aenqueue("a")).aresult()  # wrong


asyncio.run(main())
"""


def mypy(program: Path) -> str:
    return checked("mypy", "--no-error-summary", "--no-pretty", str(program))


def pyright(program: Path) -> str:
    return checked("pyright", "--project", str(ROOT / "pyproject.toml"), str(program))


def checked(checker: str, *arguments: str) -> str:
    """Return what a type checker says about a program."""
    ended = subprocess.run(
        [sys.executable, "-m", checker, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_finds_each_wrong_line_and_no_right_one(
    checker: Callable[[Path], str], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    said = checker(program)
    found = {int(line) for line in re.findall(r"program\.py:(\d+):.*error", said)}
    lines = PROGRAM.splitlines()
    assert [lines[number - 1] for number in sorted(found)] == [
        line for line in lines if line.endswith("# wrong")
    ], said
