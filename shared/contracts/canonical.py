"""The one spelling in which values are compared and hashed: by ingest when it reads, by writeback before it writes.

Consonance keeps texts as HTML and takes them as Markdown, so a text loses its tags and its spacing here; a title keeps
everything but its Unicode form and its spacing, which Consonance tidies too. Absent and empty are the same.
"""

import hashlib
import html
import re
import unicodedata

from shared.contracts.consonance import MetadataField

TEXTS = frozenset(
    {
        MetadataField.COVER_COPY,
        MetadataField.SECONDARY_COVER_COPY,
        MetadataField.SHORT_DESCRIPTION,
        MetadataField.BIO_NOTE,
    }
)
"""Fields that are marked up, and read by their words alone."""

_NEWLINES = re.compile("\r\n|[\r\x85\u2028\u2029]")
_BLANKS = re.compile(r"[^\S\n]+")
_TAG = re.compile(r"</?([a-z][a-z0-9]*)(?:\s[^<>]*|/)?>", re.IGNORECASE)
_AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0*38(?![0-9])|#[xX]0*26(?![0-9a-fA-F]));?)+")
_ZEROS = re.compile(r"&#([xX]?)0+(?=[0-9a-fA-F])")
_NO_CHARACTER = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{7,});?")
_MOST_LAYERS = 10
_BLOCK = re.compile(
    "address|article|blockquote|br|div|dl|dd|dt|h[1-6]|hr|li|ol|p|pre|section|table|tr|ul", re.IGNORECASE
)


def canonical(value: str | None) -> str:
    """Normalises a plain value: NFC, one kind of newline, single blanks, no blanks at its ends."""
    return unicodedata.normalize("NFC", _BLANKS.sub(" ", _NEWLINES.sub("\n", value or ""))).strip()


def canonical_text(value: str | None) -> str:
    """The words of a text with markup: one line per block, single blanks. Repeated until no markup is left.

    A text with more layers of markup than any author writes loses the signs ``<`` and ``&`` instead, so that the time
    stays bounded by its length.
    """
    text = canonical(value)
    for _ in range(_MOST_LAYERS):
        before, text = text, _without_markup(text)
        if text == before:
            return text
    return _without_markup(text.translate({ord(sign): None for sign in "<&"}))


def canonical_of(field: MetadataField, value: str | None) -> str:
    return canonical_text(value) if field in TEXTS else canonical(value)


def canonical_hash(field: MetadataField, value: str | None) -> str:
    """SHA-256 in hex of the canonical form: what ``baseline_hash`` and ``current_hash`` hold."""
    return hashlib.sha256(canonical_of(field, value).encode()).hexdigest()


def _without_markup(text: str) -> str:
    plain = _unescaped(_TAG.sub(_gap, _without_comments(text)))
    lines = (" ".join(line.split()) for line in canonical(plain).splitlines())
    return canonical("\n".join(line for line in lines if line))


def _without_comments(text: str) -> str:
    kept, rest = [], text
    while rest:
        before, opened, rest = rest.partition("<!--")
        kept.append(before)
        _, closed, after = rest.partition("-->")
        if opened and not closed:
            return "".join([*kept, opened, rest])
        rest = after
    return "".join(kept)


def _unescaped(text: str) -> str:
    """HTML's character references; ``html.unescape`` raises for numbers of thousands of digits."""
    short = _ZEROS.sub(r"&#\1", _AMPERSANDS.sub("&", text))
    return html.unescape(_NO_CHARACTER.sub("\ufffd", short))


def _gap(tag: re.Match[str]) -> str:
    return "\n" if _BLOCK.fullmatch(tag[1] or "") else ""
