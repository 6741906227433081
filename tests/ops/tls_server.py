"""A server that begins as PostgreSQL does where TLS is asked for, with a certificate that ended yesterday."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from shared.runtime.clock import machine_now

_SSL_REQUEST = 8  # bytes


def ended_certificate(folder: Path) -> Path:
    """A file with a self-signed certificate for localhost, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), machine_now()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "ended.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return path


@contextmanager
def tls_server(certificate: Path) -> Iterator[int]:
    """The port of a server that takes connections until the block ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("localhost", 0)) as listening:
        threading.Thread(target=_serve, args=(listening, context), daemon=True).start()
        yield listening.getsockname()[1]


def _serve(listening: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):  # closed
        while True:
            connection, _ = listening.accept()
            with suppress(OSError), connection:
                connection.recv(_SSL_REQUEST)
                connection.sendall(b"S")
                context.wrap_socket(connection, server_side=True).close()
