"""The dashboards: what is checked in is what the description says, and a panel can be understood and has a query."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.layout import ROOT
from dev.observability.__main__ import DASHBOARDS, DEPLOY, files
from dev.observability.catalogue import FOREIGN_METRICS, REFERENCE, SCRAPE_LABELS, read_catalogue, selectors
from dev.observability.dashboards import dashboards
from dev.observability.panels import Dashboard, Panel
from dev.observability.promises import promise_records
from dev.observability.rule_files import by_owner, read_rule_files
from dev.observability.rule_rendering import flow_records

_RULES = read_rule_files()
_DASHBOARDS = dashboards(_RULES)
_FILES = list(files())
_RECORDS = {record.record for record in (*promise_records(), *flow_records(_RULES))}
_PANELS = [pytest.param(panel, id=f"{page.name}: {panel.title}") for page in _DASHBOARDS for panel in page.panels]
_each_panel = pytest.mark.parametrize("panel", _PANELS)
_SUBJECTS = {"promise", "flows", "delivery", "rules", "pipeline", "platform"}
_UNITS = {"none", "short", "s", "bytes", "percentunit", "reqps", "ops"}


@pytest.mark.parametrize(("path", "text"), [pytest.param(*one, id=str(one[0])) for one in _FILES])
def test_a_file_below_deploy_is_what_the_description_says(path: Path, text: str) -> None:
    assert (DEPLOY / path).read_text() == text, f"run make dashboards, and commit {path}"


def test_no_dashboard_is_left_over() -> None:
    written = {DEPLOY / path for path, _ in _FILES}
    assert set((DEPLOY / DASHBOARDS).glob("*.json")) <= written


def test_every_owner_of_a_rule_has_a_page_and_every_subject_one() -> None:
    assert {page.name for page in _DASHBOARDS} == _SUBJECTS | {f"rules-{owner}" for owner in by_owner(_RULES)}


@_each_panel
def test_a_panel_says_what_it_shows_in_which_unit(panel: Panel) -> None:
    assert panel.title[0].isupper()
    assert not panel.title.endswith(".")
    assert panel.description.endswith(".")
    assert panel.description.casefold() != f"{panel.title}.".casefold()
    assert panel.unit in _UNITS
    assert panel.queries


@_each_panel
def test_a_panel_reads_only_metrics_and_labels_that_exist(panel: Panel) -> None:
    for query in panel.queries:
        assert list(unknown_names(query.expression)) == []


@pytest.mark.parametrize("page", _DASHBOARDS, ids=lambda page: page.name)
def test_every_query_filters_by_every_variable_of_its_dashboard(page: Dashboard) -> None:
    document = json.loads((DEPLOY / DASHBOARDS / f"{page.name}.json").read_text())
    variables = [one["name"] for one in document["templating"]["list"] if one["type"] == "query"]
    assert variables == list(page.variables)
    queries = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    assert queries
    for query in queries:
        for variable in variables:
            assert f'{variable}=~"${variable}"' in query


@pytest.mark.parametrize("page", _DASHBOARDS, ids=lambda page: page.name)
def test_no_two_panels_of_a_dashboard_overlap(page: Dashboard) -> None:
    document = json.loads((DEPLOY / DASHBOARDS / f"{page.name}.json").read_text())
    cells = [cell for panel in document["panels"] for cell in _cells(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place.get("x", 0), place.get("x", 0) + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def unknown_names(expression: str) -> Iterator[str]:
    """The metrics and labels of a PromQL expression that nothing has."""
    catalogue = read_catalogue()
    for selector in selectors(expression):
        if selector.name in catalogue:
            known = catalogue[selector.name].labels | SCRAPE_LABELS | {"le"}
            yield from (f"{selector.name}{{{label}}}" for label in selector.labels - known)
        elif selector.name not in FOREIGN_METRICS and selector.name not in _RECORDS:
            yield selector.name


def test_every_metric_stands_on_a_dashboard_or_on_a_page_that_says_what_it_is_for() -> None:
    queries = [query.expression for page in _DASHBOARDS for panel in page.panels for query in panel.queries]
    shown = {
        read_catalogue()[one.name].name for text in queries for one in selectors(text) if one.name in read_catalogue()
    }
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md") if path != REFERENCE)
    declared = {metric.name for metric in read_catalogue().values() if metric.name.startswith("stet_")}
    assert sorted(name for name in declared - shown if name not in pages) == []


def test_an_unknown_metric_and_an_unknown_label_are_found() -> None:
    expression = 'sum(rate(stet_decisions_totl[5m])) + stet_decisions_total{rulle="x", rule="y"} + stet:rule_info'
    assert list(unknown_names(expression)) == ["stet_decisions_totl", "stet_decisions_total{rulle}"]


def test_the_page_of_dashboards_shows_a_picture_of_each() -> None:
    text = (ROOT / "docs" / "operations" / "dashboards.md").read_text()
    shown = set(re.findall(r"\]\((pictures/[\w-]+\.png)\)", text))
    assert {f"pictures/{page.name}.png" for page in _DASHBOARDS if page.name in _SUBJECTS} <= shown
    for picture in shown:
        size = (ROOT / "docs" / "operations" / picture).stat().st_size
        assert 0 < size <= 300_000
