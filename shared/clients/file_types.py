"""The type of a file by its content; its declared type and its name are not trusted.

Pure. The library ``filetype`` knows the signatures of formats, and is loaded for the first file. A declared type of a
container's content (a DOCX is a ZIP) is accepted only where the file is such a container.
"""

import struct
from collections.abc import Collection, Iterator
from itertools import islice

from shared.contracts.whatsapp import MediaRefusal

HEAD_BYTES = 8192
"""How much of a file's beginning the signatures need."""

_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_ODT = "application/vnd.oasis.opendocument.text"
_EPUB = "application/epub+zip"
_WORD, _EXCEL, _POWERPOINT = "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"

ACCEPTED_TYPES = frozenset(
    {
        "application/pdf", "application/rtf", "text/plain", "text/markdown", "text/csv",
        _DOCX, _XLSX, _PPTX, _ODT, _EPUB, _WORD, _EXCEL, _POWERPOINT,
        "image/jpeg", "image/png", "image/webp", "image/tiff",
        "audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg", "video/mp4", "video/3gpp",
    }
)  # fmt: skip
"""The types that Meta documents for WhatsApp, and others that authors write manuscripts in.

https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#supported-media-types
"""

KEPT_EXTENSIONS = (
    "pdf", "doc", "docx", "odt", "rtf", "txt", "md", "epub", "xls", "xlsx", "csv", "ppt", "pptx",
    "jpg", "jpeg", "png", "webp", "tif", "tiff", "aac", "amr", "mp3", "m4a", "ogg", "mp4", "3gp",
)  # fmt: skip
"""The extensions of files of these types."""

DOCUMENT_TYPES = frozenset({"application/pdf", "text/plain", _DOCX, _XLSX, _PPTX, _WORD, _EXCEL, _POWERPOINT})
"""The types that WhatsApp takes for documents, on the same page."""

_CONTAINERS = (
    frozenset({"application/zip", _DOCX, _XLSX, _PPTX, _ODT, _EPUB}),
    frozenset({"application/x-ole-storage", _WORD, _EXCEL, _POWERPOINT}),
    frozenset({"video/mp4", "audio/mp4", "video/3gpp", "video/quicktime"}),
    frozenset({"audio/ogg", "application/ogg", "video/ogg"}),
)
"""Formats that share a container; within one, the type that the sender declares is accepted."""

_SAME = {
    "application/x-pdf": "application/pdf",
    "text/rtf": "application/rtf",
    "application/x-rtf": "application/rtf",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "image/jpg": "image/jpeg",
    "text/x-markdown": "text/markdown",
}
_OLE_SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ACTIVE_TEXT = (b"<!doctype html", b"<html", b"<script", b"<?php", b"<?xml", b"<svg", b"#!", b"@echo")
_UNKNOWN, _PROGRAM = "application/octet-stream", "application/x-msdownload"
_BEFORE_PDF = b"\xef\xbb\xbf \t\r\n\f\0"
"""Bytes that stand before the signature in some PDF files. Readers look for it in the first kilobyte."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MOST_PARTS = 50
_PROGRAM_PARTS = ("meta-inf/manifest.mf", "androidmanifest.xml", "classes.dex")
_PROGRAM_ENDINGS = (
    ".exe", ".scr", ".com", ".msi", ".dll", ".bat", ".cmd", ".ps1", ".vbs", ".js", ".jse", ".wsf", ".hta", ".lnk",
    ".jar", ".apk", ".class", ".dex", ".sh",
)  # fmt: skip
"""In an archive, the names that make a program of it (JAR, APK), or are programs. A book may hold scripts, so below a
folder ``.js`` counts for nothing.
"""


class FileRefused(Exception):
    """The file will never be kept; ``mime`` is the content's type, where it was seen."""

    def __init__(self, reason: MediaRefusal, mime: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.mime = mime


def content_type(head: bytes, declared: str | None, accepted: Collection[str]) -> str:
    """The type of a file that begins with ``head``. ``declared`` is the type that its sender or its host names.

    Raises FileRefused for an empty file, and for a type that is not accepted.
    """
    if not head:
        raise FileRefused(MediaRefusal.EMPTY)
    claimed, seen = plain_type(declared), _seen_type(head)
    shares_container = any(seen in family and claimed in family for family in _CONTAINERS)
    if shares_container or (seen == "text/plain" and claimed.startswith("text/") and claimed in accepted):
        seen = claimed
    if seen not in accepted:
        raise FileRefused(MediaRefusal.WRONG_TYPE, seen)
    return seen


def is_one_of(mime: str, wanted: Collection[str]) -> bool:
    """Whether content of the type ``mime`` may be of a wanted type.

    Formats that share a container, and texts, are not told apart by their content alone.
    """
    seen, types = plain_type(mime), frozenset(map(plain_type, wanted))
    if seen in types or any(seen in family and not types.isdisjoint(family) for family in _CONTAINERS):
        return True
    return seen.startswith("text/") and any(each.startswith("text/") for each in types)


def plain_type(mime: str | None) -> str:
    """A declared type in lower case, without parameters, in its registered spelling; empty where none is declared."""
    text = (mime or "").partition(";")[0].strip().lower()
    return _SAME.get(text, text)


def _seen_type(head: bytes) -> str:
    import filetype  # noqa: PLC0415 -- most processes see no file

    if head.startswith(_OLE_SIGNATURE):
        return "application/x-ole-storage" if filetype.guess_mime(head) is None else _WORD
    seen = plain_type(filetype.guess_mime(head))
    if seen == _PROGRAM and _is_text(head):  # a text whose first letters are MZ
        seen = ""
    if seen and not (head.startswith(b"PK") and _holds_program(head)):
        return seen
    if seen:
        return _UNKNOWN
    if head[:1024].lstrip(_BEFORE_PDF).startswith(b"%PDF-"):
        return "application/pdf"
    if not _is_text(head):
        return _UNKNOWN
    return "text/html" if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_ACTIVE_TEXT) else "text/plain"


def _holds_program(head: bytes) -> bool:
    """Whether the first parts of a ZIP archive are those of a program, whatever document it is said to be."""
    names = [name.lower() for name in islice(_part_names(head), _MOST_PARTS)]
    return any(name in _PROGRAM_PARTS or ("/" not in name and name.endswith(_PROGRAM_ENDINGS)) for name in names)


def _part_names(head: bytes) -> Iterator[str]:
    """The names of the parts whose local headers stand in ``head``."""
    at = head.find(b"PK\x03\x04")
    while at >= 0 and len(head) >= at + _LOCAL_HEADER.size:
        _, length, _ = _LOCAL_HEADER.unpack_from(head, at)
        begin = at + _LOCAL_HEADER.size
        yield head[begin : begin + length].decode("utf-8", "replace")
        at = head.find(b"PK\x03\x04", begin)


def _is_text(head: bytes) -> bool:
    """No control characters but those of texts; in any encoding that people's programs still write."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16
        return len(head) % 2 == 0 or len(head) >= HEAD_BYTES
    return not any(byte < 32 and byte not in (9, 10, 12, 13, 27) for byte in head)
