"""The evidence of a record as PDF/A-2b (ISO 19005-2), for people: typeset by Typst, which refuses what is not PDF/A.

Fonts are Typst's own and those of the machine. A character that no font has is shown as its code point and name; the
JSON file has the text itself.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typst

from services.writeback.evidence_store import ChainEntry

_TEMPLATE = Path(__file__).with_name("evidence.typ")
_WITHOUT_GLYPH = re.compile(r"the text `?\"(?P<text>.+?)\"`? could not be displayed")
_ESCAPED = re.compile(r"\\u\{([0-9a-f]+)\}")
"""A character in an error of Typst that is not printable, or a mark."""

_BREAK_AFTER = re.compile(r"(\S{48})(?=\S)")
_LABELS: dict[str, str] = {
    "rendered": "Text of the question",
    "buttons": "Buttons",
    "request": "What is asked about",
    "parameters": "Parameters of the template",
    "text": "The reply as it came",
    "answer": "Taken for the answer",
    "button_id": "Signed button",
    "wamid": "WhatsApp's message id",
    "quoted_id": "The message it quotes",
    "name": "Person",
    "contact_id": "Contact in Consonance",
    "person_id": "Person id",
    "read_back": "Read back",
    "asked": "Asked of Consonance",
    "proof": "Proof",
    "state": "Delivery",
    "wording": "Sent as",
    "outcome": "Outcome",
}


def render_pdf(
    title: str, tenant: str, facts: Mapping[str, str], paragraphs: Sequence[str], chain: Sequence[ChainEntry]
) -> bytes:
    """Raises typst.TypstError for anything that keeps it from being PDF/A, but characters that no font has."""
    data = {
        "title": title,
        "tenant": tenant,
        "facts": [list(fact) for fact in facts.items()],
        "paragraphs": list(paragraphs),
        "entries": [_entry(each) for each in chain],
    }
    return _compile(data)


def _entry(each: ChainEntry) -> dict[str, Any]:
    header = each.header
    facts = [[_LABELS.get(name, name), str(value)] for name, value in header["public"].items()]
    if each.content is None:
        facts.append(["Content", f"cannot be read: {each.unreadable}"])
    else:
        content = {name: value for name, value in (each.document() or {}).items() if name != "entry"}
        facts += [[label, value] for label, value in _flat(content) if [label, value] not in facts]
    facts += [["Hash", each.entry.hash], ["Hash before it", header["previous"]]]
    title = f"{header['sequence']}. {header['kind']}, {header['at']}"
    return {"title": title, "facts": [[label, _BREAK_AFTER.sub(r"\1\n", value)] for label, value in facts]}


def _flat(value: Any, label: str = "") -> Iterator[tuple[str, str]]:
    """The values of a document with the path of each as its label."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{label} › {name}" if label else _LABELS.get(name, str(name)))
    elif isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        for number, inner in enumerate(value, 1):
            yield from _flat(inner, f"{label} {number}")
    elif value not in (None, [], {}):
        yield label, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _compile(data: dict[str, Any]) -> bytes:
    while True:
        try:
            text = json.dumps(data, ensure_ascii=False)
            made = typst.compile(_TEMPLATE.read_bytes(), sys_inputs={"data": text}, pdf_standards=["a-2b"])
        except typst.TypstError as error:
            missing = _WITHOUT_GLYPH.search(str(error))
            spelled = _spell_out(data, _ESCAPED.sub(_unescaped, missing["text"])) if missing else data
            if spelled == data:
                raise
            data = spelled
        else:
            assert isinstance(made, bytes)  # noqa: S101 -- one document, so one file
            return made


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def _spell_out(data: dict[str, Any], missing: str) -> dict[str, Any]:
    """``data`` with these characters spelled out; with a wide one all wide ones, which a font has or lacks together.

    Where that is nothing, as of a digit that a mark makes an emoji (a keycap), all marks that join; else all but ASCII.
    """
    is_wide = any(map(_is_wide, missing))
    for is_spelled in (lambda c: c in missing or (is_wide and _is_wide(c)), _joins, lambda _: True):
        spelled: dict[str, Any] = _with_spelled(data, is_spelled)
        if spelled != data:
            return spelled
    return data


def _with_spelled(value: Any, is_spelled: Callable[[str], bool]) -> Any:
    if isinstance(value, str):
        return "".join(_spelled(c) if not _is_plain(c) and is_spelled(c) else c for c in value)
    if isinstance(value, dict):
        return {name: _with_spelled(inner, is_spelled) for name, inner in value.items()}
    return [_with_spelled(inner, is_spelled) for inner in value]


def _is_plain(character: str) -> bool:
    return character == "\n" or (character.isascii() and character.isprintable())


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _joins(character: str) -> bool:
    """A mark or format character, which is drawn as one with the character before it."""
    return unicodedata.category(character) in {"Me", "Mn", "Cf"}


def _spelled(character: str) -> str:
    name = unicodedata.name(character, "")
    brief = "" if name.startswith("CJK UNIFIED") else f" {name}".rstrip()
    return f"[U+{ord(character):04X}{brief}]"
