"""`raftq token`: the secrets with which clients are let in."""

from typing import Annotated

import typer

from raftq.cli import output
from raftq.cli.names import require_name
from raftq.cli.options import AsJson
from raftq.protocol.credentials import new_token, token_line

app = typer.Typer(help="Tokens of clients.", no_args_is_help=True)


@app.callback()
def token() -> None:
    """Tokens of clients."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose token it is, for logs and for revoking it.")],
    as_json: AsJson = False,
) -> None:
    """Make a token, print it once, and print the line that lets it in.

    The client gets the token, in RAFTQ_TOKEN or in a file named by RAFTQ_TOKEN_FILE. Every node
    gets the line, in the file that its setting tokens_file names; the line is no secret.
    """
    require_name("name", name)
    secret = new_token()
    facts = {"name": name, "token": secret, "line": token_line(name, secret)}
    if as_json:
        output.print_json(facts)
    else:
        output.print_facts(facts)
