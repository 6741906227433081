"""Files as Meta keeps them: those that people sent, and those that the business uploaded. In memory.

An id lives seven days (30 for an upload) and names a link for five minutes; the link gives the bytes to our token only.
https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media. Times are the machine's.
"""

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from dev.whatsapp.graph_errors import MISSING_OBJECT, GraphError

INBOUND_SECONDS = 7 * 86400.0
UPLOAD_SECONDS = 30 * 86400.0
LINK_SECONDS = 300.0
LINK_PATH = "/whatsapp_business/attachments"

_MEGABYTE = 1024 * 1024
_OFFICE = "application/vnd.openxmlformats-officedocument."
UPLOAD_LIMITS = {
    **dict.fromkeys(("image/jpeg", "image/png"), 5 * _MEGABYTE),
    **dict.fromkeys(("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"), 16 * _MEGABYTE),
    **dict.fromkeys(("video/mp4", "video/3gpp"), 16 * _MEGABYTE),
    "image/webp": 500 * 1024,
    **dict.fromkeys(
        (
            "text/plain", "application/pdf", "application/msword", "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint", _OFFICE + "wordprocessingml.document",
            _OFFICE + "spreadsheetml.sheet", _OFFICE + "presentationml.presentation",
        ),
        100 * _MEGABYTE,
    ),
}  # fmt: skip
"""Bytes by content type; other types cannot be uploaded."""


@dataclass(frozen=True, slots=True)
class SimulatedMedia:
    """A file that the simulated WhatsApp holds. ``expires_at`` is monotonic."""

    media_id: str
    mime: str
    content: bytes
    expires_at: float
    number: str | None = None  # the phone number id that uploaded it, and may send it

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.content).digest()


class MediaFiles:
    """Files by id, and links by their token; ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._files: dict[str, SimulatedMedia] = {}
        self._links: dict[str, tuple[str, float]] = {}

    def add(self, media_id: str, mime: str, content: bytes, seconds: float = INBOUND_SECONDS) -> SimulatedMedia:
        file = SimulatedMedia(media_id, mime, content, self._clock() + seconds)
        self._files[media_id] = file
        return file

    def upload(self, mime: str, content: bytes, number: str) -> SimulatedMedia:
        """Raises GraphError for a type that Meta does not take, and for a file that is too large for its type."""
        most = UPLOAD_LIMITS.get(mime)
        if most is None:
            raise GraphError(100, f"Param file must be a file with one of the supported types, not {mime}")
        if not content or len(content) > most:
            raise GraphError(131053, f"the file has {len(content)} bytes, at most {most} are allowed for {mime}")
        media_id = str(int.from_bytes(hashlib.sha256(f"{len(self._files)}".encode() + content).digest()[:8], "big"))[
            :16
        ]
        file = SimulatedMedia(media_id, mime, content, self._clock() + UPLOAD_SECONDS, number)
        self._files[media_id] = file
        return file

    def find(self, media_id: str) -> SimulatedMedia:
        """Raises GraphError for an id that is unknown or has expired."""
        file = self._files.get(media_id)
        if file is None or file.expires_at <= self._clock():
            raise GraphError(100, f"object {media_id} does not exist or may not be used", subcode=MISSING_OBJECT)
        return file

    def check_sendable(self, media_id: str, number: str) -> None:
        """Raises GraphError for an id that this number did not upload, or that has expired."""
        file = self._files.get(media_id)
        if file is None or file.number != number or file.expires_at <= self._clock():
            raise GraphError(100, "the document's id is not that of a file which this number has uploaded")

    def link(self, media_id: str) -> str:
        """The token of a new link."""
        token = hashlib.sha256(f"{media_id}/{len(self._links)}".encode()).hexdigest()[:32]
        self._links[token] = (media_id, self._clock() + LINK_SECONDS)
        return token

    def linked(self, token: str) -> SimulatedMedia | None:
        """None for a link that is unknown, or older than five minutes."""
        media_id, until = self._links.get(token, ("", 0.0))
        file = self._files.get(media_id)
        return file if file is not None and self._clock() < until else None


def webhook_digest(content: bytes) -> str:
    """The digest as webhooks write it, in base64."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def sample_content(mime: str, name: str) -> bytes:
    """A small file of this type, different for each name."""
    mark = name.encode("utf-8", "replace")
    if mime.startswith(_OFFICE):
        part = {"wordprocessingml.document": b"word/", "spreadsheetml.sheet": b"xl/"}.get(
            mime.removeprefix(_OFFICE), b"ppt/"
        )
        return _SAMPLES["application/zip"] + b"[Content_Types].xml" + b"\0" * 20 + part + mark
    return _SAMPLES.get(mime, b"") + mark


_SAMPLES = {
    "application/pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n% ",
    "application/rtf": b"{\\rtf1 ",
    "text/rtf": b"{\\rtf1 ",
    "application/zip": b"PK\x03\x04\x14\0\0\0\0\0\0\0!\0\0\0\0\0\0\0\0\0\0\0\0\0\x13\0\0\0",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0",
    "image/png": b"\x89PNG\r\n\x1a\n",
}
"""The beginnings by which a file of the type is known."""
