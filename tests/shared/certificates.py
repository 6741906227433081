"""Certificates for a test: an authority, and files that it signed."""

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from dev.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """``keystore`` holds key and certificate in one file."""

    certificate: Path
    key: Path
    keystore: Path


class Authority:
    """Signs for this machine's loopback address; ``ca_file`` is what trusts it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.crt"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def issue(self, name: str, key_password: str | None = None) -> CertificateFiles:
        """Keys are PKCS #8, the form that Kafka reads."""
        issued = self._ca.issue_cert(LOOPBACK, common_name=name)
        files = CertificateFiles(*(self._folder / f"{name}.{end}" for end in ("crt", "key", "pem")))
        files.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        files.key.write_bytes(_pkcs8(issued.private_key_pem.bytes(), key_password))
        files.keystore.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
        return files


def _pkcs8(key: bytes, password: str | None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    read = serialization.load_pem_private_key(key, None)
    return read.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
