"""The schemas of house.yaml and limits.yaml: the publisher's own choices, and how far messages may go."""

import re
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo

from services.rules.rulebook import model
from services.rules.rulebook.codes import check_country, check_language, is_country, is_language
from services.rules.rulebook.faults import FaultReport, InvalidValue
from services.rules.rulebook.meant_keys import with_keys_under
from services.rules.rulebook.model import (
    MOST_STARTS,
    MOST_STRANGERS_CHAINS,
    STANDARD_RESTARTS,
    Cap,
    CapPeriod,
    ContactBasis,
    Severity,
    StartLimit,
    UnsolicitedLimit,
)
from services.rules.rulebook.schema import OneOrMore, Section, mapping
from services.rules.rulebook.single_values import Language, Text, WholeNumber, only, read_text, report_of, value, word
from services.rules.rulebook.times import DurationText
from services.rules.rulebook.yaml_nodes import Faulty, MappingNode, Node, ScalarNode
from shared.clients.working_calendar import Duration, TimeUnit

_STANDARD = UnsolicitedLimit()


class LimitsBrake(Section):
    """How many unsolicited messages are answered, and start rules, for one person."""

    label = "“brake”"
    answers: WholeNumber = _STANDARD.answers
    """The most answers to one person in that time."""
    chains: WholeNumber = _STANDARD.chains
    """The most chains that one person starts in that time."""
    within: DurationText | None = None
    """By the clock: minutes, hours or days."""
    open: WholeNumber = _STANDARD.open
    """The most chains that one person's own messages have open at the same time."""
    strangers_open: WholeNumber = _STANDARD.strangers_open
    """The same for a person whom Consonance does not know."""
    strangers_chains: WholeNumber = _STANDARD.strangers_chains
    """The most chains that all people whom Consonance does not know start together in that time."""

    def report_faults(self, report: FaultReport) -> None:
        if self.within is not None and self.within.fixed_length is None:
            sentence = "the brake counts by the clock: minutes, hours or days, like “1 hour”"
            report.add(self.value_location("within"), sentence)
        if self.strangers_chains > MOST_STRANGERS_CHAINS:
            sentence = f"no more than {MOST_STRANGERS_CHAINS} chains of strangers are counted"
            report.add(self.value_location("strangers_chains"), sentence)

    def build(self) -> UnsolicitedLimit:
        within = _STANDARD.within
        if self.within is not None:
            within = self.within.fixed_length or timedelta(hours=self.within.count)
        return UnsolicitedLimit(
            self.answers, self.chains, within, self.open, self.strangers_open, self.strangers_chains
        )


