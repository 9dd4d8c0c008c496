"""How nodes and clients are named in credentials; what both sides must write the same way.

A node's certificate names it by a URI and not by a DNS name: ids are compared letter by letter,
may be any of our names, and no certificate of a web server happens to be one of a node.
"""

import hashlib
import secrets
from typing import Final

NODE_URI_PREFIX: Final = "raftq://node/"
"""Followed by the node's id, it is a subject alternative name of the node's certificate."""
TOKEN_PREFIX: Final = "rq_"
"""Begins every token that raftq makes, so that scanners for leaked secrets can find it."""
_TOKEN_BYTES: Final = 32


def node_uri(node: str) -> str:
    """Return the name of a node in its certificate."""
    return NODE_URI_PREFIX + node


def new_token() -> str:
    """Return a new bearer token: 256 random bits, printable, safe in a header and in a shell."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> str:
    """Return what a node keeps of a token.

    One fast hash is enough, because a token is random and not a person's password.
    """
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def token_line(name: str, token: str) -> str:
    """Return the line of a tokens file that lets a token in."""
    return f"{name}:{token_hash(token)}"
