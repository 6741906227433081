"""The judgement on a year of traffic: a table that grows is found, and nothing else is."""

import io
from collections.abc import Mapping

import pytest
from rich.console import Console

from dev.year.report import show
from dev.year.verdict import BY_DESIGN, FEW, TableGrowth, TableSize, faults, judge
from shared.contracts.personal_data import TABLES

COUNTS = [{"writes": 3, "files": 1}, {"writes": 2, "files": 1}]


def sizes(**rows: int) -> dict[str, TableSize]:
    return {f"rules.{name}": TableSize(number, number * 100) for name, number in rows.items()}


def findings(
    earlier: Mapping[str, TableSize], later: Mapping[str, TableSize], **reasons: str
) -> dict[str, TableGrowth]:
    by_design = {f"rules.{name}": reason for name, reason in reasons.items()}
    return {one.name.removeprefix("rules."): one.finding for one in judge(earlier, later, by_design)}


@pytest.mark.parametrize(
    ("earlier", "later", "finding"),
    [
        (1000, 1000, TableGrowth.FLAT),
        (1000, 1100, TableGrowth.FLAT),
        (1000, 1101, TableGrowth.GROWS),
        (1000, 10, TableGrowth.FLAT),
        (0, 0, TableGrowth.EMPTY),
        (2, 2 + FEW, TableGrowth.FLAT),
        (2, 3 + FEW, TableGrowth.GROWS),
        (0, FEW + 1, TableGrowth.GROWS),
    ],
)
def test_a_table_grows_by_more_than_a_tenth_and_more_than_a_few_rows(
    earlier: int, later: int, finding: TableGrowth
) -> None:
    assert findings(sizes(chains=earlier), sizes(chains=later)) == {"chains": finding}


def test_a_table_that_is_doctored_to_grow_by_a_row_a_day_is_found_among_flat_ones() -> None:
    tables = [one.name for one in TABLES["rules"]]
    earlier = {f"rules.{name}": TableSize(number * 40, 8192) for number, name in enumerate(tables)}
    later = {
        name: TableSize(size.rows + (224 if name == "rules.unasked" else 0), 8192) for name, size in earlier.items()
    }
    grown = [one.name for one in judge(earlier, later, {}) if one.finding is TableGrowth.GROWS]
    assert grown == ["rules.unasked"]
    verdicts = judge(earlier, later, {})
    assert faults(verdicts, COUNTS, [], outlives_retentions=True) == [
        "rules.unasked grows, and nothing says that it may"
    ]


def test_a_run_that_ends_before_the_retentions_do_is_not_judged_by_growing_tables() -> None:
    verdicts = judge(sizes(chains=100), sizes(chains=200), {})
    assert faults(verdicts, COUNTS, [], outlives_retentions=False) == []
    assert len(faults(verdicts, COUNTS, [], outlives_retentions=True)) == 1


def test_a_table_that_is_new_since_then_is_judged_too() -> None:
    assert findings({}, sizes(chains=100)) == {"chains": TableGrowth.GROWS}


def test_a_table_that_may_grow_says_why_only_where_it_does() -> None:
    reason = "as long as the agreement can be disputed"
    assert findings(sizes(evidence=10), sizes(evidence=500), evidence=reason) == {"evidence": TableGrowth.BY_DESIGN}
    (verdict,) = judge(sizes(evidence=10), sizes(evidence=10), {"rules.evidence": reason})
    assert (verdict.finding, verdict.reason) == (TableGrowth.FLAT, "")


def test_a_reason_for_no_table_and_traffic_that_lacks_a_kind_are_faults() -> None:
    verdicts = judge(sizes(chains=10), sizes(chains=10), {})
    assert faults(verdicts, COUNTS, [], outlives_retentions=True) == []
    assert faults(verdicts, COUNTS, ["rules.chain"], outlives_retentions=True) == [
        "rules.chain is said to grow by design, but there is no such table"
    ]
    assert faults(verdicts, [{"writes": 3, "files": 0}], [], outlives_retentions=True) == [
        "the traffic had no files, so nothing is shown of their tables"
    ]


def test_every_table_that_may_grow_is_in_the_inventory_and_has_a_reason() -> None:
    known = {f"{schema}.{one.name}" for schema, tables in TABLES.items() for one in tables}
    assert BY_DESIGN.keys() - known == set()
    assert all(len(reason) > 20 for reason in BY_DESIGN.values())


def test_the_report_has_a_line_for_each_table_with_rows_and_names_the_empty_ones() -> None:
    found = {5: sizes(chains=1000, tasks=0), 13: sizes(chains=2000, tasks=0, evidence=90)}
    console = Console(record=True, width=140, file=io.StringIO())
    show(console, found, 5, judge(found[5], found[13], {"rules.evidence": "as long as the agreement can be disputed"}))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["rules.chains", "1,000", "2,000", "97", "195", "GROWS"] in lines
    assert ["rules.evidence", "0", "90", "0", "8", "grows", "by", "design"] in lines
    assert ["rules.evidence:", "as", "long", "as", "the", "agreement", "can", "be", "disputed"] in lines
    assert ["empty", "at", "both", "ends:", "rules.tasks"] in lines
