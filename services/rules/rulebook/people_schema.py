"""The schema of people.yaml: the contacts of each role, and those who stand in for others."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from services.rules.rulebook import model
from services.rules.rulebook.faults import FaultReport, InvalidValue
from services.rules.rulebook.schema import OneOrMore, Section, Texts, mapping
from services.rules.rulebook.single_values import Day, Text, report_of, value
from services.rules.rulebook.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode
from shared.contracts.ids import ContactId

_CONTACT = re.compile(r"[1-9][0-9]{0,6}")
_SEVERAL = re.compile(r"[1-9][0-9]{0,3}(?: +[1-9][0-9]{0,3})+")
"""Longer numbers with spaces may be a telephone number."""


def _read_contact(node: Node) -> ContactId:
    """The sentence does not contain what was written: it may be a person's phone number."""
    if isinstance(node, ScalarNode) and _CONTACT.fullmatch(node.text):
        return ContactId(int(node.text))
    if isinstance(node, ScalarNode) and node.value is None:
        raise InvalidValue("no contact is named here; write a contact id, or take the role out")
    if isinstance(node, ScalarNode) and _SEVERAL.fullmatch(node.text):
        raise InvalidValue(f"a comma is missing between contact ids: {', '.join(node.text.split())}")
    if isinstance(node, SequenceNode):
        raise InvalidValue("one contact belongs here, and this is a list; write a line for each")
    raise InvalidValue("this is no contact id of Consonance, a number of up to seven digits; write no phone number")


def _check_imprint(key: str) -> None:
    if not _CONTACT.fullmatch(key):
        raise InvalidValue("an imprint is its Consonance id, a number of up to seven digits")


ContactText = Annotated[ContactId, value(_read_contact, ContactId(1))]
Contacts = Annotated[tuple[ContactText, ...], OneOrMore()]
Roles = Annotated[dict[str, Contacts], mapping("a team", example="role: [contact id]")]
"""The contacts of each role."""


def _report_repeated_contacts(tables: Node | None, report: FaultReport) -> None:
    """Reports a contact whom a role names twice; ``tables`` are the roles by team or imprint."""
    for table in tables.nodes.values() if isinstance(tables, MappingNode) else ():
        if isinstance(table, MappingNode) and not table.nodes:
            report.refuse(table.location, "no contact is named here; write {role: [contact id]}, or take the team out")
        for contacts in table.nodes.values() if isinstance(table, MappingNode) else ():
            seen: set[str] = set()
            if isinstance(contacts, SequenceNode) and not contacts.nodes:
                report.refuse(contacts.location, "no contact is named here; write a contact id, or take the role out")
            for contact in contacts.nodes if isinstance(contacts, SequenceNode) else ():
                if isinstance(contact, ScalarNode) and contact.text in seen:
                    report.add(contact.location, "this contact is named twice")
                seen.add(contact.text if isinstance(contact, ScalarNode) else "")


class StandInSection(Section):
    """One person answers for another."""

    label = "“stands_in”"
    for_: ContactText = Field(alias="for")
    """The contact who is acted for."""
    who: ContactText
    """The contact who acts."""
    as_: Texts = Field((), alias="as")
    """The roles; all without them."""
    from_: Day = Field(None, alias="from")
    """The first day; without it, since always."""
    to: Day = None
    """The last day."""

    def report_faults(self, report: FaultReport) -> None:
        if self.from_ and self.to and self.to < self.from_:
            report.add(self.key_location("to"), "“to” is before “from”")

    def build(self) -> model.StandIn:
        return model.StandIn(self.for_, self.who, frozenset(self.as_), self.from_, self.to)


def _refuse_pairs(node: Any, info: ValidationInfo) -> Any:
    """Reports contacts by contact, where the list belongs."""
    if not isinstance(node, MappingNode) or not node.nodes or not all(map(_CONTACT.fullmatch, node.nodes)):
        return node
    absent, who = next(iter(node.nodes.items()))
    shown = who.text if isinstance(who, ScalarNode) and _CONTACT.fullmatch(who.text) else "…"
    sentence = f"“stands_in” is a list; write each on a line of its own: - {{for: {absent}, who: {shown}}}"
    report_of(info).add(node.location, sentence)
    return SequenceNode(node.location, ())


class PeopleFile(Section):
    """The people of each role, for events that do not name them, and the people who stand in for others."""

    label = "people.yaml"
    teams: Annotated[dict[str, Roles], mapping("“teams”")]
    """The contacts of each team, by team and role."""
    imprints: Annotated[dict[str, Roles], mapping("“imprints”", _check_imprint, example="7: {role: [contact id]}")] = (
        Field(default_factory=dict)
    )
    """The roles of one imprint, by its Consonance id."""
    milestones: Annotated[dict[str, Texts], mapping("“milestones”")] = Field(default_factory=dict)
    """The roles that a milestone concerns."""
    stands_in: Annotated[tuple[StandInSection, ...], OneOrMore(), BeforeValidator(_refuse_pairs)] = ()
    """Who acts for whom: agents, estates, leavers and people on leave."""
    inbox: Text
    """The team that reads unsolicited messages."""

    def report_faults(self, report: FaultReport) -> None:
        super().report_faults(report)
        for key in ("teams", "imprints"):
            _report_repeated_contacts(self.written.get(key), report)

    def build(self) -> model.StaffDirectory:
        return model.StaffDirectory(
            teams=self.teams,
            imprints={int(key): roles for key, roles in self.imprints.items() if _CONTACT.fullmatch(key)},
            milestones=self.milestones,
            stands_in=tuple(each.build() for each in self.stands_in),
            inbox=self.inbox,
        )
