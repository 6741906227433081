"""Who is meant: a role, a party of the event, ``sender``, ``told``, ``unanswered``, a team, or a list of them."""

from services.rules.language.faults import Report
from services.rules.language.nodes import Entries, Node
from services.rules.language.values import Part, listed, text
from services.rules.rulebook import Tell
from services.rules.terms import Team, Who


def who(node: Node | None, report: Report) -> Who:
    return tuple(_one(each, report) for each in listed(node))


def _one(node: Node, report: Report) -> str | Team:
    if isinstance(node, Entries):
        return Team(text(Part(node, "a team", ("team",), report).need("team"), report))
    return text(node, report)


def tell(part: Part, report: Report) -> Tell | None:
    """``tell`` + ``say`` beside something else."""
    if "tell" not in part:
        return None
    return Tell(who(part.get("tell"), report), text(part.need("say"), report))
