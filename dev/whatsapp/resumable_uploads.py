"""Uploads of files that become examples of templates: a session, its bytes from an offset on, and a handle at the end.

https://developers.facebook.com/docs/graph-api/guides/upload
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dev.whatsapp.chance import Chance
from dev.whatsapp.graph_errors import MISSING_OBJECT, GraphError
from shared.clients.file_types import FileRefused, content_type, plain_type
from shared.clients.whatsapp_limits import DOCUMENT_MEGABYTES
from shared.contracts.values import JsonObject

_TYPES = frozenset({"application/pdf", "image/jpeg", "image/jpg", "image/png", "video/mp4"})
_MOST_BYTES = DOCUMENT_MEGABYTES * 1_000_000
_HANDLE_PREFIX = "4::"


@dataclass(slots=True)
class UploadSession:
    """``content`` is what has arrived of a file with ``length`` bytes."""

    length: int
    file_type: str
    content: bytes = b""


class ResumableUploads:
    """The upload sessions of the app, and the handles of the files that arrived whole."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._sessions: dict[str, UploadSession] = {}
        self._handles: set[str] = set()

    def begin(self, query: Mapping[str, str]) -> JsonObject:
        """A session for a file of this name, length and type. Raises GraphError for what Meta does not take."""
        length, file_type = query.get("file_length", ""), query.get("file_type", "")
        if not query.get("file_name"):
            raise GraphError(100, "file_name: the name of the file is missing")
        if not length.isdecimal() or not 0 < int(length) <= _MOST_BYTES:
            raise GraphError(100, f"file_length: 1 to {_MOST_BYTES} bytes")
        if file_type not in _TYPES:
            raise GraphError(100, f"file_type: one of {', '.join(sorted(_TYPES))}")
        session = f"upload:{self._chance.whole(16, 'upload', len(self._sessions))}?sig=simulated"
        self._sessions[session] = UploadSession(int(length), file_type)
        return {"id": session}

    def add(self, session: str, offset: str, content: bytes) -> JsonObject:
        """Take bytes from the offset up to which they arrived; the handle once the file is whole.

        Raises GraphError for another offset, for more than was announced, and for other content.
        """
        upload = self._found(session)
        if not offset.isdecimal() or int(offset) != len(upload.content):
            raise GraphError(100, f"file_offset: {len(upload.content)} is the next byte")
        if len(upload.content) + len(content) > upload.length:
            raise GraphError(100, f"the file is longer than the {upload.length} bytes that were announced")
        upload.content += content
        if len(upload.content) < upload.length:
            return self.progress(session)
        try:
            content_type(upload.content, upload.file_type, {plain_type(upload.file_type)})
        except FileRefused:
            raise GraphError(100, f"the content is not {upload.file_type}") from None
        handle = f"{_HANDLE_PREFIX}{self._chance.whole(16, 'handle', session)}"
        self._handles.add(handle)
        return {"h": handle}

    def progress(self, session: str) -> JsonObject:
        return {"id": session, "file_offset": len(self._found(session).content)}

    def has(self, handle: object) -> bool:
        """Whether a file arrived whole under this handle."""
        return handle in self._handles

    def _found(self, session: str) -> UploadSession:
        if session not in self._sessions:
            raise GraphError(100, "there is no such upload session", subcode=MISSING_OBJECT)
        return self._sessions[session]
