"""``make dashboards``: writes the dashboards, the rules of Prometheus and their unit tests below deploy/.

A publisher with rules of its own gives their folder, and the address where its runbook pages are served.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from dev.layout import ROOT
from dev.observability.dashboards import dashboards
from dev.observability.durations import TimeScale
from dev.observability.panels import Dashboard, to_json
from dev.observability.rule_files import RULES_FOLDER, read_rule_files
from dev.observability.rule_rendering import (
    RUNBOOKS,
    prometheus_rule,
    rule_groups,
    slow_unit_tests,
    to_yaml,
    unit_tests,
)

DEPLOY = ROOT / "deploy"
DASHBOARDS = Path("observability/dashboards")
RULES = Path("observability/prometheus/rules.yaml")
UNIT_TESTS = Path("observability/prometheus/rules.test.yaml")
SLOW_UNIT_TESTS = Path("observability/prometheus/rules.slow.test.yaml")
PROMETHEUS_RULE = Path("k8s/components/prometheus-operator/prometheus-rule.yaml")


def files(rules: Path = RULES_FOLDER, runbooks: str = RUNBOOKS) -> Iterator[tuple[Path, str]]:
    """Every file that is written, by its path below deploy/."""
    rule_files = read_rule_files(rules)
    pages = dashboards(rule_files)
    for page in pages:
        yield DASHBOARDS / f"{page.name}.json", to_json(page)
    yield DASHBOARDS / "kustomization.yaml", to_yaml(_config_maps(pages))
    groups = rule_groups(rule_files, TimeScale(), runbooks)
    yield RULES, to_yaml(groups)
    yield PROMETHEUS_RULE, to_yaml(prometheus_rule(groups))
    yield UNIT_TESTS, to_yaml(unit_tests(RULES.name))
    yield SLOW_UNIT_TESTS, to_yaml(slow_unit_tests(RULES.name))


def _config_maps(pages: Sequence[Dashboard]) -> dict[str, object]:
    """One ConfigMap for each dashboard, with the label that Grafana's sidecar looks for."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "configMapGenerator": [{"name": f"dashboard-{page.name}", "files": [f"{page.name}.json"]} for page in pages],
        "generatorOptions": {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}},
    }


def main(
    into: Annotated[Path, typer.Option(help="the folder to write into")] = DEPLOY,
    rules: Annotated[Path, typer.Option(help="the folder of rules whose flows and owners have panels")] = RULES_FOLDER,
    runbooks: Annotated[str, typer.Option(help="the address of the runbook pages")] = RUNBOOKS,
) -> None:
    """Write dashboards and alerts, and remove dashboards of owners that are no more."""
    written = set()
    for path, text in files(rules, runbooks):
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        written.add(target)
    for leftover in set((into / DASHBOARDS).glob("*.json")) - written:
        leftover.unlink()
    print(f"{len(written)} files are in {into}")


if __name__ == "__main__":
    typer.run(main)
