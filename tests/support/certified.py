"""Certificates for tests: good ones of one cluster, and every bad kind."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from raftq.cli.certificates import Identity, new_ca, new_node


class Authority:
    """A CA and the folder into which its certificates go."""

    def __init__(self, folder: Path, age_days: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.now = datetime.now(UTC) - timedelta(days=age_days)
        self.ca = folder / "ca.crt"
        self._identity = new_ca(self.now)
        self.ca.write_bytes(self._identity.certificate)

    def issue(
        self, node: str, file: str | None = None, *, days: int = 30, hosts: Sequence[str] = ()
    ) -> tuple[Path, Path]:
        """Write a certificate and its key, and return their paths."""
        return self._write(file or node, new_node(self._identity, node, hosts, days, self.now))

    def issue_names(self, file: str, *uris: str) -> tuple[Path, Path]:
        """Write a good certificate that has just these URIs."""
        key = ec.generate_private_key(ec.SECP256R1())
        ca = x509.load_pem_x509_certificate(self._identity.certificate)
        ca_key = serialization.load_pem_private_key(self._identity.key, password=None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n1")]))
            .issuer_name(ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._write(file, Identity(certificate.public_bytes(pem), private))

    def _write(self, file: str, identity: Identity) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        certificate.write_bytes(identity.certificate)
        key.write_bytes(identity.key)
        key.chmod(0o600)
        return certificate, key


def expired(authority_folder: Path) -> Authority:
    """Return an authority whose certificates of a month have expired, while it has not."""
    return Authority(authority_folder, age_days=40)
