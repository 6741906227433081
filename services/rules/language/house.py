"""``house.yaml`` and ``limits.yaml``: the publisher's own words and choices, and how far messages may go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from services.rules.language.known_words import by_language, check_country, language, language_keys
from services.rules.language.spans import span
from services.rules.language.values import Part, mapped, number, text, word
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import ContactBasis, Tenant, UnsolicitedLimit
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode
from shared.clients.working_calendar import Duration, TimeUnit
from shared.contracts.consonance import BlockSeverity

_HOUSE_KEYS = ("publisher", "language", "countries", "line", "links", "basis", "words")
_LIMIT_KEYS = ("per_person", "free", "pass", "digest", "taken_for", "send_within", "brake")
_LIMITS_LATER = ("per_person", "digest")
_TAKEN_FOR = Duration(5, TimeUnit.WORKING_DAYS)
_SEND_WITHIN = Duration(2, TimeUnit.WORKING_DAYS)


@dataclass(frozen=True, slots=True)
class Limits:
    """``staff_pass``: from this severity on, messages to staff pass quiet hours."""

    staff_pass: BlockSeverity | None = None
    taken_for: Duration = _TAKEN_FOR
    send_within: Duration = _SEND_WITHIN
    brake: UnsolicitedLimit = field(default_factory=UnsolicitedLimit)


def house(node: Node | None, limits: Limits, report: FaultReport) -> Tenant:
    part = Part(node, "house.yaml", _HOUSE_KEYS, report)
    basis = mapped(part.get("basis"), report, "“basis”")
    words = language_keys(part.get("words"), report, "“words”")
    return Tenant(
        publisher=by_language(part.need("publisher"), report, "“publisher”"),
        language=language(part.need("language"), report),
        languages=_languages(part.get("countries"), report),
        default_line=text(part.need("line"), report),
        links=_texts(part.get("links"), report, "“links”"),
        basis={role: word(each, ContactBasis, report, ContactBasis.OPT_IN) for role, each in basis.items()},
        words={code: _texts(each, report, "the words of a language") for code, each in words.items()},
        staff_pass=limits.staff_pass,
        taken_for=limits.taken_for,
        send_within=limits.send_within,
        unsolicited=limits.brake,
    )


def _languages(node: Node | None, report: FaultReport) -> Mapping[str, str]:
    """By country."""
    found = mapped(node, report, "“countries”")
    for code in found:
        if isinstance(node, MappingNode):
            check_country(code, node.keys[code], report)
    return {code: language(each, report) for code, each in found.items()}


def _texts(node: Node | None, report: FaultReport, what: str) -> Mapping[str, str]:
    return {name: text(each, report) for name, each in mapped(node, report, what).items()}


def limits(node: Node | None, report: FaultReport) -> Limits:
    part = Part(node, "limits.yaml", _LIMIT_KEYS, report)
    for key in _LIMITS_LATER:
        if key in part:
            report.add(part.where(key), f"“{key}” comes later; write limits.yaml without it for now")
    _only(part.get("free"), "free", "replies", report)
    standard = Limits()
    return Limits(
        staff_pass=_pass(part.get("pass"), report),
        taken_for=span(part.get("taken_for"), report) if "taken_for" in part else standard.taken_for,
        send_within=span(part.get("send_within"), report) if "send_within" in part else standard.send_within,
        brake=_brake(part.get("brake"), report),
    )


def _brake(node: Node | None, report: FaultReport) -> UnsolicitedLimit:
    standard = UnsolicitedLimit()
    if node is None:
        return standard
    part = Part(node, "“brake”", ("answers", "chains", "within"), report)
    return UnsolicitedLimit(
        answers=number(part.get("answers"), report) if "answers" in part else standard.answers,
        chains=number(part.get("chains"), report) if "chains" in part else standard.chains,
        within=_while(part.get("within"), report) if "within" in part else standard.within,
    )


def _while(node: Node | None, report: FaultReport) -> timedelta:
    """By the clock: an answering machine keeps no office hours."""
    found = span(node, report)
    if found.clock_time is None and node is not None:
        report.add(node.location, "the brake counts by the clock: minutes, hours or days, like “1 hour”")
    return found.clock_time or timedelta(hours=found.count)


def _pass(node: Node | None, report: FaultReport) -> BlockSeverity | None:
    if node is None:
        return None
    part = Part(node, "“pass”", ("severity", "only"), report)
    _only(part.need("only"), "only", "staff", report)
    return word(part.need("severity"), BlockSeverity, report, BlockSeverity.CRITICAL)


def _only(node: Node | None, key: str, value: str, report: FaultReport) -> None:
    if node is not None and not (isinstance(node, ScalarNode) and node.text == value):
        report.add(node.location, f"“{key}” can only be “{value}”")
