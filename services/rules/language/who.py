"""Who is meant: a role, a party of the event, ``sender``, ``told``, ``unanswered``, a team, or a list of them."""

from services.rules.language.values import Part, listed, text
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Addressees, Notification, Team
from services.rules.rulebook.yaml_tree import MappingNode, Node


def who(node: Node | None, report: FaultReport) -> Addressees:
    return tuple(_one(each, report) for each in listed(node))


def _one(node: Node, report: FaultReport) -> str | Team:
    if isinstance(node, MappingNode):
        return Team(text(Part(node, "a team", ("team",), report).need("team"), report))
    return text(node, report)


def tell(part: Part, report: FaultReport) -> Notification | None:
    """``tell`` + ``say`` beside something else."""
    if "tell" not in part:
        return None
    return Notification(who(part.get("tell"), report), text(part.need("say"), report))
