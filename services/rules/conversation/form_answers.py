"""Judges what a person sends to a form: the value that a text stands for, and whether a file is accepted.

A refusal names the text that tells the person what would be accepted. Sending it is the part of ``forms.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import assert_never

from services.rules.conversation.absence_text import Leave, UnclearLeave, read_absence
from services.rules.conversation.fact_values import FileReport
from services.rules.conversation.form_values import NO_PLACE, Place, read_value
from services.rules.rulebook.model import FieldKind, FieldText, Form, FormField
from shared.clients.file_types import is_one_of
from shared.contracts.intents import has_words, is_unmistakable_code, normalize_words
from shared.contracts.whatsapp import Media, MediaRefusal

CONTENT_TYPES: Mapping[str, frozenset[str]] = {
    "pdf": frozenset({"application/pdf", "application/x-pdf"}),
    "doc": frozenset({"application/msword"}),
    "docx": frozenset({"application/vnd.openxmlformats-officedocument.wordprocessingml.document"}),
    "odt": frozenset({"application/vnd.oasis.opendocument.text"}),
    "rtf": frozenset({"application/rtf", "application/x-rtf", "text/rtf", "text/richtext"}),
    "txt": frozenset({"text/plain"}),
    "md": frozenset({"text/markdown", "text/x-markdown"}),
    "html": frozenset({"text/html"}),
    "epub": frozenset({"application/epub+zip"}),
    "xls": frozenset({"application/vnd.ms-excel"}),
    "xlsx": frozenset({"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}),
    "csv": frozenset({"text/csv"}),
    "ppt": frozenset({"application/vnd.ms-powerpoint"}),
    "pptx": frozenset({"application/vnd.openxmlformats-officedocument.presentationml.presentation"}),
    "jpg": frozenset({"image/jpeg", "image/jpg"}),
    "jpeg": frozenset({"image/jpeg", "image/jpg"}),
    "png": frozenset({"image/png"}),
    "tif": frozenset({"image/tiff"}),
    "tiff": frozenset({"image/tiff"}),
    "mp3": frozenset({"audio/mpeg", "audio/mp3"}),
    "mp4": frozenset({"video/mp4"}),
    "zip": frozenset({"application/zip", "application/x-zip-compressed"}),
}
"""Extension → the content types of such a file: https://www.iana.org/assignments/media-types"""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """``say`` is the built-in template that tells the person what would be accepted."""

    say: str
    words: Mapping[str, str] = field(default_factory=dict)


ASK_AGAIN = Refusal("")
"""The question itself says what is accepted."""


def read_answer(asked: FormField, text: str, words: FieldText | None, place: Place = NO_PLACE) -> str | None:
    """The value that a text stands for; None where it does not fit the field, or consists of emoji only.

    Options are answered by title, number or name; a typed value is read as people of ``place`` write it.
    """
    if not has_words(text) or length_refusal(asked, text) is not None:
        return None
    if not asked.choose:
        return None if asked.document else read_value(asked.kind, text, place)
    titles = words.options if words else {}
    texts = {name: titles.get(name, name).casefold() for name in asked.choose}
    by_number = {str(n): name for n, name in enumerate(asked.choose, start=1)}
    matches = (n for n in asked.choose if text == n or text.casefold() == texts[n])
    return by_number.get(text.rstrip(".")) or next(matches, None)


_QUOTES = ('""', "“”", "„“", "””", "«»", "»«", "‹›", "››", "‘’", "''", "「」", "『』")
_LONGEST_TITLE = 3
"""In words: “Out of office” may be a title, and machines write more."""


def unquoted(text: str) -> str | None:
    """The text within quotation marks, by which a person says that it is the answer; None for a text without them."""
    text = text.strip()
    inner = text[1:-1].strip()
    return inner if f"{text[:1]}{text[-1:]}" in _QUOTES and inner else None


def takes_any_text(asked: FormField) -> bool:
    """Whether what a machine wrote would fit, too."""
    return asked.kind is FieldKind.TEXT and not asked.choose and not asked.document


def reads_as_machine_text(text: str, today: date) -> bool:
    """Whether a machine sends such texts: a login code, or a notice of an absence."""
    if is_unmistakable_code(text):
        return True
    absence = read_absence(text, today, dict)
    is_long = len(normalize_words(text)) > _LONGEST_TITLE
    return isinstance(absence, Leave) or (absence is UnclearLeave.UNTIL_WHEN and is_long)


def length_refusal(asked: FormField, text: str) -> Refusal | None:
    if asked.longest is None or len(text) <= asked.longest:
        return None
    return Refusal("form_too_long", {"length": str(len(text)), "most": str(asked.longest)})


def file_field(form: Form) -> FormField | None:
    """The field for files, if any; validation allows one at most."""
    return next((each for each in form.fields if each.document), None)


def file_refusal(form: Form, media: Media, report: FileReport | None = None) -> Refusal | None:
    """Why the form cannot accept this file, or None: it has no field for files, or not for this kind or size.

    ``report`` is what ingest said of the file, where it has been fetched already.
    """
    asked = file_field(form)
    if asked is None:
        return Refusal("form_no_file")
    if not _is_one_of(asked.document, media):
        return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)})
    return _size_refusal(asked, media.size) if report is None else fetched_file_refusal(form, asked, report)


def _size_refusal(asked: FormField, size: int | None) -> Refusal | None:
    if asked.max_mb is None or size is None or size <= asked.max_mb * _MEGABYTE:
        return None
    return Refusal("form_large_file", {"most": str(asked.max_mb)})


def fetched_file_refusal(form: Form, asked: FormField, report: FileReport) -> Refusal | None:
    """Why a file that was fetched is not taken: it is not kept, of another kind, or larger than the field allows."""
    match report.refusal:
        case None if not _has_content_of(asked, report.mime):
            return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)})
        case None:
            return _size_refusal(asked, report.size)
        case MediaRefusal.TOO_LARGE:
            kept = None if report.most_bytes is None else report.most_bytes // _MEGABYTE
            limits = [most for most in (asked.max_mb, kept) if most is not None]
            return Refusal("form_large_file", {"most": str(min(limits))}) if limits else ASK_AGAIN
        case MediaRefusal.WRONG_TYPE:
            return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)})
        case MediaRefusal.INFECTED:
            return Refusal("form_unsafe_file")
        case MediaRefusal.EMPTY | MediaRefusal.HASH_MISMATCH | MediaRefusal.EXPIRED:
            return Refusal("form_broken_file")
    assert_never(report.refusal)


def accepted_kinds(form: Form) -> str:
    asked = file_field(form)
    return ", ".join(kind.upper() for kind in asked.document) if asked else ""


def _is_one_of(kinds: tuple[str, ...], media: Media) -> bool:
    """Judges by name or by content type, because many devices send names without an extension."""
    _, dot, extension = (media.filename or "").strip().lower().rpartition(".")
    content = (media.mime or "").partition(";")[0].strip().lower()
    return (bool(dot) and extension in kinds) or any(content in CONTENT_TYPES.get(kind, frozenset()) for kind in kinds)


def _has_content_of(asked: FormField, mime: str | None) -> bool:
    """Whether the content is of a kind that the field takes: a file may have another content than its name says.

    Not judged where the type is not known, or a kind whose types are not.
    """
    if mime is None or any(kind not in CONTENT_TYPES for kind in asked.document):
        return True
    return is_one_of(mime, {each for kind in asked.document for each in CONTENT_TYPES[kind]})
