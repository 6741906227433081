"""Template parameters and texts, cleaned to Meta's rules; what cannot be cleaned is refused here, not sent to fail.

Meta: a parameter has no new line, no tab and no run of more than four spaces, and is not empty; a rendered template
body has 1,024 characters, so no parameter (nor all together) may have more.
"""

import re
import unicodedata
from collections.abc import Mapping

from services.dispatcher.states import Reason
from shared.contracts.errors import Unprocessable

TEMPLATE_BODY = 1024

# Zero-width spaces and marks, bidirectional controls, soft hyphens: unseen, and refused or abused. The zero-width
# joiners (U+200C, U+200D) stay: emoji and several scripts are spelt with them.
_UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WHITESPACE = re.compile(r"\s+")


class Unsendable(Unprocessable):
    """This wording can never be sent; ``why`` is the reason it is dropped with."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why, reason=why)
        self.why = why


def clean_parameter(value: str) -> str:
    """One line of visible text. Raises Unsendable."""
    if value.isascii() and value.isprintable() and "  " not in value and value == value.strip() != "":
        return _short(value, TEMPLATE_BODY)
    cleaned = _WHITESPACE.sub(" ", _UNSEEN.sub("", _CONTROLS.sub(" ", value))).strip()
    return _checked(cleaned, TEMPLATE_BODY)


def clean_parameters(values: Mapping[str, str]) -> dict[str, str]:
    cleaned = {name: clean_parameter(value) for name, value in values.items()}
    if sum(map(len, cleaned.values())) > TEMPLATE_BODY:
        raise Unsendable(Reason.TEXT_TOO_LONG)
    return cleaned


def clean_text(body: str, longest: int) -> str:
    """Free text keeps its lines. Raises Unsendable."""
    return _checked(_UNSEEN.sub("", _CONTROLS.sub("", body)).strip(), longest)


def _checked(text: str, longest: int) -> str:
    if not any(_is_visible(character) for character in text):
        raise Unsendable(Reason.EMPTY_TEXT)
    return _short(text, longest)


def _short(text: str, longest: int) -> str:
    if len(text) > longest:
        raise Unsendable(Reason.TEXT_TOO_LONG)
    return text


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) not in {"Cf", "Cc", "Zs", "Zl", "Zp"}
