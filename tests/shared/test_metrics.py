"""Metrics: each declared once, with closed labels, exposed with its service, and listed on a generated page."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from dev.metrics_page import PATH, load_declarations, metrics_page
from shared.runtime import metrics
from shared.runtime.build import VERSION, commit_of
from shared.runtime.metrics import (
    BoundedValues,
    Metrics,
    collect_process_metrics,
    count_request,
    current_exemplar,
    exposition,
    label,
)

ROOT = Path(__file__).parents[2]
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"


@pytest.fixture
def declare() -> Iterator[Metrics]:
    """Declarations of a test, which leave the catalogue as it was."""
    before, registered = dict(metrics.DECLARATIONS), set(metrics._REGISTRY._collector_to_names)
    yield Metrics.of("rules")
    for collector in set(metrics._REGISTRY._collector_to_names) - registered:
        metrics._REGISTRY.unregister(collector)
    metrics.DECLARATIONS.clear()
    metrics.DECLARATIONS.update(before)


def samples(accept: str = "") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = exposition("rules", accept)[0].decode()
    parse = parse_openmetrics if "openmetrics" in accept else parse_text
    found = (one for family in parse(text) for one in family.samples)
    return {(one.name, frozenset(one.labels.items())): one.value for one in found}


def value(name: str, **labels: str) -> float | None:
    return samples().get((name, frozenset({**labels, "service": "rules"}.items())))


def test_the_page_of_the_metrics_is_the_generated_one() -> None:
    assert (ROOT / PATH).read_text("utf-8") == metrics_page(), "run: python -m dev.metrics_page"


def test_names_follow_the_conventions_of_prometheus() -> None:
    declared = load_declarations().values()
    assert len(declared) > 60
    assert [one.name for one in declared if not re.fullmatch(r"stet_[a-z_]+", one.name)] == []
    assert [one.name for one in declared if one.name.endswith("_total") != (one.kind == "counter")] == []
    assert [
        one.name for one in declared if re.match("stet_(ingest|rules|dispatcher|writeback)_(?!revision)", one.name)
    ] == []
    assert [one.name for one in declared if one.buckets and not one.name.endswith(("_seconds", "_records"))] == []


def test_every_label_has_a_closed_set_or_says_what_bounds_it() -> None:
    labels = [one for declared in load_declarations().values() for one in declared.labels if not one.values]
    assert {one.name for one in labels if not one.description} <= {"version", "commit", "python"}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_sample_names_its_service(accept: str) -> None:
    collect_process_metrics()
    found = samples(accept)
    assert {dict(labels).get("service") for _, labels in found} == {"rules"}
    assert {"process_cpu_seconds_total", "python_gc_collections_total", "stet_build_info"} <= {
        name for name, _ in found
    }


def test_the_format_is_what_the_scrape_asks_for() -> None:
    assert exposition("rules", OPENMETRICS)[1].startswith("application/openmetrics-text; version=1.0.0")
    assert exposition("rules", "text/html")[1].startswith("text/plain; version=0.0.4")


def test_an_observation_in_a_recorded_span_leads_to_its_trace(declare: Metrics) -> None:
    seconds = declare.histogram("stet_test_seconds", "For this test.", exemplars=True)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("stet")
    with tracer.start_as_current_span("work") as span:
        seconds.observe(0.2, current_exemplar())
    assert current_exemplar() is None
    line = next(line for line in exposition("rules", OPENMETRICS)[0].decode().splitlines() if " # {" in line)
    assert f'trace_id="{span.get_span_context().trace_id:032x}"' in line


def test_a_service_exposes_no_metric_of_another(declare: Metrics) -> None:
    declare.gauge("stet_test_own", "For this test.")
    Metrics.of("ingest").gauge("stet_test_foreign", "For this test.")
    assert {name for name, _ in samples() if name.startswith("stet_test")} == {"stet_test_own"}


def test_few_series_of_closed_sets_begin_with_zero(declare: Metrics) -> None:
    declare.counter("stet_test_total", "For this test.", label("reason", ("a", "b")))
    declare.counter("stet_test_many_total", "For this test.", label("reason", map(str, range(65))))
    declare.counter("stet_test_open_total", "For this test.", label("rule", description="a rule"))
    assert (value("stet_test_total", reason="a"), value("stet_test_total", reason="b")) == (0, 0)
    assert value("stet_test_many_total", reason="1") is None
    assert not [name for name, _ in samples() if name == "stet_test_open_total"]


def test_a_metric_is_declared_once(declare: Metrics) -> None:
    declare.gauge("stet_test", "For this test.")
    with pytest.raises(ValueError, match="stet_test is declared twice"):
        declare.gauge("stet_test", "For this test.")


def test_a_batch_is_observed_as_its_members_would_be_one_by_one(declare: Metrics) -> None:
    amounts = [0.0, 0.001, 0.0011, 0.3, 30.0, 31.0, 0.3]
    one_by_one = declare.histogram("stet_test_one_seconds", "For this test.")
    together = declare.histogram("stet_test_all_seconds", "For this test.")
    for amount in amounts:
        one_by_one.observe(amount)
    together.observe_all(amounts)
    (first,), (second,) = one_by_one.collect(), together.collect()
    numbers = [[one.value for one in each.samples if not one.name.endswith("_created")] for each in (first, second)]
    assert numbers[0] == pytest.approx(numbers[1])


def test_no_series_tells_when_another_was_created(declare: Metrics) -> None:
    collect_process_metrics()
    declare.counter("stet_test_total", "For this test.", label("kind", ("a", "b")))
    declare.histogram("stet_test_seconds", "For this test.").observe(1)
    for accept in ("text/plain", OPENMETRICS):
        page, _ = exposition("rules", accept)
        assert b"stet_test_total{" in page
        assert b"_created" not in page


def test_clocks_that_differ_give_no_negative_duration(declare: Metrics) -> None:
    seconds = declare.histogram("stet_test_seconds", "For this test.")
    seconds.observe_all([-2.0, 1.0])
    assert (value("stet_test_seconds_sum"), value("stet_test_seconds_count")) == (1.0, 2.0)


def test_a_label_keeps_so_many_values_and_calls_all_later_ones_other() -> None:
    rule = BoundedValues(2)
    assert [rule("a"), rule("b"), rule("c"), rule("a")] == ["a", "b", "other", "a"]


def test_requests_are_counted_by_route_and_status() -> None:
    count_request("/tested", 200, 0.02)
    count_request("/tested", 413)
    assert value("stet_http_requests_total", route="/tested", status="413") == 1
    assert value("stet_http_request_duration_seconds_count", route="/tested") == 1


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"] == VERSION


def test_the_commit_of_the_rules_is_read_off_the_folder_that_git_sync_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STET_COMMIT", "c0de")
    synced = tmp_path / ".worktrees" / ("a1" * 20) / "rules"
    synced.mkdir(parents=True)
    (tmp_path / "current").symlink_to(synced.parent)
    assert commit_of(tmp_path / "current" / "rules") == "a1" * 20
    assert commit_of(ROOT / "rules") == "c0de"
    assert commit_of(tmp_path) == "unknown"
