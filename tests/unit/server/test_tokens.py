"""Tokens files: what is let in, what is refused, and that nothing secret is ever quoted."""

import logging
import os
from pathlib import Path

import pytest

from raftq.protocol import limits
from raftq.protocol.credentials import token_hash, token_line
from raftq.protocol.errors import Forbidden
from raftq.server.tokens import BadTokensFile, Grant, TokenFile, parse_tokens

TOKEN = "rq_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeFg"
OTHER = "rq_" + "z" * 43
HASH = token_hash(TOKEN)


def file(path: Path, *lines: str) -> TokenFile:
    path.write_text("\n".join(lines) + "\n")
    return TokenFile(path)


def rewrite(path: Path, *lines: str) -> None:
    """Replace a file as editors and Kubernetes do: by another file of the same name."""
    other = path.with_suffix(".new")
    other.write_text("".join(line + "\n" for line in lines))
    os.replace(other, path)


def is_refused(tokens: TokenFile, token: str | None) -> bool:
    try:
        tokens.check(token)
    except Forbidden:
        return True
    return False


def test_a_token_whose_hash_is_in_the_file_is_let_in_under_its_name(tmp_path: Path) -> None:
    tokens = file(tmp_path / "t", token_line("a", TOKEN), token_line("b", OTHER))
    assert tokens.check(TOKEN) == Grant("a", HASH)
    assert tokens.check(OTHER).name == "b"


def test_every_other_token_is_refused(tmp_path: Path) -> None:
    tokens = file(tmp_path / "t", token_line("a", TOKEN))
    wrong = [None, "", OTHER, TOKEN[:-1], TOKEN[1:], TOKEN + "x", TOKEN + "\0", TOKEN.swapcase(),
             TOKEN.upper(), HASH, token_line("a", TOKEN), "é" * 40, "\udcff", " " + TOKEN,
             "a" * 1_000_000]  # fmt: skip
    assert [token for token in wrong if not is_refused(tokens, token)] == []


def test_a_refusal_does_not_quote_the_token(tmp_path: Path) -> None:
    tokens = file(tmp_path / "t", token_line("a", TOKEN))
    with pytest.raises(Forbidden) as refused:
        tokens.check(OTHER)
    assert OTHER not in str(refused.value) + repr(refused.value) and not refused.value.facts


def test_comments_empty_lines_and_several_tokens_of_one_name_are_fine() -> None:
    text = f"# ours\n\n  {token_line('a', TOKEN)}  \r\n{token_line('a', OTHER)}\n"
    assert [grant.name for grant in parse_tokens(text)] == ["a", "a"]
    assert parse_tokens("") == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (TOKEN, "not name:hash"),
        (f"a:{TOKEN}", "not name:hash"),
        (f":{HASH}", "not name:hash"),
        (f"a b:{HASH}", "not name:hash"),
        (f"a:{HASH[:-1]}", "not name:hash"),
        (f"a:{HASH}0", "not name:hash"),
        (f"a:{HASH.upper()}", "not name:hash"),
        (f"a: {HASH}", "not name:hash"),
        ("a", "not name:hash"),
        (f"a:{HASH}:", "no scopes"),
        (f"a:{HASH}:lease=mail", "no scopes"),
        (f"{HASH}", "not name:hash"),
    ],
)
def test_a_malformed_line_is_named_by_number_and_never_quoted(line: str, said: str) -> None:
    with pytest.raises(BadTokensFile) as refused:
        parse_tokens(f"# first\n{line}\n")
    assert "line 2" in str(refused.value) and said in str(refused.value)
    assert TOKEN not in str(refused.value) and HASH[:20] not in str(refused.value)


def test_the_number_of_tokens_is_bounded() -> None:
    line = token_line("a", TOKEN) + "\n"
    assert len(parse_tokens(line * limits.TOKENS_MAX)) == limits.TOKENS_MAX
    with pytest.raises(BadTokensFile, match="at most"):
        parse_tokens(line * (limits.TOKENS_MAX + 1))


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTokensFile, match="no-such-file"):
        TokenFile(tmp_path / "no-such-file")
    for content in (b"\xff\xfe", b"a" * (limits.MIB + 1)):
        (tmp_path / "t").write_bytes(content)
        with pytest.raises(BadTokensFile, match=str(tmp_path)):
            TokenFile(tmp_path / "t")


def test_a_changed_file_counts_after_the_next_look(tmp_path: Path) -> None:
    tokens = file(tmp_path / "t", token_line("a", TOKEN))
    told: list[bool] = []
    grant = tokens.check(TOKEN)
    tokens.on_change.append(lambda: told.append(tokens.grants(grant)))
    tokens.refresh()
    assert told == []
    rewrite(tmp_path / "t", token_line("a", TOKEN), token_line("b", OTHER))
    tokens.refresh()
    assert told == [True] and tokens.check(OTHER).name == "b"
    rewrite(tmp_path / "t", token_line("b", OTHER))
    tokens.refresh()
    assert told == [True, False] and is_refused(tokens, TOKEN)


def test_a_broken_file_changes_nothing_but_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t"
    tokens = file(path, token_line("a", TOKEN))
    rewrite(path, f"a:{OTHER}")
    tokens.refresh()
    tokens.refresh()
    path.unlink()
    tokens.refresh()
    assert tokens.check(TOKEN).name == "a"
    assert [record.getMessage() for record in caplog.records] == ["tokens_file_refused"] * 2
    assert OTHER not in "".join(str(vars(record)) for record in caplog.records)
    rewrite(path, token_line("b", OTHER))
    tokens.refresh()
    assert tokens.check(OTHER).name == "b"


def test_a_forced_look_reads_even_what_seems_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tokens = file(tmp_path / "t", token_line("a", TOKEN))
    tokens.refresh(force=True)
    assert [record.getMessage() for record in caplog.records] == ["tokens_file_read"]