class RestartsSection(Section):
    """How often a rule may start about one subject, where Consonance reports what the rule itself wrote."""

    label = "“restarts”"
    at_most: WholeNumber
    """The most chains of the rule about one subject in that time; without “about”, about one work or record."""
    within: DurationText
    """By the clock: minutes, hours, days or weeks."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if self.within.fixed_length is None:
            sentence = "restarts are counted by the clock: minutes, hours, days or weeks, like “4 weeks”"
            report.add(self.value_location("within"), sentence)

        if self.at_most > MOST_STARTS:
            report.add(self.value_location("at_most"), f"no more than {MOST_STARTS} starts are counted")

    def build(self) -> StartLimit:
        return StartLimit(self.at_most, self.within.fixed_length or timedelta(days=self.within.count))


class LimitsPass(Section):
    """The severity from which messages to staff ignore quiet hours."""

    label = "“pass”"
    severity: Annotated[Severity, word(Severity, Severity.CRITICAL)]
    """The severity whose messages pass."""
    only: Annotated[str, only("staff", "“only” can only be “staff”")]
    """Always ``staff``: nothing passes for people outside the house."""


class LimitsCap(Section):
    """The most messages that one person gets in a period."""

    label = "a cap"
    count: WholeNumber
    """The most messages in that time."""
    per: Annotated[CapPeriod, word(CapPeriod, CapPeriod.DAY)]
    """A calendar day, or a week from Monday, in the zone of the person."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """Both keys by other words are one mistake, whatever stands behind them."""
        if len(node.nodes) == len(cls.known_keys()) and node.nodes.keys().isdisjoint(cls.known_keys()):
            written = ", ".join(f"“{key}”" for key in node.nodes)
            report.add(node.places[0], f"{label} has no {written}; it is like {{count: 3, per: day}}")
            read = {key: ScalarNode(node.location, "", Faulty("")) for key in cls.known_keys()}
            return MappingNode(node.location, read, node.places, node.in_braces)
        return super()._with_meant_keys(node, label, report)

    def build(self) -> Cap:
        return Cap(self.count, self.per)


class LimitsFile(Section):
    """How far messages may go."""

    label = "limits.yaml"
    per_person: Annotated[tuple[LimitsCap, ...], OneOrMore()] = ()
    """The most messages of one person; replies to their own messages are free."""
    digest: Annotated[Severity, word(Severity, Severity.INFO)] | None = None
    """Tells up to this severity that wait for the morning, or for a cap, become one message."""
    free: Annotated[str, only("replies", "“free” can only be “replies”")] | None = None
    """Always ``replies``: an answer to a person's own message counts for no cap."""
    pass_: LimitsPass | None = Field(None, alias="pass")
    """The messages that pass the caps and the quiet hours."""
    taken_for: DurationText = Duration(5, TimeUnit.WORKING_DAYS)
    """How long a person who took a case may be silent."""
    send_within: DurationText = Duration(2, TimeUnit.WORKING_DAYS)
    """How long a message may wait before it is not sent any more."""
    brake: LimitsBrake | None = None
    """When a person who keeps writing is not answered any more."""
    restarts: RestartsSection | None = None
    """How often a rule that writes may start about one subject, where the rule itself does not say it."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if self.digest is Severity.CRITICAL:
            sentence = "what is critical is never gathered; write “digest: info” or “digest: warning”"
            report.add(self.value_location("digest"), sentence)
        self._report_caps(report)

    def _report_caps(self, report: FaultReport) -> None:
        most: dict[CapPeriod, int] = {}
        for cap in self.per_person:
            if cap.per in most:
                report.add(cap.location, f"there are two caps per {cap.per}; keep one")
            most[cap.per] = cap.count
        day, week = most.get(CapPeriod.DAY), most.get(CapPeriod.WEEK)
        if day is not None and week is not None and week < day:
            sentence = f"{week} per week leave no room for {day} per day; raise the one or lower the other"
            report.add(self.value_location("per_person"), sentence)


_PHONE = re.compile(r"\+?[\d ()./-]{5,}")
_LINK_NAME = re.compile(r"[a-z][a-z0-9_]*")


def _read_line(node: Node) -> str:
    """The sentence does not contain what was written: it may be a phone number."""
    written = read_text(node)
    if _PHONE.fullmatch(written):
        raise InvalidValue("a line has a name of the settings, like main, and is no phone number")
    return written


def _read_link(node: Node) -> str:
    written = read_text(node)
    parts = urlsplit(written) if written.isprintable() and " " not in written else None
    if parts is not None and parts.scheme == "http" and parts.hostname:
        raise InvalidValue(f"a link begins with https://, and not with http://; write https{written[len('http') :]}")
    if parts is None or parts.scheme != "https" or not parts.hostname:
        raise InvalidValue("a link is a whole address, like https://authors.example.org/statements")
    return written


def _check_link_name(name: str) -> None:
    if not _LINK_NAME.fullmatch(name):
        raise InvalidValue(
            f"“{name}” names no link: small letters, digits and underscores, so that {{link_name}} can say it"
        )


def _languages_within(node: Node) -> list[str]:
    """The keys that are languages with words of their own."""
    if not isinstance(node, MappingNode):
        return []
    return [key for key, each in node.nodes.items() if is_language(key) and isinstance(each, MappingNode)]


def _check_directions(node: Any, info: ValidationInfo) -> Any:
    """Reports languages with their countries, and takes them for countries with their languages."""
    if not isinstance(node, MappingNode):
        return node
    nodes: dict[str, Node] = {}
    for (key, each), place in zip(node.nodes.items(), node.places, strict=True):
        is_turned = isinstance(each, ScalarNode) and is_language(key) and is_country(each.text)
        if is_turned and isinstance(each, ScalarNode):
            report_of(info).add(place, f"the country comes first; write {each.text}: {key}")
            nodes[each.text] = ScalarNode(each.location, key, key)
        else:
            nodes[key] = each
    return MappingNode(node.location, nodes, node.places, node.in_braces) if len(nodes) == len(node.nodes) else node


class HouseFile(Section):
    """The publisher's own words and choices."""

    label = "house.yaml"
    publisher: Annotated[dict[str, Text], mapping("“publisher”", check_language)]
    """The publisher's name, by language."""
    language: Language
    """The language that everything is written in at least."""
    countries: Annotated[
        dict[str, Language], mapping("“countries”", check_country, example="FR: fr"), BeforeValidator(_check_directions)
    ] = Field(default_factory=dict)
    """The language of each country."""
    line: Annotated[str, value(_read_line, "")]
    """The WhatsApp number to write from, by its name in the settings."""
    all_lines: Annotated[tuple[Annotated[str, value(_read_line, "")], ...], OneOrMore()] = ()
    """All WhatsApp numbers, by their names in the settings; where they are listed, rules and stories name no other."""
    links: Annotated[
        dict[str, Annotated[str, value(_read_link, "")]], mapping("“links”", _check_link_name, example="statements: …")
    ] = Field(default_factory=dict)
    """Links that templates may contain, as {link_NAME}."""
    basis: Annotated[
        dict[str, Annotated[ContactBasis, word(ContactBasis, ContactBasis.OPT_IN)]], mapping("“basis”")
    ] = Field(default_factory=dict)
    """Why people of a role may be written to."""
    words: Annotated[
        dict[str, Annotated[dict[str, Text], mapping("the words of a language")]], mapping("“words”", check_language)
    ] = Field(default_factory=dict)
    """Readable forms of codes, by language."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """Words of languages below another key are taken for what they are: the line above them is missing."""
        if "words" not in node.nodes:
            for key in [key for key in node.nodes if key in cls.known_keys()]:
                above = node.nodes[key]
                aside = _languages_within(above)
                if isinstance(above, MappingNode) and aside and "words" in above.nodes:
                    sentence = f"“words” is indented further than “{key}”; begin both in the same column"
                    report.add(above.keys["words"], sentence)
                elif isinstance(above, MappingNode) and aside:
                    report.add(above.keys[aside[0]], "the line “words:” is missing above this one")
                if aside:
                    node = with_keys_under(node, key, "words", aside)
                    break
        return super()._with_meant_keys(node, label, report)

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        if self.all_lines and self.line and self.line not in self.all_lines:
            sentence = f"“{self.line}” is none of “all_lines”"
            report.unknown(self.value_location("line"), sentence, self.line, self.all_lines)

    def build(self, limits: LimitsFile) -> model.Tenant:
        return model.Tenant(
            publisher=self.publisher,
            language=self.language,
            languages=self.countries,
            default_line=self.line,
            links=self.links,
            basis=self.basis,
            words=self.words,
            staff_pass=None if limits.pass_ is None else limits.pass_.severity,
            taken_for=limits.taken_for,
            send_within=limits.send_within,
            unsolicited=_STANDARD if limits.brake is None else limits.brake.build(),
            caps=tuple(cap.build() for cap in limits.per_person),
            digest=limits.digest,
            lines=frozenset(self.all_lines) - {""},
            restarts=STANDARD_RESTARTS if limits.restarts is None else limits.restarts.build(),
        )
