"""The dashboards: Promise, Flows, Delivery, Rules, Pipeline, Platform, and one page of rules for each owner.

Each panel answers a question of a person on call; docs/operations/dashboards.md shows them.
"""

from collections.abc import Iterable

from dev.observability.dashboards.delivery import delivery_dashboard
from dev.observability.dashboards.flows import flows_dashboard
from dev.observability.dashboards.pipeline import pipeline_dashboard
from dev.observability.dashboards.platform import platform_dashboard
from dev.observability.dashboards.promise import promise_dashboard
from dev.observability.dashboards.rules import owner_dashboard, rules_dashboard
from dev.observability.panels import Dashboard
from dev.observability.rule_files import DashboardRule, by_owner


def dashboards(rules: Iterable[DashboardRule]) -> list[Dashboard]:
    overview = [
        promise_dashboard(),
        flows_dashboard(),
        delivery_dashboard(),
        rules_dashboard(),
        pipeline_dashboard(),
        platform_dashboard(),
    ]
    return overview + [owner_dashboard(owner, own) for owner, own in by_owner(rules).items()]
