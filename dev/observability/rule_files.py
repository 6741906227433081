"""The rules of a publisher, as dashboards need them: which flow (folder) and which owner each belongs to."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dev.layout import ROOT
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rule, may_write, questions_of
from services.rules.rulebook.rule_folder import read_folder

RULES_FOLDER = ROOT / "rules"


@dataclass(frozen=True)
class DashboardRule:
    """A rule that has a dashboard. ``flow`` is the folder of the rule file: ``rights``, ``royalties``.

    ``asks``: people are asked a question; ``writes``: Consonance may be written to.
    """

    name: str
    flow: str
    owner: str
    asks: bool = True
    writes: bool = True


def read_rule_files(folder: Path = RULES_FOLDER) -> list[DashboardRule]:
    """Raises ValueError where the folder is not a rulebook."""
    book, faults = load(read_folder(folder))
    if book is None:
        raise ValueError(f"{folder} does not load: {faults[0]}")
    rules = sorted(book.rules.values(), key=lambda rule: rule.name)
    return [_dashboard_rule(rule) for rule in rules]


def _dashboard_rule(rule: Rule) -> DashboardRule:
    asks = any(True for step in rule.steps for _ in questions_of(step))
    return DashboardRule(rule.name, Path(rule.location.file).parent.name, rule.owner, asks, may_write(rule))


def by_owner(rules: Iterable[DashboardRule]) -> dict[str, list[DashboardRule]]:
    owners: defaultdict[str, list[DashboardRule]] = defaultdict(list)
    for rule in rules:
        owners[rule.owner].append(rule)
    return dict(sorted(owners.items()))
