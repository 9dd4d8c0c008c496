"""docs/howto/schedules.md: its commands work in order, and its table of nights is true."""

import re
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import typer.main
from tests.support.clusters import ENVIRONMENT

from raftq.cli.commands import build
from raftq.cli.local_cluster import LocalCluster
from raftq.server.schedules.cron import Cron

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "schedules.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", PAGE, re.M | re.S)
NIGHTS = re.findall(r"^\| `([^`]+)` \| ([^|]*\d:\d\d[^|]*) \| ([^|]*) \|$", PAGE, re.M)
BERLIN = ZoneInfo("Europe/Berlin")


def test_the_commands_of_the_page_do_and_print_what_it_says(tmp_path: Path) -> None:
    script = "".join(f"{commands}echo '<<{at}>>'\n" for at, (commands, _) in enumerate(BLOCKS))
    path = f"{Path(sys.executable).parent}:{ENVIRONMENT.get('PATH', '')}"
    with LocalCluster(tmp_path, size=1) as cluster:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=ENVIRONMENT | {"PATH": path, "RAFTQ_ADDRESSES": cluster.addresses},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    printed = re.split(r"<<\d+>>\n", ended.stdout)
    told = [(text, found) for (_, text), found in zip(BLOCKS, printed, strict=False) if text]
    assert len(told) == 1
    for text, found in told:
        # How far away a tick is depends on the day; in which year too, once that one is over.
        shape = [re.sub(r"^\d{4}|in .*", "", line) for line in text.splitlines()]
        assert [re.sub(r"^\d{4}|in .*", "", line) for line in found.splitlines()] == shape


def test_the_page_shows_every_command_of_schedules() -> None:
    commands = "".join(commands for commands, _ in BLOCKS)
    group = typer.main.get_command(build("schedule"))
    names: list[str] = list(getattr(group, "commands")["schedule"].commands)  # noqa: B009  # A group has them, its type does not say so.
    assert [each for each in names if f"raftq schedule {each}" not in commands] == []


def _shown(cron: str, day: str) -> list[str]:
    """Return the ticks of a day's first hours as the local clock shows them."""
    begin = datetime.fromisoformat(day).replace(tzinfo=BERLIN)
    end_ms = (begin + timedelta(hours=4, minutes=30)).timestamp() * 1_000
    ticks = Cron(cron, "Europe/Berlin").after(int(begin.timestamp()) * 1_000 - 1)
    dates = [
        datetime.fromtimestamp(tick / 1_000, BERLIN)
        for tick in takewhile(lambda tick: tick < end_ms, ticks)
    ]
    return [f"{date.hour}:{date.minute:02}" for date in dates]


def test_the_table_of_nights_is_true() -> None:
    assert len(NIGHTS) == 4
    for cron, spring, autumn in NIGHTS:
        for words, day in ((spring, "2026-03-29"), (autumn, "2026-10-25")):
            told = re.findall(r"\d:\d\d", words.partition(", for")[0])
            shown = _shown(cron, day)
            start = shown.index(told[0])
            assert shown[start : start + len(told)] == told, (cron, day, shown)
            if "*" not in cron.split()[1]:
                assert shown == told, (cron, day)
