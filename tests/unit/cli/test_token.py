"""`raftq token new` makes tokens that a node lets in, and shows each only once."""

import json

import pytest
from tests.support.clusters import raftq_inside

from raftq.protocol.credentials import TOKEN_PREFIX, token_hash, token_line
from raftq.server.tokens import parse_tokens


def test_the_line_lets_the_token_in_and_does_not_contain_it() -> None:
    made = json.loads(raftq_inside("token", "new", "app", "--json").out)
    (grant,) = parse_tokens(made["line"])
    assert grant.name == made["name"] == "app"
    assert grant.hash == token_hash(made["token"])
    assert made["token"] not in made["line"]


def test_every_token_is_new_long_and_easy_to_find_in_leaks() -> None:
    tokens = [json.loads(raftq_inside("token", "new", "app", "--json").out)["token"]
              for _ in range(20)]  # fmt: skip
    assert len(set(tokens)) == 20
    assert all(token.startswith(TOKEN_PREFIX) and len(token) >= 43 for token in tokens)


def test_the_plain_form_shows_both() -> None:
    made = raftq_inside("token", "new", "app")
    facts = dict(line.split(maxsplit=1) for line in made.out.splitlines())
    assert facts["line"] == token_line("app", facts["token"])


@pytest.mark.parametrize("name", ["a b", "a:b", "", "a\nb"])
def test_a_name_that_would_break_the_file_is_refused(name: str) -> None:
    refused = raftq_inside("token", "new", name)
    assert (refused.code, refused.out) == (2, "")
    assert "name is" in refused.err
