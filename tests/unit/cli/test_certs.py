"""`raftq certs new` makes certificates that Python's and OpenSSL's strictest checks accept."""

import json
import ssl
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from tests.support.clusters import Ended, raftq_inside
from tests.support.handshakes import Refused, shake_hands

from raftq.cli.certificates import CA_DAYS, BadCertificate, new_ca, new_node

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def new(folder: Path, *nodes: str, **options: str) -> Ended:
    words = [word for node in nodes for word in ("--node", node)]
    words += [word for name, value in options.items() for word in (f"--{name}", value)]
    return raftq_inside("certs", "new", "--out", str(folder), *words)


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_the_first_call_makes_a_ca_and_each_node_with_private_keys(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    made = new(folder, "n1", "n2")
    assert (made.code, made.err) == (0, "")
    assert modes(folder) == {
        **{"ca.crt": 0o644, "ca.key": 0o600, "n1.crt": 0o644, "n1.key": 0o600},
        **{"n2.crt": 0o644, "n2.key": 0o600},
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(made.out.split()) == sorted(str(path) for path in folder.iterdir())


def test_a_node_is_added_to_the_same_ca(tmp_path: Path) -> None:
    new(tmp_path, "n1")
    ca = (tmp_path / "ca.crt").read_bytes(), (tmp_path / "ca.key").read_bytes()
    assert new(tmp_path, "n2").code == 0
    assert ((tmp_path / "ca.crt").read_bytes(), (tmp_path / "ca.key").read_bytes()) == ca
    for node in ("n1", "n2"):
        read(tmp_path / f"{node}.crt").verify_directly_issued_by(read(tmp_path / "ca.crt"))


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    new(tmp_path, "n1")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again = new(tmp_path, "n2", "n1")
    assert again.code == 2
    assert "n1.crt exists" in again.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("lost", ["ca.crt", "ca.key"])
def test_half_a_ca_is_refused_and_not_replaced(tmp_path: Path, lost: str) -> None:
    new(tmp_path, "n1")
    (tmp_path / lost).unlink()
    refused = new(tmp_path, "n2")
    assert refused.code == 2 and f"{lost} is missing" in refused.err
    assert not (tmp_path / "n2.crt").exists() and not (tmp_path / lost).exists()


def test_a_ca_whose_halves_do_not_belong_together_is_refused(tmp_path: Path) -> None:
    new(tmp_path / "a", "n1")
    new(tmp_path / "b", "n1")
    (tmp_path / "a" / "ca.key").write_bytes((tmp_path / "b" / "ca.key").read_bytes())
    refused = new(tmp_path / "a", "n2")
    assert refused.code == 2 and "do not belong together" in refused.err


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\n", b"\xff\x00"])
def test_a_broken_ca_is_refused(tmp_path: Path, content: bytes) -> None:
    new(tmp_path, "n1")
    (tmp_path / "ca.crt").write_bytes(content)
    assert "the CA cannot be read" in new(tmp_path, "n2").err


@pytest.mark.parametrize("node", ["", "a b", "a/b", "../n1", "ca", "n" * 129])
def test_a_node_that_is_no_name_is_refused(tmp_path: Path, node: str) -> None:
    refused = new(tmp_path, node)
    assert refused.code == 2 and refused.err.startswith("raftq: node ")
    assert not list(tmp_path.iterdir())


def test_a_node_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    assert new(tmp_path, "n1", "n1=example.org").code == 2


def test_a_host_that_is_neither_name_nor_address_is_refused(tmp_path: Path) -> None:
    refused = new(tmp_path, "n1=ok.example.org,not_a host")
    assert refused.code == 2 and "'not_a host' is neither" in refused.err


def test_a_certificate_names_its_node_and_every_host(tmp_path: Path) -> None:
    new(tmp_path, "n1=n1.example.org,10.0.0.7,fd00::7", "N_2")
    first, second = names(read(tmp_path / "n1.crt")), names(read(tmp_path / "N_2.crt"))
    assert first.get_values_for_type(x509.UniformResourceIdentifier) == ["raftq://node/n1"]
    hosts = ["n1", "n1.example.org", "localhost"]
    assert first.get_values_for_type(x509.DNSName) == hosts
    addresses = [ip_address(each) for each in ("10.0.0.7", "fd00::7", "127.0.0.1", "::1")]
    assert first.get_values_for_type(x509.IPAddress) == addresses
    assert second.get_values_for_type(x509.UniformResourceIdentifier) == ["raftq://node/N_2"]
    assert second.get_values_for_type(x509.DNSName) == ["localhost"], "N_2 is no host name"


def test_days_bound_the_certificate_and_the_ca_bounds_them(tmp_path: Path) -> None:
    new(tmp_path, "n1", days="30")
    left = read(tmp_path / "n1.crt").not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    ca = new_ca(NOW - timedelta(days=CA_DAYS - 3))
    node = x509.load_pem_x509_certificate(new_node(ca, "n1", [], 365, NOW).certificate)
    assert node.not_valid_after_utc == NOW + timedelta(days=3)


def test_an_expired_ca_signs_nothing() -> None:
    ca = new_ca(NOW - timedelta(days=CA_DAYS + 1))
    with pytest.raises(BadCertificate, match="the CA expired on 2026-10-31"):
        new_node(ca, "n1", [], 365, NOW)


def test_the_strictest_verification_accepts_it_for_both_ends(tmp_path: Path) -> None:
    new(tmp_path, "n1", "n2")
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.crt")
    dialling = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    accepting.verify_mode = ssl.CERT_REQUIRED
    for context, node in ((accepting, "n1"), (dialling, "n2")):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(tmp_path / f"{node}.crt", tmp_path / f"{node}.key")
    assert shake_hands(accepting, dialling, "localhost")
    with pytest.raises(Refused, match=r"[Hh]ostname mismatch"):
        shake_hands(accepting, dialling, "evil.example.org")


def test_a_node_cannot_sign_another_node(tmp_path: Path) -> None:
    """Whoever has one node's key must not be able to become another node."""
    new(tmp_path / "real", "n1")
    forged = tmp_path / "forged"
    forged.mkdir()
    (forged / "ca.crt").write_bytes((tmp_path / "real" / "n1.crt").read_bytes())
    (forged / "ca.key").write_bytes((tmp_path / "real" / "n1.key").read_bytes())
    new(forged, "n2")
    accepting = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "real" / "ca.crt"
    )
    accepting.verify_mode = ssl.CERT_REQUIRED
    accepting.load_cert_chain(tmp_path / "real" / "n1.crt", tmp_path / "real" / "n1.key")
    chain = forged / "chain.crt"
    chain.write_bytes((forged / "n2.crt").read_bytes() + (forged / "ca.crt").read_bytes())
    dialling = ssl.create_default_context(cafile=tmp_path / "real" / "ca.crt")
    dialling.load_cert_chain(chain, forged / "n2.key")
    with pytest.raises(Refused, match="invalid CA certificate"):
        shake_hands(accepting, dialling, "localhost")


def test_json_lists_the_files(tmp_path: Path) -> None:
    made = raftq_inside("certs", "new", "--out", str(tmp_path), "--node", "n1", "--json")
    files = json.loads(made.out)["files"]
    assert sorted(files) == sorted(str(path) for path in tmp_path.iterdir())
