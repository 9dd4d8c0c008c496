"""deploy/systemd/: accepted by systemd, hardened, and right about raftqd."""

import re
import shutil
import tomllib
from pathlib import Path

from tests.support.deployment import DEPLOY, installed, passes

from raftq.node.main import EXIT_REMOVED, EXIT_SETTING, EXIT_STORAGE
from raftq.node.settings import SETTINGS

UNIT = DEPLOY / "systemd" / "raftqd@.service"
EXPOSURE_MAX = 1.5
"""Of 10, as systemd judges; 9.6 without any hardening."""


def setting(name: str) -> str:
    """Return the only value of a setting of the unit."""
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    there = shutil.which("true")
    assert there is not None
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/raftq/bin/raftqd", there))
    analyze = installed("systemd-analyze")
    passes(analyze, "verify", "--man=no", "--recursive-errors=no", str(copy))


def test_the_unit_is_hardened() -> None:
    said = passes(
        installed("systemd-analyze"), "security", "--offline=true", "--no-pager", str(UNIT)
    )
    exposure = re.findall(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert exposure and float(exposure[0]) <= EXPOSURE_MAX, said


def test_a_node_that_cannot_start_again_is_not_started_again() -> None:
    assert setting("RestartPreventExitStatus") == f"{EXIT_SETTING} {EXIT_STORAGE} {EXIT_REMOVED}"
    assert setting("Restart") == "on-failure"


def test_the_unit_waits_for_the_handover() -> None:
    (drain,) = (each for each in SETTINGS if each.key == "drain_timeout_ms")
    assert int(setting("TimeoutStopSec")) * 1_000 >= 2 * int(drain.default or "0")
    assert setting("KillSignal") == "SIGTERM"


def test_every_flag_of_the_unit_and_every_key_of_the_example_exists() -> None:
    flags = set(re.findall(r"(--[a-z-]+)", setting("ExecStart")))
    assert flags <= {each.flag for each in SETTINGS} | {"--config"}
    example = tomllib.loads((DEPLOY / "systemd" / "n1.toml.example").read_text())
    keys = {each.key: each for each in SETTINGS}
    assert set(example) <= set(keys)
    assert "insecure" not in example and {"peer_tls_ca", "tokens_file"} <= set(example)
    for key in ("cluster", "native", "http", "peer", "advertise_native", "advertise_http"):
        keys[key].parse(example[key])
