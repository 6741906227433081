"""Values of a story as they stand, for events and writes to be compared with."""

from collections.abc import Mapping

from services.rules.language.values import mapped
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Location
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode
from shared.contracts.ids import ContactId


def plain(node: Node) -> object:
    match node:
        case ScalarNode():
            return node.value
        case SequenceNode():
            return [plain(each) for each in node.nodes]
        case MappingNode():
            return {key: plain(each) for key, each in node.nodes.items()}


def plain_entries(node: Node | None, report: FaultReport) -> Mapping[str, object]:
    return {key: plain(each) for key, each in mapped(node, report, "this").items()}


def contact(written: str, place: Location, report: FaultReport) -> ContactId:
    """A person of the story is their Consonance contact id, or any number for a visitor."""
    if written.isdecimal():
        return ContactId(int(written))
    if written:
        report.add(place, f"“{written}” is nobody: people are named by their contact id")
    return ContactId(0)
