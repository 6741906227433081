"""Judges whether tables are flat: as many rows at the end as once the longest retention had passed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_PSEUDONYM = (
    "one row for each contact, and for each visitor until STET_KEEP_VISITORS_DAYS and then STET_KEEP_INBOX_DAYS have "
    "passed, which is more than a year; a merged one leaves the id, so that what names it is known (docs/privacy.md)"
)
_EVIDENCE = (
    "proof of what was agreed, without a setting: as long as the agreement can be disputed "
    "(docs/operations/evidence.md)"
)

BY_DESIGN: Mapping[str, str] = {
    **{f"{service}.people": _PSEUDONYM for service in ("ingest", "rules", "dispatcher", "writeback")},
    **{f"writeback.evidence_{part}": _EVIDENCE for part in ("chains", "entries", "keys")},
    "rules.rights_records": (
        "the state of each rights record, without a setting: while Consonance shows it, and no event says when it no "
        "longer does"
    ),
    "rules.consent": (
        "what each id of a person has agreed to or ended, while the person is known: where another account of WhatsApp "
        "shows at their number, each of their ids notes that what was agreed before has lapsed"
    ),
    "rules.consent_ledger": "every change of the former, with the message that proves a STOP or a START, as long",
}
"""The tables that may grow for longer than a year, each with the reason and the setting that bounds it, if any."""

TOLERANCE = 0.10
"""Between two equal phases of the traffic: what is due on a holiday comes a day later."""
FEW = 8
"""Rows by which a small table may differ."""


class TableGrowth(StrEnum):
    FLAT = "flat"
    EMPTY = "empty"
    BY_DESIGN = "grows by design"
    GROWS = "GROWS"


@dataclass(frozen=True)
class TableSize:
    rows: int
    bytes: int


Sizes = Mapping[str, TableSize]
"""By ``schema.table``."""


@dataclass(frozen=True)
class TableVerdict:
    """``reason`` says why a table may grow, and until when its rows are kept."""

    name: str
    finding: TableGrowth
    reason: str = ""


def judge(earlier: Sizes, later: Sizes, by_design: Mapping[str, str]) -> list[TableVerdict]:
    """One for each table that is there at the end; ``by_design`` are those that may grow, with the reason."""
    return [_judge_table(name, earlier.get(name, TableSize(0, 0)), later[name], by_design) for name in sorted(later)]


def _judge_table(name: str, earlier: TableSize, later: TableSize, by_design: Mapping[str, str]) -> TableVerdict:
    if earlier.rows == later.rows == 0:
        return TableVerdict(name, TableGrowth.EMPTY)
    if later.rows - earlier.rows <= max(FEW, TOLERANCE * earlier.rows):
        return TableVerdict(name, TableGrowth.FLAT)
    if name in by_design:
        return TableVerdict(name, TableGrowth.BY_DESIGN, by_design[name])
    return TableVerdict(name, TableGrowth.GROWS)


def faults(
    verdicts: Sequence[TableVerdict],
    counts: Sequence[Mapping[str, int]],
    by_design: Sequence[str],
    *,
    outlives_retentions: bool,
) -> list[str]:
    """Sentences for what is wrong; none where every table is flat. ``counts`` is the traffic, by measurement.

    A run that does not outlive the retentions shows only tables that still grow, which is no fault.
    """
    growing = [
        f"{one.name} grows, and nothing says that it may"
        for one in verdicts
        if outlives_retentions and one.finding is TableGrowth.GROWS
    ]
    known = {one.name for one in verdicts}
    missing = [
        f"{name} is said to grow by design, but there is no such table" for name in by_design if name not in known
    ]
    idle = sorted({kind for each in counts for kind, number in each.items() if number == 0})
    return [*growing, *missing, *(f"the traffic had no {kind}, so nothing is shown of their tables" for kind in idle)]
