"""The only two things in a rule file that are parsed: a duration, and an offset from a date."""

import re

from services.rules.language.faults import Report
from services.rules.language.nodes import Node, Scalar
from services.rules.language.values import text
from services.rules.terms import At, Span, Unit

_SPAN = re.compile(r"(\d+) +((?:working +)?[a-z]+)")
_OFFSET = re.compile(r"(.+?) +(before|after) +(\S+)")
_UNITS = {spelling: unit for unit in Unit for spelling in (unit.value, unit.value.removesuffix("s"))}
_OFFERED = [spelling for spelling, unit in _UNITS.items() if unit is not Unit.SECONDS]  # seconds are for rehearsals
_SIGNS = {"before": -1, "after": 1}
_NONE = Span(1, Unit.DAYS)


def span(node: Node | None, report: Report) -> Span:
    """``2 working days``."""
    written = text(node, report)
    found = read_span(written)
    if node is not None and written and found is None:
        report.unknown(
            node.place, f"“{written}” is no duration, like “2 working days” or “4 hours”", _unit(written), _OFFERED
        )
    return found or _NONE


def read_span(written: str) -> Span | None:
    found = _SPAN.fullmatch(written.strip())
    unit = _UNITS.get(" ".join(found[2].split())) if found else None
    return Span(int(found[1]), unit) if found and unit and int(found[1]) > 0 else None


def at(node: Node, report: Report) -> At:
    """``respond_by``, or ``5 working days before new_due``."""
    written = text(node, report)
    found = _OFFSET.fullmatch(written)
    if found is None:
        if " " in written:
            report.add(node.place, f"“{written}” is neither a field nor like “5 working days before new_due”")
            return At("")
        return At(written)
    offset = span(Scalar(node.place, found[1], found[1]), report)
    return At(found[3], offset, _SIGNS[found[2]])


def _unit(written: str) -> str:
    return written.lstrip("0123456789 ")
