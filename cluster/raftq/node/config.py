"""Read the settings: flags before environment before file before defaults."""

import argparse
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

from raftq.node.exposure import incomplete, refusal
from raftq.node.settings import SETTINGS, BadSetting, NodeConfig, Setting

_KEYS: Final = {setting.key: setting for setting in SETTINGS}
_CONFIG_VARIABLE: Final = "RAFTQ_CONFIG"


class ConfigError(Exception):
    """A setting is wrong or missing; the text names it, what was found and what is allowed."""


def read_config(arguments: Sequence[str], environment: Mapping[str, str]) -> NodeConfig:
    """Return the configuration of a node.

    Args:
        arguments: The command line without the program's name.
        environment: Usually `os.environ`.

    Raises:
        ConfigError: Something is wrong or missing.
        SystemExit: `--help` or `--version`, or an unknown flag (code 2).
    """
    flags = vars(_parser().parse_args(arguments))
    path = flags.pop("config") or environment.get(_CONFIG_VARIABLE)
    from_file = _read_file(Path(path)) if path else {}
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        found = _find(setting, flags, environment, from_file, path)
        if found is None:
            raise ConfigError(
                f"{setting.key} is missing: give {setting.flag}, {setting.variable} or "
                f"{setting.key} in the configuration file. {setting.text}"
            )
        text, source = found
        try:
            values[setting.key] = setting.parse(text)
        except BadSetting as error:
            raise ConfigError(
                f"{setting.key} is {text!r} ({source}); allowed is: {error}"
            ) from None
        sources[setting.key] = source
    config = NodeConfig(**values, sources=sources)
    if config.node_id not in config.cluster:
        members = ", ".join(config.cluster)
        raise ConfigError(
            f"node_id is {config.node_id!r}, which is not in cluster ({members}); allowed is: one "
            "of the ids in cluster"
        )
    problem = incomplete(config) or refusal(config)
    if problem is not None:
        raise ConfigError(problem)
    return config


def _find(
    setting: Setting,
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    from_file: Mapping[str, str],
    path: str | None,
) -> tuple[str, str] | None:
    """Return (text, where it comes from) of a setting, or None."""
    flag = flags[setting.key]
    if flag is not None:
        return flag, f"from {setting.flag}"
    if setting.variable in environment:
        return environment[setting.variable], f"from {setting.variable}"
    if setting.key in from_file:
        return from_file[setting.key], f"from {path}"
    return None if setting.default is None else (setting.default, "the default")


def _read_file(path: Path) -> dict[str, str]:
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"config is {str(path)!r}, which cannot be read: {error}") from None
    values: dict[str, str] = {}
    for key, value in content.items():
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, 1)
            advice = f"did you mean {close[0]}?" if close else f"known are: {', '.join(_KEYS)}"
            raise ConfigError(f"{path} has an unknown setting {key!r}; {advice}")
        values[key] = _as_text(key, value)
    return values


def _as_text(key: str, value: object) -> str:
    """Return a TOML value as the text that a flag would have."""
    if key == "cluster" and isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return ",".join(f"{node}={address}" for node, address in members.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raftqd",
        description="One node of a raftq cluster. Every setting can also be given in the "
        "environment (RAFTQ_NODE_ID, …) or in a TOML file.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"raftqd {version('raftq')}")
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings")
    for setting in SETTINGS:
        default = f" (default {setting.default})" if setting.default else ""
        text = setting.text + default
        if setting.is_switch:
            parser.add_argument(
                setting.flag, nargs="?", const="true", metavar="true|false", help=text
            )
        else:
            parser.add_argument(setting.flag, metavar=setting.key.upper(), help=text)
    return parser
