"""Reads ``*.test.yaml`` files: each is a list of stories."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from services.rules.language.known_words import country, language, zone
from services.rules.language.spans import span
from services.rules.language.values import SANE_YEARS, Part, flag, listed, mapped, number, text, texts, word
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.loader import STORIES, stem
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode, parse
from services.rules.story.expectations import expect
from services.rules.story.model import (
    Character,
    Failed,
    Happened,
    KnownFacts,
    Move,
    Reply,
    Story,
    Wait,
    WaitUntil,
    WasRead,
    Written,
)
from services.rules.story.plain import contact, plain_entries
from shared.contracts import consonance
from shared.contracts.ids import ContactId
from shared.contracts.writes import WriteOperation, WriteOutcome

_STORY_KEYS = ("it", "start", "people", "play")
_PERSON_KEYS = (
    "roles", "name", "country", "language", "zone", "team", "stands_in_for", "opted_out", "reachable", "visitor",
)  # fmt: skip
_REPLY_WAYS = ("button", "text", "document", "reaction")
_REPLY_KEYS = ("from", *_REPLY_WAYS, "mime", "mb", "to", "line")
_EVENTS = tuple(sorted(map(consonance.short_name, consonance.KINDS)))
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def read_stories(files: Mapping[str, str]) -> tuple[tuple[Story, ...], list[FileFault]]:
    report = FaultReport()
    found: list[Story] = []
    for file in sorted(files):
        if file.endswith(STORIES) and (tree := parse(file, files[file], report)) is not None:
            found += _file(stem(file), tree, report)
    return tuple(found), report.sorted()


def _file(about: str, tree: Node, report: FaultReport) -> list[Story]:
    if not isinstance(tree, SequenceNode):
        report.add(tree.location, "a test file is a list of stories, each beginning “- it: …”")
        return []
    return [_story(about, node, report) for node in tree.nodes]


def _story(about: str, node: Node, report: FaultReport) -> Story:
    part = Part(node, "a story", _STORY_KEYS, report)
    people = mapped(part.need("people"), report, "“people”")
    moves = (_move(each, report) for each in listed(part.need("play")))
    return Story(
        it=text(part.need("it"), report),
        about=about,
        start=_instant(part.need("start"), report),
        people=tuple(_character(key, each, report) for key, each in people.items()),
        play=tuple(move for move in moves if move is not None),
        place=part.location,
    )


def _instant(node: Node | None, report: FaultReport) -> datetime:
    if node is None:
        return _NEVER
    if isinstance(node, ScalarNode) and isinstance(node.value, datetime) and node.value.tzinfo is not None:
        if node.value.year in SANE_YEARS:
            return node.value
        report.add(node.location, f"this instant lies outside of {SANE_YEARS[0]} to {SANE_YEARS[-1]}")
        return _NEVER
    report.add(node.location, "an instant with its zone belongs here, like 2027-03-03T10:00:00Z")
    return _NEVER


def _character(key: str, node: Node, report: FaultReport) -> Character:
    part = Part(node, "a person", _PERSON_KEYS, report)
    reachable = part.get("reachable")
    absent = part.get("stands_in_for")
    return Character(
        contact=contact(key, part.location, report),
        place=part.location,
        roles=texts(part.get("roles"), report),
        name=_maybe(part, "name", report),
        country=country(part.get("country"), report) or None,
        language=language(part.get("language"), report) or None,
        zone=zone(part.get("zone"), report) if "zone" in part else None,
        team=_maybe(part, "team", report),
        stands_in_for=contact(text(absent, report), absent.location, report) if absent else None,
        opted_out=flag(part.get("opted_out"), report),
        reachable=flag(reachable, report) if reachable else True,
        visitor=flag(part.get("visitor"), report),
    )


def _maybe(part: Part, key: str, report: FaultReport) -> str | None:
    return text(part.get(key), report) or None


def _move(node: Node, report: FaultReport) -> Move | None:
    """A move is known by its first key."""
    if not isinstance(node, MappingNode):
        report.add(node.location, f"a move is one of {', '.join(_MOVES)}")
        return None
    for key, read in _MOVES.items():
        if key in node.nodes:
            return read(node, report)
    first = next(iter(node.nodes), "")
    report.unknown(node.location, f"“{first}” is no move; there are {', '.join(_MOVES)}", first, _MOVES)
    return None


def _happened(node: Node, report: FaultReport) -> Move:
    part = Part(node, "an event", ("event", "with"), report)
    event = text(part.get("event"), report)
    if event not in _EVENTS:
        report.unknown(part.where("event"), f"“{event}” is no event of Consonance", event, _EVENTS)
    return Happened(part.location, event, plain_entries(part.get("with"), report))


def _facts(node: Node, report: FaultReport) -> Move:
    part = Part(node, "“facts”", ("facts",), report)
    return KnownFacts(part.location, plain_entries(part.get("facts"), report))


def _reply(node: Node, report: FaultReport) -> Move:
    outer = Part(node, "a move", ("reply",), report)
    part = Part(outer.get("reply"), "a reply", _REPLY_KEYS, report)
    said = [key for key in _REPLY_WAYS if key in part]
    if len(said) != 1:
        report.add(part.location, "a reply is one of button, text, document or reaction")
    return Reply(
        place=part.location,
        sender=_who(part, "from", report),
        button=_maybe(part, "button", report),
        text=_maybe(part, "text", report),
        document=_maybe(part, "document", report),
        mime=_maybe(part, "mime", report),
        mb=number(part.get("mb"), report) if "mb" in part else None,
        reaction=_maybe(part, "reaction", report),
        to=_maybe(part, "to", report),
        line=_maybe(part, "line", report),
    )


def _who(part: Part, key: str, report: FaultReport) -> ContactId:
    node = part.need(key)
    return contact(text(node, report), node.location, report) if node else ContactId(0)


def _read(node: Node, report: FaultReport) -> Move:
    part = Part(node, "a move", ("read",), report)
    return WasRead(part.location, _who(part, "read", report))


def _failed(node: Node, report: FaultReport) -> Move:
    outer = Part(node, "a move", ("failed",), report)
    part = Part(outer.get("failed"), "“failed”", ("to", "code"), report)
    return Failed(part.location, _who(part, "to", report), number(part.need("code"), report, least=0))


def _written(node: Node, report: FaultReport) -> Move:
    outer = Part(node, "a move", ("written",), report)
    part = Part(outer.get("written"), "“written”", ("record", "as"), report)
    operation = word(part.need("record"), WriteOperation, report, WriteOperation.RECORD_DECISION)
    return Written(part.location, operation, word(part.need("as"), WriteOutcome, report, WriteOutcome.VERIFIED))


def _wait(node: Node, report: FaultReport) -> Move:
    part = Part(node, "a move", ("wait",), report)
    return Wait(part.location, span(part.get("wait"), report))


def _wait_until(node: Node, report: FaultReport) -> Move:
    part = Part(node, "a move", ("wait until",), report)
    return WaitUntil(part.location, _instant(part.get("wait until"), report))


_MOVES: Mapping[str, Callable[[Node, FaultReport], Move]] = {
    "event": _happened,
    "facts": _facts,
    "reply": _reply,
    "read": _read,
    "failed": _failed,
    "written": _written,
    "wait": _wait,
    "wait until": _wait_until,
    "expect": expect,
}
