"""Promotional wording in utility templates: Meta moves such a template to MARKETING, which costs more and needs the
person's consent to marketing (docs/whatsapp.md). The phrases of each language are data: ``promotional_phrases.yaml``.
"""

import re
from functools import lru_cache
from pathlib import Path

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import TemplateText
from services.rules.rulebook.yaml_tree import MappingNode, ScalarNode, SequenceNode, parse

_PHRASES = Path(__file__).with_name("promotional_phrases.yaml")
_EVERYWHERE = "any"  # the key of signs and words that are the same in every language


def find_promotion(text: TemplateText, language: str) -> str | None:
    """The first promotional phrase in the body or on a button, as it stands there; None where there is none.

    ``language`` is a code like ``fr`` or ``pt_BR``. A language without phrases is checked for what is the same in all.
    """
    pattern = _pattern(language.replace("-", "_").partition("_")[0].lower())
    found = next(filter(None, map(pattern.search, (text.body, *text.buttons.values()))), None)
    return found[0] if found else None


def promotion_fault(phrase: str) -> str:
    return (
        f"“{phrase}” promotes, and this is a utility template: Meta would move it to marketing; say it otherwise, or"
        " say “category: marketing”"
    )


@lru_cache
def _pattern(language: str) -> re.Pattern[str]:
    """Phrases stand as whole words; a star is any ending, a space any white space."""
    by_language: dict[str, list[str]] = _read_phrases()
    phrases = [*by_language[_EVERYWHERE], *by_language.get(language, ())]
    return re.compile("|".join(map(_as_pattern, phrases)), re.IGNORECASE)


def _as_pattern(phrase: str) -> str:
    written = re.escape(phrase).replace(r"\*", r"\w*").replace(r"\ ", r"\s+").replace(r"\#", r"\d+")
    return rf"(?<!\w){written}(?!\w)"


@lru_cache
def _read_phrases() -> dict[str, list[str]]:
    """By language. Read as the rule files are, since a check has that reader loaded already."""
    tree = parse(_PHRASES.name, _PHRASES.read_text("utf-8"), FaultReport())
    languages = tree.nodes["phrases"] if isinstance(tree, MappingNode) else None
    if not isinstance(languages, MappingNode):
        raise TypeError(f"{_PHRASES.name} has no “phrases” by language")
    return {
        language: [phrase.text for phrase in phrases.nodes if isinstance(phrase, ScalarNode)]
        for language, phrases in languages.nodes.items()
        if isinstance(phrases, SequenceNode)
    }
