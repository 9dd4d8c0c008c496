"""Programs that use the examples of docs/examples/mailing as servers and notebooks do.

`surroundings.py MODE`, in the folder of the examples, with a worker at work.
"""

import ast
import asyncio
import inspect
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any
from uuid import uuid4

MAIL = {"address": "a@example.org", "subject": "Hello"}
PATIENCE_SECONDS = 30.0


def poll(ask: Callable[[], dict[str, Any]], state: str) -> dict[str, Any]:
    """Ask until a task is as far."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (answer := ask())["state"] != state:
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)
    return answer


def fastapi() -> None:
    """Serve requests on the one loop of a server, and then each on a loop of its own."""
    from fastapi.testclient import TestClient
    from fastapi_api import api

    def use(client: TestClient) -> None:
        path = f"/mails/{uuid4()}"
        assert client.put(path, json=MAIL).json() == {"created": True}
        print(poll(lambda: client.get(path).json(), "done")["result"])

    with TestClient(api) as server:
        use(server)
    use(TestClient(api))


def flask() -> None:
    """Serve a request, then fork servers as `gunicorn --preload` does, and serve in each."""
    from flask_site import create_app

    site = create_app()

    def use() -> None:
        client, path = site.test_client(), f"/mails/{uuid4()}"
        assert client.put(path, data=MAIL).json == {"created": True}
        print(poll(lambda: client.get(path).get_json(), "done")["result"], flush=True)

    use()
    children: list[int] = []
    for _ in range(2):
        with warnings.catch_warnings():
            # Newer Pythons warn of every fork of a process with threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            use()
            return
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    use()


def django() -> None:
    """Place an order, wait for its confirmation, and enqueue what was forgotten."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "mailsite.settings"
    import django

    django.setup()
    from datetime import timedelta

    from django.core.management import call_command
    from django.test import Client
    from django.utils.timezone import now
    from mailsite.models import Order

    client = Client()

    def state(id: object) -> dict[str, Any]:
        return dict(client.get(f"/orders/{id}").json())

    placed = client.post("/orders", {"address": "a@example.org"}).json()["id"]
    print(poll(lambda: state(placed), "confirmed")["state"])
    forgotten = Order.objects.create(address="b@example.org")
    Order.objects.update(ordered_at=now() - timedelta(minutes=2))
    call_command("enqueue_forgotten")
    print(poll(lambda: state(forgotten.id), "confirmed")["state"])


def notebook() -> None:
    """Run the cells of the notebook as a kernel does: in a loop that runs, `await` allowed."""
    asyncio.run(run_cells(json.loads(Path("notebook.ipynb").read_text())["cells"]))


async def run_cells(cells: list[dict[str, Any]]) -> None:
    """Run the cells, and print what each is worth."""
    sys.ps1 = "In : "  # IPython sets it, too.
    # Blocking calls block the loop, and the development mode would say so.
    asyncio.get_running_loop().slow_callback_duration = PATIENCE_SECONDS
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            value = await run_cell("".join(cell["source"]), names)
            if value is not None:
                print(repr(value))


async def run_cell(source: str, names: dict[str, object]) -> object:
    """Run the statements of a cell, and return the value of its last expression."""
    *before, last = ast.parse(source).body
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    if not isinstance(last, ast.Expr):
        before, last = [*before, last], ast.Expr(ast.Constant(None))
    for code in (
        compile(ast.Module(before, []), "cell", "exec", flags),
        compile(ast.fix_missing_locations(ast.Expression(last.value)), "cell", "eval", flags),
    ):
        value = await evaluate(code, names)
    return value


async def evaluate(code: CodeType, names: dict[str, object]) -> object:
    """Evaluate code that may be a coroutine's."""
    value: object = eval(code, names)
    return await value if inspect.isawaitable(value) else value


MODES = {each.__name__: each for each in (fastapi, flask, django, notebook)}

if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    MODES[sys.argv[1]]()
