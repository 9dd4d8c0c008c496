"""raftq.toml: what counts, where it comes from, and what is said about a wrong one."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.support.clusters import raftq_inside

from raftq.cli.config_file import client_settings, read
from raftq.client.environment import DEFAULT_ADDRESSES
from raftq.protocol.errors import InvalidRequest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty, of a user whose own folder of settings is `here/settings`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment(here: Path, **more: str) -> Mapping[str, str]:
    return {"XDG_CONFIG_HOME": str(here / "settings"), **more}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_file_the_local_ports_count(here: Path) -> None:
    found = client_settings("", environment(here))
    assert (found.addresses.value, found.addresses.origin) == (DEFAULT_ADDRESSES, "default")
    assert found.credentials({}) == (None, None)


def test_the_file_of_the_folder_counts_alone_before_the_users_own(here: Path) -> None:
    write(here / "settings/raftq/config.toml", 'addresses = "own:1"\ntls_ca = "system"\n')
    assert client_settings("", environment(here)).addresses.value == "own:1"
    write(here / "raftq.toml", 'addresses = ["a:1", "b:2"]\n')
    found = client_settings("", environment(here))
    assert (found.addresses.value, found.addresses.origin) == ("a:1,b:2", "raftq.toml")
    assert found.tls_ca.value is None


def test_without_a_folder_of_settings_the_users_file_is_in_the_home(here: Path) -> None:
    write(here / ".config/raftq/config.toml", 'addresses = "own:1"\n')
    assert client_settings("", {"HOME": str(here)}).addresses.value == "own:1"
    assert client_settings("", {}).addresses.origin == "default"


def test_the_option_goes_before_the_environment_and_that_before_the_file(here: Path) -> None:
    write(here / "raftq.toml", 'addresses = "file:1"\n')
    told = environment(here, RAFTQ_ADDRESSES="environment:1")
    assert client_settings("", told).addresses.value == "environment:1"
    assert client_settings("environment:1", told).addresses.origin == "RAFTQ_ADDRESSES"
    option = client_settings("option:1", told).addresses
    assert (option.value, option.origin) == ("option:1", "--address")


def test_a_token_of_the_file_goes_to_the_addresses_of_the_file_only(here: Path) -> None:
    write(here / "secret", "rq_1\n")
    write(here / "raftq.toml", 'addresses = "a:1"\ntoken_file = "secret"\ntls_ca = "system"\n')
    assert client_settings("", environment(here)).credentials({}) == ("rq_1", "system")
    for found in (
        client_settings("b:1", environment(here)),
        client_settings("", environment(here, RAFTQ_ADDRESSES="b:1")),
    ):
        assert found.credentials({}) == (None, None)


def test_a_file_without_addresses_says_what_is_shown_to_any(here: Path) -> None:
    write(here / "secret", "rq_1\n")
    write(here / "raftq.toml", 'token_file = "secret"\n')
    assert client_settings("b:1", environment(here)).credentials({}) == ("rq_1", None)


def test_credentials_of_the_environment_go_before_the_file(here: Path) -> None:
    write(here / "secret", "rq_1")
    write(here / "raftq.toml", 'token_file = "secret"\ntls_ca = "ca.crt"\n')
    told = environment(here, RAFTQ_TOKEN="rq_2", RAFTQ_TLS_CA="other.crt")
    assert client_settings("", told).credentials(told) == ("rq_2", "other.crt")
    other = write(here / "other", "rq_3")
    told = environment(here, RAFTQ_TOKEN_FILE=str(other))
    assert client_settings("", told).credentials(told) == ("rq_3", "ca.crt")


def test_paths_count_from_the_files_folder(here: Path) -> None:
    path = write(here / "settings/raftq/config.toml", 'token_file = "../t"\ntls_ca = "/ca"\n')
    assert read(path) == {"token_file": str(here / "settings/t"), "tls_ca": "/ca"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('\naddreses = "a:1"', "line 2: there is no key 'addreses' (did you mean 'addresses'?)"),
        ('\n\ntoken = "rq_1"', "line 3: there is no key 'token': a secret stands in a file"),
        ("[tls]\nca = 1", "line 1: there is no key 'tls'"),
        ('tls_ca = "x"\naddresses = 7601', "line 2: addresses is 7601; it must be text, or a list"),
        ("addresses = [1]", "line 1: addresses is [1]; it must be text, or a list"),
        ('addresses = "a:b"', "line 1: addresses: 'a:b' is no address"),
        ("addresses = []", "line 1: addresses is ''; it must be text"),
        ("token_file = true", "line 1: token_file is True; it must be text"),
        ('tls_ca = ""', "line 1: tls_ca is ''; it must be text"),
        ("addresses = a", "is no TOML: Invalid value (at line 1"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_line_and_key(
    here: Path, text: str, said: str
) -> None:
    path = write(here / "raftq.toml", text)
    with pytest.raises(InvalidRequest) as refused:
        read(path)
    assert refused.value.message.startswith(str(path)) and said in refused.value.message
    assert "rq_1" not in refused.value.message


def test_a_file_that_is_no_text_is_refused(here: Path) -> None:
    (here / "raftq.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match=r"raftq\.toml cannot be read: it is not text"):
        client_settings("", environment(here))
    (here / "raftq.toml").unlink()
    (here / "raftq.toml").mkdir()
    with pytest.raises(InvalidRequest, match=r"raftq\.toml cannot be read: Is a directory"):
        client_settings("", environment(here))


def test_a_token_file_that_is_missing_is_told_by_the_file_and_key_that_name_it(here: Path) -> None:
    write(here / "raftq.toml", 'token_file = "gone"\n')
    with pytest.raises(InvalidRequest, match=r"raftq\.toml: token_file is .*gone.*No such file"):
        client_settings("", environment(here)).credentials({})


def test_a_command_goes_where_the_file_says(here: Path) -> None:
    write(here / "raftq.toml", 'addresses = "127.0.0.1:2"\n')
    ended = raftq_inside("queue", "q", "--timeout", "100ms")
    assert ended.code == 4 and "127.0.0.1:2" in ended.err and "raftq.toml" in ended.err
    ended = raftq_inside("queue", "q", "--timeout", "100ms", "--address", "127.0.0.1:3")
    assert "127.0.0.1:3" in ended.err


def test_a_wrong_file_ends_every_command_with_code_2(here: Path) -> None:
    write(here / "raftq.toml", "adresses = 1\n")
    for words in (("queue", "q"), ("top", "--once"), ("config", "show"), ("enqueue", "q", "x")):
        ended = raftq_inside(*words)
        assert (ended.code, ended.out) == (2, "")
        assert "raftq.toml, line 1: there is no key 'adresses'" in ended.err


def test_what_counts_is_shown_without_the_secret(here: Path) -> None:
    write(here / "secret", "rq_1")
    write(here / "raftq.toml", 'addresses = "a:1"\ntoken_file = "secret"\n')
    ended = raftq_inside("config", "show", RAFTQ_TLS_CA="/ca")
    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["key", "value", "from"],
        ["addresses", "a:1", "raftq.toml"],
        ["token_file", "secret", "raftq.toml"],
        ["tls_ca", "/ca", "RAFTQ_TLS_CA"],
    ]
    assert "rq_1" not in raftq_inside("config", "show", RAFTQ_TOKEN="rq_1").out
