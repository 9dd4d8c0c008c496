"""`raftq certs`: the certificates with which nodes know each other."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from raftq.cli import output
from raftq.cli.certificates import BadCertificate, Identity, new_ca, new_node
from raftq.cli.names import require_name
from raftq.cli.options import AsJson

app = typer.Typer(help="Certificates of a cluster.", no_args_is_help=True)
_CA: Final = "ca"


@app.callback()
def certs() -> None:
    """Certificates of a cluster."""


@app.command()
def new(
    node: Annotated[
        list[str],
        typer.Option(
            help="A node's id, or id=host,host with the names and addresses at which clients "
            "reach it. Give it once for each node."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the files.")] = Path("certs"),
    days: Annotated[
        int, typer.Option(min=1, max=3_650, help="How long the nodes' certificates are valid.")
    ] = 365,
    as_json: AsJson = False,
) -> None:
    """Make certificates: ID.crt and ID.key for each node, and the CA in ca.crt and ca.key.

    If the folder has a CA, it signs the new nodes. Nothing is ever overwritten. Each node needs
    ca.crt and its own two files; keep ca.key away from all of them.
    """
    hosts: dict[str, list[str]] = {}
    for each in node:
        name, _, listed = each.partition("=")
        require_name("node", name)
        if name == _CA or name in hosts:
            _refuse(f"node {name!r} is taken; ids differ, and {_CA!r} is the CA's name")
        hosts[name] = [host for host in listed.split(",") if host]
    try:
        written = _write_all(out, hosts, days)
    except (BadCertificate, OSError) as error:
        _refuse(str(error))
    if as_json:
        output.print_json({"files": [str(path) for path in written]})
    else:
        for path in written:
            print(path)


def _write_all(folder: Path, hosts: dict[str, list[str]], days: int) -> list[Path]:
    """Make everything first, then write it; return what was written."""
    now = datetime.now(UTC)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: dict[str, Identity] = {}
    ca = _read(folder)
    if ca is None:
        ca = made[_CA] = new_ca(now)
    for name, listed in hosts.items():
        made[name] = new_node(ca, name, listed, days, now)
    files = {
        folder / f"{name}.{suffix}": content
        for name, identity in made.items()
        for suffix, content in (("crt", identity.certificate), ("key", identity.key))
    }
    for path in files:
        if path.exists():
            raise BadCertificate(f"{path} exists, and nothing is overwritten; move it away first")
    for path, content in files.items():
        _write(path, content)
    return list(files)


def _read(folder: Path) -> Identity | None:
    """Return the folder's CA, or None if it has none."""
    certificate, key = folder / f"{_CA}.crt", folder / f"{_CA}.key"
    if not certificate.exists() and not key.exists():
        return None
    for path in (certificate, key):
        if not path.exists():
            raise BadCertificate(f"{path} is missing; a CA needs both ca.crt and ca.key to sign")
    return Identity(certificate.read_bytes(), key.read_bytes())


def _write(path: Path, content: bytes) -> None:
    """Write a new file; a key is never readable by others, not even for a moment."""
    mode = 0o600 if path.suffix == ".key" else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # Whatever the umask is.
        file.write(content)


def _refuse(text: str) -> NoReturn:
    output.say(f"raftq: {text}")
    raise typer.Exit(output.EXIT_USAGE)
