"""TLS from files: the trusted certificates, and the client's own certificate with its key."""

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; ``setting`` begins the names of their settings: ``STET_KAFKA_TLS_CA_FILE`` and so on.

    Without ``ca_file`` the certificates of the operating system are trusted.
    """

    setting: str
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = None

    @property
    def given(self) -> list[str]:
        """The names of the settings that have a value."""
        values = {
            "CA_FILE": self.ca_file,
            "CERTIFICATE_FILE": self.certificate_file,
            "KEY_FILE": self.key_file,
            "KEY_PASSWORD": self.key_password,
        }
        return [f"{self.setting}_{name}" for name, value in values.items() if value is not None]

    @property
    def files(self) -> list[Path]:
        return [file for file in (self.ca_file, self.certificate_file, self.key_file) if file is not None]

    def context(self) -> ssl.SSLContext:
        """For a client that checks the server's certificate and name.

        Raises ValueError, beginning with the name of the setting whose file is missing or unusable.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        if self.ca_file is not None:
            context = self._trusting(self.ca_file)
        if self.certificate_file is not None and self.key_file is not None:
            self._load_certificate(context, self.certificate_file, self.key_file)
        elif self.certificate_file is not None or self.key_file is not None:
            missing, there = ("KEY", "CERTIFICATE") if self.key_file is None else ("CERTIFICATE", "KEY")
            raise ValueError(f"{self.setting}_{missing}_FILE not set, and {self.setting}_{there}_FILE needs it")
        elif self.key_password is not None:
            raise ValueError(f"{self.setting}_KEY_PASSWORD needs {self.setting}_KEY_FILE")
        return context

    def _trusting(self, ca_file: Path) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca_file))
        except ssl.SSLError:
            raise ValueError(f"{self.setting}_CA_FILE holds no certificate in PEM form") from None
        except OSError as error:
            raise ValueError(f"{self.setting}_CA_FILE cannot be read: {error.strerror}") from None

    def _load_certificate(self, context: ssl.SSLContext, certificate_file: Path, key_file: Path) -> None:
        for name, file in (("CERTIFICATE_FILE", certificate_file), ("KEY_FILE", key_file)):
            try:
                file.read_bytes()
            except OSError as error:
                raise ValueError(f"{self.setting}_{name} cannot be read: {error.strerror}") from None
        try:
            # without a password OpenSSL would ask for one on the terminal
            context.load_cert_chain(certificate_file, key_file, self.key_password or "")
        except ssl.SSLError:
            raise ValueError(self._certificate_fault(key_file)) from None

    def _certificate_fault(self, key_file: Path) -> str:
        if b"ENCRYPTED" in key_file.read_bytes():
            lack = "is needed: the key is encrypted" if self.key_password is None else "does not open the key"
            return f"{self.setting}_KEY_PASSWORD {lack}"
        return f"{self.setting}_KEY_FILE is not the PEM key of {self.setting}_CERTIFICATE_FILE"
