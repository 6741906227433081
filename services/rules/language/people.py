"""``people.yaml``: who fills a role when an event does not say, and who stands in for whom."""

import re
from collections.abc import Mapping

from services.rules.language.values import Part, day, listed, mapped, text, texts
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import StaffDirectory, StandIn
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode
from shared.contracts.ids import ContactId

_KEYS = ("teams", "imprints", "milestones", "stands_in", "inbox")
_CONTACT = re.compile(r"[1-9][0-9]{0,6}")
_STAND_IN_KEYS = ("for", "who", "as", "from", "to")


def people(node: Node | None, report: FaultReport) -> StaffDirectory:
    part = Part(node, "people.yaml", _KEYS, report)
    teams = mapped(part.need("teams"), report, "“teams”")
    milestones = mapped(part.get("milestones"), report, "“milestones”")
    return StaffDirectory(
        teams={name: _roles(each, report) for name, each in teams.items()},
        imprints=_imprints(part.get("imprints"), report),
        milestones={key: texts(each, report) for key, each in milestones.items()},
        stands_in=tuple(_stand_in(each, report) for each in listed(part.get("stands_in"))),
        inbox=text(part.need("inbox"), report),
    )


def _roles(node: Node, report: FaultReport) -> Mapping[str, tuple[ContactId, ...]]:
    roles = mapped(node, report, "a team")
    return {role: tuple(_contact(each, report) for each in listed(each)) for role, each in roles.items()}


def _contact(node: Node | None, report: FaultReport) -> ContactId:
    """The error never says what was written: it may be somebody's phone number."""
    if node is None:
        return ContactId(1)
    if isinstance(node, ScalarNode) and _CONTACT.fullmatch(node.text):
        return ContactId(int(node.text))
    report.add(
        node.location, "this is no contact id of Consonance, a number of up to seven digits; write no phone number"
    )
    return ContactId(1)


def _imprints(node: Node | None, report: FaultReport) -> Mapping[int, Mapping[str, tuple[ContactId, ...]]]:
    """By the imprint's Consonance id."""
    found: dict[int, Mapping[str, tuple[ContactId, ...]]] = {}
    for key, each in mapped(node, report, "“imprints”").items():
        if _CONTACT.fullmatch(key):
            found[int(key)] = _roles(each, report)
        elif isinstance(node, MappingNode):
            report.add(node.keys[key], "an imprint is its Consonance id, a number of up to seven digits")
    return found


def _stand_in(node: Node, report: FaultReport) -> StandIn:
    part = Part(node, "“stands_in”", _STAND_IN_KEYS, report)
    first, last = day(part.get("from"), report), day(part.get("to"), report)
    if first and last and last < first:
        report.add(part.where("to"), "“to” is before “from”")
    return StandIn(
        absent=_contact(part.need("for"), report),
        who=_contact(part.need("who"), report),
        roles=frozenset(texts(part.get("as"), report)),
        first=first,
        last=last,
    )
