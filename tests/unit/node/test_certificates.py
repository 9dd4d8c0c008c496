"""What a node checks of its own certificates before it opens anything, and while it runs."""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.support.asyncs import asynchronous, turns, within
from tests.support.certified import Authority, expired

from raftq.node.certificates import Certificates, load_certificates
from raftq.node.config import ConfigError
from raftq.node.credentials import Keeper
from raftq.node.settings import NodeConfig
from raftq.protocol.credentials import new_token, token_line
from raftq.protocol.errors import Forbidden


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


def config(
    authority: Authority,
    files: tuple[Path, Path],
    client: tuple[Path, Path] | tuple[None, None] = (None, None),
    tokens_file: Path | None = None,
) -> NodeConfig:
    address = ("127.0.0.1", 1)
    return NodeConfig(
        node_id="n1",
        data_dir=Path("/d"),
        native=address,
        http=address,
        peer=address,
        advertise_native=None,
        advertise_http=None,
        cluster={"n1": address},
        election_timeout_ms=500,
        snapshot_entries=1_000,
        drain_timeout_ms=0,
        log_level="info",
        log_format="json",
        peer_tls_ca=authority.ca,
        peer_tls_cert=files[0],
        peer_tls_key=files[1],
        client_tls_cert=client[0],
        client_tls_key=client[1],
        tokens_file=tokens_file,
    )


def refused(config: NodeConfig) -> str:
    with pytest.raises(ConfigError) as error:
        load_certificates(config)
    return str(error.value)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_good_certificates_are_loaded_with_their_expiry(authority: Authority) -> None:
    files = authority.issue("n1", days=30)
    found = load_certificates(config(authority, files, client=files))
    assert found.peer is not None and found.client is not None
    for which in ("peer", "client"):
        assert 29 * 86_400 < found.expire_at[which] - time.time() < 31 * 86_400


def test_a_certificate_of_another_node_is_refused_at_start(authority: Authority) -> None:
    text = refused(config(authority, authority.issue("n2")))
    assert "peer_tls_cert" in text and "raftq://node/n2" in text and "raftq://node/n1" in text


def test_an_expired_certificate_is_refused_at_start(tmp_path: Path) -> None:
    old = expired(tmp_path / "old")
    text = refused(config(old, old.issue("n1", days=30)))
    assert "peer_tls_cert" in text and "expired on" in text and "raftq certs new" in text


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    certificate, _ = authority.issue("n1")
    _, key = authority.issue("n2")
    text = refused(config(authority, (certificate, key)))
    assert "peer_tls_ca, peer_tls_cert and peer_tls_key cannot be used together" in text


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA\n"])
def test_a_file_that_is_no_certificate_is_named(authority: Authority, content: bytes) -> None:
    certificate, key = authority.issue("n1")
    certificate.write_bytes(content)
    text = refused(config(authority, (certificate, key)))
    assert f"peer_tls_cert is {str(certificate)!r}, which cannot be read" in text


def test_a_ca_that_is_none_is_refused(authority: Authority) -> None:
    files = authority.issue("n1")
    authority.ca.write_bytes(b"")
    assert "peer_tls_ca" in refused(config(authority, files))


def test_a_key_that_everybody_can_read_is_spoken_of(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = authority.issue("n1")
    load_certificates(config(authority, (certificate, key)))
    assert messages(caplog) == []
    key.chmod(0o644)
    load_certificates(config(authority, (certificate, key)))
    assert messages(caplog) == ["key_file_is_open"]
    assert key.read_text()[40:80] not in caplog.text


@asynchronous
async def test_a_new_certificate_is_taken_over_on_demand_and_a_bad_one_is_not() -> None:
    with TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        keeper = Keeper(config(authority, authority.issue("n1", days=20)))
        first = keeper.certificates
        renewed: list[Certificates] = []
        keeper.start(renewed.append)
        authority.issue("n2", "n1")
        keeper.reload()
        assert keeper.certificates is first and not renewed
        authority.issue("n1", days=300)
        keeper.reload()
        assert renewed == [keeper.certificates] and keeper.certificates is not first
        assert keeper.expiry_seconds("peer") > 200 * 86_400
        await keeper.stop()


@pytest.mark.parametrize(("days", "is_soon"), [(13, True), (15, False)])
def test_a_certificate_is_spoken_of_two_weeks_before_it_expires(
    authority: Authority, days: int, is_soon: bool, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(config(authority, authority.issue("n1", days=days)))

    async def run() -> None:
        keeper.start(lambda _: None)
        await turns()
        await keeper.stop()

    asyncio.run(run())
    assert messages(caplog) == (["certificate_expires_soon"] if is_soon else [])


@asynchronous
async def test_a_changed_tokens_file_counts_by_itself() -> None:
    with TemporaryDirectory() as folder:
        authority, tokens = Authority(Path(folder)), Path(folder, "tokens")
        first, second = new_token(), new_token()
        tokens.write_text(token_line("a", first))
        keeper = Keeper(
            config(authority, authority.issue("n1"), tokens_file=tokens), look_seconds=0.01
        )
        assert keeper.tokens is not None and keeper.tokens.check(first)
        changed = asyncio.Event()
        keeper.tokens.on_change.append(changed.set)
        keeper.start(lambda _: None)
        tokens.write_text(token_line("longer-name", second))
        await within(5.0, changed.wait())
        assert keeper.tokens.check(second)
        with pytest.raises(Forbidden):
            keeper.tokens.check(first)
        await keeper.stop()


def test_a_malformed_tokens_file_ends_the_start_with_its_name(
    authority: Authority, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(new_token())
    with pytest.raises(ConfigError, match=r"tokens_file: .*line 1 is not name:hash"):
        Keeper(config(authority, authority.issue("n1"), tokens_file=tokens))
