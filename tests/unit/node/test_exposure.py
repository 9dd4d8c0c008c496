"""Nothing is opened to a network by accident."""

from pathlib import Path

import pytest

from raftq.node.config import ConfigError, read_config
from raftq.node.exposure import exposures, is_loopback, sends_tokens_in_the_clear
from raftq.node.settings import NodeConfig, parse_address

NEEDED = ["--node-id", "n1", "--data-dir", "/data", "--cluster", "n1=n1.example:7621"]


@pytest.fixture
def some(tmp_path: Path) -> str:
    """A file; what is in it is not looked at here."""
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file")


def read(**settings: str) -> NodeConfig:
    given = [part for key, value in settings.items()
             for part in ("--" + key.replace("_", "-"), value)]  # fmt: skip
    return read_config([*NEEDED, *given], {})


def refused(**settings: str) -> str:
    with pytest.raises(ConfigError) as error:
        read(**settings)
    return str(error.value)


def peer_tls(file: str) -> dict[str, str]:
    return dict.fromkeys(("peer_tls_ca", "peer_tls_cert", "peer_tls_key"), file)


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.10:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("192.168.1.1:1", False),
        ("[fe80::1%eth0]:1", False),
        ("example.org:1", False),
        ("localhost.example.org:1", False),
        ("127.0.0.1.example.org:1", False),
        ("2130706433:1", False),
    ],
)
def test_only_what_surely_stays_on_this_machine_is_loopback(address: str, is_local: bool) -> None:
    assert is_loopback(parse_address(address)) is is_local


OUTSIDE = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "n1.example:1"]


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_peer_port_beyond_loopback_needs_peer_tls(address: str, some: str) -> None:
    text = refused(peer=address, tokens_file=some)
    assert text.startswith(f"peer is {address}, which is not loopback")
    for word in ("peer_tls_ca", "raftq certs new", "--insecure", "docs/operating/security.md"):
        assert word in text
    assert read(peer=address, **peer_tls(some)).peer == parse_address(address)


@pytest.mark.parametrize("address", OUTSIDE)
@pytest.mark.parametrize("key", ["native", "http"])
def test_a_client_port_beyond_loopback_needs_tokens(key: str, address: str, some: str) -> None:
    text = refused(**{key: address}, **peer_tls(some))
    assert text.startswith(f"{key} is {address}, which is not loopback")
    for word in ("tokens_file", "raftq token new", "--insecure"):
        assert word in text
    assert read(**{key: address, "tokens_file": some}).tokens_file == Path(some)


def test_insecure_lets_everything_through_and_names_it(some: str) -> None:
    outside = {"native": "0.0.0.0:1", "http": "0.0.0.0:2", "peer": "0.0.0.0:3"}
    config = read(**outside, insecure="true")
    assert [what for what, _ in exposures(config)] == [
        "peer is 0.0.0.0:3",
        "native is 0.0.0.0:1",
        "http is 0.0.0.0:2",
    ]
    secured = read(**outside, tokens_file=some, **peer_tls(some))
    assert list(exposures(secured)) == []


def test_loopback_needs_nothing() -> None:
    assert list(exposures(read())) == []


@pytest.mark.parametrize(
    "given",
    [
        ["peer_tls_ca"],
        ["peer_tls_cert", "peer_tls_key"],
        ["peer_tls_ca", "peer_tls_cert"],
        ["client_tls_cert"],
        ["client_tls_key"],
    ],
)
def test_settings_that_belong_together_are_given_together(given: list[str], some: str) -> None:
    text = refused(**dict.fromkeys(given, some))
    assert "is missing" in text and "together or not at all" in text
    assert not any(text.startswith(key) for key in given)


def test_tokens_over_a_network_without_tls_are_noticed(some: str) -> None:
    outside = {"http": "0.0.0.0:1", "tokens_file": some}
    assert sends_tokens_in_the_clear(read(**outside))
    assert not sends_tokens_in_the_clear(read(tokens_file=some))
    tls = {"client_tls_cert": some, "client_tls_key": some}
    assert not sends_tokens_in_the_clear(read(**outside, **tls))
