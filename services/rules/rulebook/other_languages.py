"""Words of rule files as authors write them in their own language, from ``other_languages.yaml``: keys and units."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.yaml_tree import MappingNode, ScalarNode, SequenceNode, parse

_WORDS = Path(__file__).with_name("other_languages.yaml")


def keys_in_other_languages() -> Mapping[str, tuple[str, ...]]:
    """The words for each key."""
    return _words()["keys"]


def unit_in_another_language(word: str) -> str | None:
    """The unit of time in English, in the singular; ``word`` has no “s” at its end."""
    return next((unit for unit, words in _words()["units"].items() if word in words), None)


@cache
def _words() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    tree = parse(_WORDS.name, _WORDS.read_text("utf-8"), FaultReport())
    if not isinstance(tree, MappingNode):
        raise TypeError(f"{_WORDS.name} has keys")
    return {
        part: {name: _texts(words) for name, words in table.nodes.items()}
        for part, table in tree.nodes.items()
        if isinstance(table, MappingNode)
    }


def _texts(node: object) -> tuple[str, ...]:
    items = node.nodes if isinstance(node, SequenceNode) else ()
    return tuple(each.text for each in items if isinstance(each, ScalarNode))
