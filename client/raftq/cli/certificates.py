"""Makes the certificates of a cluster: a CA of its own, and one certificate for each node.

Keys are on the curve P-256, which every TLS library takes. A node's certificate serves both ends
of a link between nodes, and clients, who check the host names in it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftq.protocol.credentials import node_uri

CA_DAYS: Final = 3_650
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""Valid from before now: the clocks of the nodes need not agree to the second."""
_COMMON_NAME_CHARACTERS_MAX: Final = 64
_DNS_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
                              r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\Z")  # fmt: skip
_LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""In every certificate, so that a health check on the node's own machine can verify it."""


class BadCertificate(ValueError):
    """What was given cannot become or sign a certificate; the text says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


def new_ca(now: datetime) -> Identity:
    """Return a new certificate authority for one cluster."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "raftq cluster CA")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = _builder(name, name, key.public_key(), now, now + timedelta(days=CA_DAYS))
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(_key_id(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _identity(certificate, key)


def new_node(ca: Identity, node: str, hosts: Sequence[str], days: int, now: datetime) -> Identity:
    """Return the certificate of a node, signed by the cluster's CA.

    Args:
        ca: See `new_ca`.
        node: Its id.
        hosts: Names and addresses at which clients reach it, besides this machine's own.
        days: How long it is valid, from now; never longer than the CA.
        now: With a time zone.

    Raises:
        BadCertificate: A host is neither a name nor an address, or the CA cannot sign.
    """
    authority, ca_key = _read_ca(ca, now)
    key = ec.generate_private_key(ec.SECP256R1())
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, node[:_COMMON_NAME_CHARACTERS_MAX])
    until = min(now + timedelta(days=days), authority.not_valid_after_utc)
    builder = _builder(x509.Name([common_name]), authority.subject, key.public_key(), now, until)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(node, hosts)), critical=False)
        .add_extension(_key_id(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return _identity(certificate, key)


def _read_ca(ca: Identity, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the CA's certificate and key, if they belong together and may still sign."""
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate)
        key = serialization.load_pem_private_key(ca.key, password=None)
    except (ValueError, TypeError) as error:
        raise BadCertificate(f"the CA cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate("the CA's key is not on an elliptic curve; it is none of raftq's")
    if certificate.public_key() != key.public_key():
        raise BadCertificate("the CA's certificate and its key do not belong together")
    if certificate.not_valid_after_utc <= now:
        raise BadCertificate(f"the CA expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(until)
    )


def _names(node: str, hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Return the id as a URI, and each host as what it is."""
    named = [node] if _DNS_NAME.match(node) else []
    found: list[x509.GeneralName] = [x509.UniformResourceIdentifier(node_uri(node))]
    for host in dict.fromkeys([*named, *hosts, *_LOCAL_HOSTS]):
        try:
            found.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            if not _DNS_NAME.match(host):
                raise BadCertificate(f"{host!r} is neither a host name nor an address") from None
            found.append(x509.DNSName(host))
    return found


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only",
             "decipher_only")  # fmt: skip
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names})


def _key_id(public_key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(public_key)


def _identity(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Identity:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Identity(certificate.public_bytes(serialization.Encoding.PEM), private)
