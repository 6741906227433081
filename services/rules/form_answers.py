"""What a form takes for an answer, and the sentence that says what would do where it takes none."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.rules.rulebook import FieldWording, Form, FormField
from shared.contracts.intents import has_words
from shared.contracts.whatsapp import Media

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
"""Extension → what senders and WhatsApp call such a file: https://www.iana.org/assignments/media-types"""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """``say`` is the house template that tells the person what would do."""

    say: str
    words: Mapping[str, str] = field(default_factory=dict)


AGAIN = Refusal("")
"""The question itself says what would do."""


def read_answer(asked: FormField, said: str, words: FieldWording | None) -> str | None:
    """The value a text stands for; None where it does not fit the field, as emoji alone never do.

    Options answer by button, number or name.
    """
    if not has_words(said) or too_long(asked, said) is not None:
        return None
    if not asked.choose:
        return None if asked.document else said
    titles = words.options if words else {}
    spoken = {name: titles.get(name, name).casefold() for name in asked.choose}
    by_number = {str(n): name for n, name in enumerate(asked.choose, start=1)}
    matches = (n for n in asked.choose if said == n or said.casefold() == spoken[n])
    return by_number.get(said.rstrip(".")) or next(matches, None)


def too_long(asked: FormField, said: str) -> Refusal | None:
    if asked.longest is None or len(said) <= asked.longest:
        return None
    return Refusal("form_too_long", {"length": str(len(said)), "most": str(asked.longest)})


def file_field(form: Form) -> FormField | None:
    """A form has one field for files at most; the checker sees to it."""
    return next((each for each in form.fields if each.document), None)


def refused_file(form: Form, media: Media) -> Refusal | None:
    """Why the form cannot take this file: it takes none, or none of this kind or size."""
    asked = file_field(form)
    if asked is None:
        return Refusal("form_no_file")
    if not _is_one_of(asked.document, media):
        return Refusal("form_wrong_file", {"kinds": kinds_of(form)})
    if asked.max_mb is not None and media.size is not None and media.size > asked.max_mb * _MEGABYTE:
        return Refusal("form_large_file", {"most": str(asked.max_mb)})
    return None


def kinds_of(form: Form) -> str:
    asked = file_field(form)
    return ", ".join(kind.upper() for kind in asked.document) if asked else ""


def _is_one_of(kinds: tuple[str, ...], media: Media) -> bool:
    """By its name or by its content type: many devices send a name without extension."""
    _, dot, extension = (media.filename or "").strip().lower().rpartition(".")
    content = (media.mime or "").partition(";")[0].strip().lower()
    return (bool(dot) and extension in kinds) or any(content in CONTENT_TYPES.get(kind, frozenset()) for kind in kinds)
