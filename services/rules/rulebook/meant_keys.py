"""Keys that are meant: misspelt, by another word, or in another column than their author wants them read.

Each ``with_…`` reports such keys of a mapping once, and gives the mapping as it was meant.
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from services.rules.rulebook.faults import A_LANGUAGE, FaultReport
from services.rules.rulebook.yaml_nodes import ABSENT, Faulty, MappingNode, Node, ScalarNode

# ------------------------------------------------------------------ by another word

NEARLY_A_KEY = 0.65
"""How similar a key must be to the one that is meant."""
_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "say": ("message", "send", "template", "text", "msg", "words"),
    "tell": ("notify", "inform", "to", "recipient", "recipients", "send_to", "send"),
    "hand_over": ("escalate", "assign", "forward", "delegate"),
    "give_up": ("stop", "close", "finish"),
    "after": ("wait", "delay", "later"),
    "at": ("before", "due", "when"),
    "on": ("when", "event", "events", "trigger", "starts_with"),
    "if": ("where", "condition", "conditions", "when", "filter"),
    "unless": ("skip", "except", "not_if"),
    "until": ("stop", "end", "ends", "stop_when"),
    "rule": ("name", "title", "id"),
    "template": ("name", "title", "id"),
    "form": ("name", "title", "id"),
    "it": ("name", "title", "story", "test", "should"),
    "owner": ("team", "responsible"),
    "why": ("reason", "because", "description", "explanation"),
    "severity": ("priority", "urgency", "importance"),
    "body": ("text", "message", "content"),
    "buttons": ("choices", "options", "answers"),
    "languages": ("texts", "translations"),
    "fields": ("parameters", "variables", "placeholders", "questions"),
    "choose": ("options", "choices", "choice", "one_of"),
    "document": ("file", "files", "upload"),
    "required": ("mandatory", "obligatory", "compulsory"),
    "max": ("length", "limit", "max_length"),
    "who": ("by", "with", "deputy", "cover", "substitute"),
    "for": ("absent", "instead_of"),
    "to": ("until", "till", "end"),
    "from": ("since", "start", "who", "by", "sender"),
    "as": ("roles", "role"),
    "count": ("max", "number", "limit", "at_most"),
    "per": ("every", "within", "in"),
    "record": ("write", "save", "operation"),
    "about": ("subject", "matter"),
    "with": ("values", "data", "using"),
    "within": ("per", "in", "every"),
    "at_most": ("max", "count", "limit"),
    "closed": ("holidays", "closures", "closings"),
    "people": ("persons", "cast", "characters"),
    "play": ("given", "steps", "then", "when", "script"),
    "done": ("finish", "end", "thanks", "goodbye"),
    "welcome": ("begin", "intro", "hello"),
    "confirm": ("summary", "check"),
    "line": ("number", "phone"),
    "stands_in": ("absences", "absence", "leave", "leaves", "holidays", "away", "deputies", "cover", "substitutes"),
}
"""Words that authors write for a key, by the key that is meant. A key is meant only where it is not written."""


_COMMENTS = ("description", "comment", "comments", "note", "notes", "remark", "todo")
_TURNED_OFF = ("enabled", "enable", "disabled", "active", "inactive", "draft", "paused")
_TRIALS = ("shadow", "canary", "rollout", "trial", "percentage", "dry_run")
_ZONES = ("timezone", "time_zone", "zone", "tz")
_QUIET = ("quiet_hours", "night", "do_not_disturb", "working_hours", "office_hours")
_NO_KEYS: Mapping[str, str] = {
    **dict.fromkeys(_COMMENTS, "what is for readers alone stands behind “#”"),
    **dict.fromkeys(_TURNED_OFF, "a rule is turned off by taking its file out of the folder"),
    **dict.fromkeys(_TRIALS, "a trial is begun by “stet rules rollout”, and stands in no file"),
    **dict.fromkeys(_ZONES, "the zone of the house stands in calendar.yaml, those of people in Consonance"),
    **dict.fromkeys(_QUIET, "every message waits for its receiver's working hours; calendar.yaml has the house's"),
    "footer": "what is said stands in “body”",
}
"""Why there is no such key in any file, by the words that authors write."""


_COMMENT_SIGNS = ("//", "/*", "<!--", "--", ";")
"""Signs that begin a comment elsewhere."""


_PLACES_OF_KEYS: Mapping[str, tuple[str, ...]] = {
    "limits.yaml": ("digest", "per_person", "brake", "taken_for", "send_within"),
    "house.yaml": ("basis", "words", "links", "publisher", "countries", "all_lines"),
    "people.yaml": ("teams", "imprints", "milestones", "stands_in", "inbox"),
    "calendar.yaml": ("closed", "fairs"),
    "a template": ("category", "version", "header", "fallback", "example"),
    "a field of a form": ("max_mb", "choose", "required"),
    "the rule": ("severity", "restarts", "on_repeat", "on_change", "owner", "why"),
}
"""The places of keys that authors also write where they do not belong."""


def place_of_key(written: str, label: str) -> str | None:
    """The place where a key that is unknown at ``label`` belongs; None where it is known at no other place."""
    place = next((each for each, keys in _PLACES_OF_KEYS.items() if written in keys), None)
    if (place, label) == ("a template", "a language"):
        return "the template; begin it in the column of “languages”"
    return None if place == label or (place, label) == ("the rule", "a rule") else place


def reason_for_no_key(written: str) -> str:
    """The words that stand in place of such a key; empty where none are known."""
    if written.startswith(_COMMENT_SIGNS):
        return "a comment begins with “#”"
    return _NO_KEYS.get(written.strip().casefold().replace("-", "_").replace(" ", "_"), "")


def meant_key(written: str, missing: Iterable[str]) -> str | None:
    """Of the keys that are not written, the one that was meant by another word or misspelt."""
    known = list(missing)
    word = written.strip().casefold().replace("-", "_").replace(" ", "_")
    if word in known:
        return word
    for words in (_OTHER_WORDS, keys_in_other_languages()):
        if (other := next((key for key in known if word in words.get(key, ())), None)) is not None:
            return other
    close = get_close_matches(written, known, 1, NEARLY_A_KEY)
    return close[0] if close else None


def nearest_key(written: str, needed: Iterable[str], missing: Iterable[str]) -> str | None:
    """The most similar missing key; a required one comes first, also where an optional one is a little more similar."""
    close = get_close_matches(written, list(needed), 1, NEARLY_A_KEY)
    return close[0] if close else meant_key(written, missing)


# ------------------------------------------------------------------ in another column


def with_entries_aside(
    node: MappingNode, above: str, known: Iterable[str], report: FaultReport, is_entry: Callable[[str, Node], bool]
) -> MappingNode:
    """Reports keys in the column of ``above`` that are entries of its mapping, and takes them for such."""
    entries, keys = node.nodes.get(above), frozenset(known)
    if isinstance(entries, ScalarNode) and entries.value is None:
        entries = MappingNode(entries.location, {}, ())
    if not isinstance(entries, MappingNode) or entries.in_braces:
        return node
    aside = [
        key
        for key, each in node.nodes.items()
        if key not in keys and is_entry(key, each) and not get_close_matches(key, keys, 1, NEARLY_A_KEY)
    ]
    if not aside:
        return node
    sentence = f"“{aside[0]}” belongs to “{above}”; indent it further than that"
    report.add(node.keys[aside[0]], sentence, misplaced=aside[0])
    nodes = {key: each for key, each in node.nodes.items() if key not in aside}
    own = {**entries.nodes, **{key: node.nodes[key] for key in aside}}
    places = (*entries.places, *(node.keys[key] for key in aside))
    nodes[above] = MappingNode(entries.location, own, places, entries.in_braces)
    return MappingNode(node.location, nodes, tuple(node.keys[key] for key in nodes), node.in_braces)


def with_keys_back(node: MappingNode, above: str, lacking: Collection[str], report: FaultReport) -> MappingNode:
    """Reports the last keys of the mapping of ``above`` that are ``lacking`` beside it, and takes them out of it."""
    inner = node.nodes.get(above)
    if not isinstance(inner, MappingNode) or inner.in_braces or not lacking:
        return node
    keys = list(inner.nodes)
    back = list(takewhile(lambda key: key in lacking, reversed(keys)))[::-1]
    if not back:
        return node
    report.add(inner.keys[back[0]], f"“{back[0]}” is indented too far; begin it in the column of “{above}”")
    own = {key: each for key, each in inner.nodes.items() if key not in back}
    left = MappingNode(inner.location, own, inner.places[: len(own)])
    nodes = {**node.nodes, above: left, **{key: inner.nodes[key] for key in back}}
    return MappingNode(node.location, nodes, (*node.places, *inner.places[len(own) :]), node.in_braces)


def with_swallowed_keys(node: MappingNode, lacking: Collection[str], report: FaultReport) -> MappingNode:
    """Reports keys that are ``lacking`` where nothing else stands below a key without a value, and takes them out."""
    for above, inner in node.nodes.items():
        is_swallowed = isinstance(inner, MappingNode) and not inner.in_braces and inner.nodes.keys() <= {*lacking}
        if isinstance(inner, MappingNode) and is_swallowed and inner.nodes:
            first = next(iter(inner.nodes))
            sentence = f"“{first}” is indented too far; begin it in the column of “{above}”, which needs a value"
            report.add(inner.keys[first], sentence)
            nodes = {**node.nodes, above: ScalarNode(inner.location, "", Faulty("")), **inner.nodes}
            return MappingNode(node.location, nodes, (*node.places, *inner.places), node.in_braces)
    return node


def with_keys_under(node: MappingNode, key: str, missing: str, aside: Collection[str]) -> MappingNode:
    """Takes keys out of the mapping of ``key``, and puts them under the key that is ``missing``."""
    above = node.nodes[key]
    if not isinstance(above, MappingNode):
        return node
    split = with_keys_under_line(above, missing, aside)
    own = {name: each for name, each in split.nodes.items() if name != missing}
    left = MappingNode(above.location, own, tuple(split.keys[name] for name in own), above.in_braces)
    nodes = {**node.nodes, key: left, missing: split.nodes[missing]}
    places = {**node.keys, missing: split.keys[missing]}
    return MappingNode(node.location, nodes, tuple(places.values()), node.in_braces)


def with_keys_under_line(node: MappingNode, missing: str, aside: Collection[str]) -> MappingNode:
    """Puts these keys under the key that is ``missing``, or has no value."""
    moved = MappingNode(
        node.keys[next(iter(aside))],
        {key: node.nodes[key] for key in node.nodes if key in aside},
        tuple(place for key, place in node.keys.items() if key in aside),
    )
    left = {key: each for key, each in node.nodes.items() if key not in aside and key != missing}
    places = (*(node.keys[key] for key in left), moved.location)
    return MappingNode(node.location, {**left, missing: moved}, places, node.in_braces)


def with_keys_aside(node: Any, report: FaultReport, is_aside: Callable[[str, Node], bool]) -> Any:
    """Reports keys that stand in the column of the languages, and takes them for keys of the language above."""
    if not isinstance(node, MappingNode) or not any(is_aside(key, each) for key, each in node.nodes.items()):
        return node
    nodes: dict[str, Node] = {}
    is_reported = False
    for (key, each), place in zip(node.nodes.items(), node.places, strict=True):
        above = next(reversed(nodes), None)
        if not is_aside(key, each):
            nodes[key] = each
            continue
        if above is None:
            report.add(place, f"a language is missing above “{key}”, like “en:”", needs=(A_LANGUAGE,))
            return ABSENT
        if not is_reported:
            report.add(place, f"“{key}” belongs to “{above}”; indent it further than that")
        is_reported, language = True, nodes[above]
        known = language if isinstance(language, MappingNode) else MappingNode(language.location, {}, ())
        if key not in known.nodes:
            nodes[above] = MappingNode(known.location, {**known.nodes, key: each}, (*known.places, place))
    return MappingNode(node.location, nodes, tuple(node.keys[key] for key in nodes), node.in_braces)


# ------------------------------------------------------------------ in another language

_WORDS = Path(__file__).with_name("other_languages.toml")
"""Words of rule files as authors write them in their own language: keys and units."""


def keys_in_other_languages() -> Mapping[str, list[str]]:
    """The words for each key."""
    return _words()["keys"]


def unit_in_another_language(word: str) -> str | None:
    """The unit of time in English, in the singular; ``word`` has no “s” at its end."""
    return next((unit for unit, words in _words()["units"].items() if word in words), None)


@cache
def _words() -> Mapping[str, Mapping[str, list[str]]]:
    return tomllib.loads(_WORDS.read_text("utf-8"))
