"""Values of a story as they stand, for events and writes to be compared with."""

from collections.abc import Mapping

from services.rules.language.faults import Report
from services.rules.language.nodes import Entries, Items, Node, Scalar
from services.rules.language.values import mapped
from services.rules.terms import Place
from shared.contracts.ids import ContactId


def plain(node: Node) -> object:
    match node:
        case Scalar():
            return node.value
        case Items():
            return [plain(each) for each in node.nodes]
        case Entries():
            return {key: plain(each) for key, each in node.nodes.items()}


def plain_entries(node: Node | None, report: Report) -> Mapping[str, object]:
    return {key: plain(each) for key, each in mapped(node, report, "this").items()}


def contact(written: str, place: Place, report: Report) -> ContactId:
    """A person of the story is their Consonance contact id, or any number for a visitor."""
    if written.isdecimal():
        return ContactId(int(written))
    if written:
        report.add(place, f"“{written}” is nobody: people are named by their contact id")
    return ContactId(0)
