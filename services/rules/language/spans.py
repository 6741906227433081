"""The only two things in a rule file that are parsed: a duration, and an offset from a date."""

import re
from collections.abc import Mapping

from services.rules.language.values import text
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import At
from services.rules.rulebook.yaml_tree import Node, ScalarNode
from shared.clients.working_calendar import Duration, TimeUnit

_SPAN = re.compile(r"(\d+) +((?:working +)?[a-z]+)")
_UNITS = {spelling: unit for unit in TimeUnit for spelling in (unit.value, unit.value.removesuffix("s"))}
_OFFERED = [spelling for spelling, unit in _UNITS.items() if unit is not TimeUnit.SECONDS]  # seconds are for rehearsals
_SIGNS = {"before": -1, "after": 1}
_NONE = Duration(1, TimeUnit.DAYS)
_LONGEST_WRITTEN = 200
"""Characters; longer texts are not looked into."""
_MOST: Mapping[TimeUnit, int] = {
    TimeUnit.SECONDS: 3650 * 24 * 3600,
    TimeUnit.MINUTES: 3650 * 24 * 60,
    TimeUnit.HOURS: 3650 * 24,
    TimeUnit.DAYS: 3650,
    TimeUnit.WORKING_HOURS: 3650 * 8,
    TimeUnit.WORKING_DAYS: 3650,
}
"""Ten years and a little more: what is longer is a slip, and soon leaves the calendar."""


def span(node: Node | None, report: FaultReport) -> Duration:
    """``2 working days``."""
    written = text(node, report)
    found = read_span(written)
    if node is not None and written and found is None:
        sentence = f"“{written}” is no duration, like “2 working days” or “4 hours”"
        report.unknown(node.location, sentence, _unit(written), _OFFERED)
    elif node is not None and found is not None and found.count > _MOST[found.unit]:
        report.add(node.location, f"“{written}” is too long; a duration has at most {_MOST[found.unit]:,} {found.unit}")
        return _NONE
    return found or _NONE


def read_span(written: str) -> Duration | None:
    found = _SPAN.fullmatch(written.strip()) if len(written) <= _LONGEST_WRITTEN else None
    unit = _UNITS.get(" ".join(found[2].split())) if found else None
    return Duration(int(found[1]), unit) if found and unit and int(found[1]) > 0 else None


def at(node: Node, report: FaultReport) -> At:
    """``respond_by``, or ``5 working days before new_due``."""
    written = text(node, report)
    if " " not in written:
        return At(written)
    words = written.split() if len(written) <= _LONGEST_WRITTEN else []
    if len(words) < 3 or words[-2] not in _SIGNS:
        report.add(node.location, f"“{written}” is neither a field nor like “5 working days before new_due”")
        return At("")
    duration = " ".join(words[:-2])
    offset = span(ScalarNode(node.location, duration, duration), report)
    return At(words[-1], offset, _SIGNS[words[-2]])


def _unit(written: str) -> str:
    return written.lstrip("0123456789 ")
