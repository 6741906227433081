"""Metrics are declared in one way."""

import re
from collections import defaultdict
from pathlib import Path

from shared.contracts.topics import SERVICES

ROOT = Path(__file__).parents[2]
METRIC = re.compile(r'(?:counter|gauge|histogram)\(\s*f?"([a-z_{}.]+)",\s*"([^"]+)"')


def test_a_metric_is_declared_in_one_way_wherever_it_is_declared() -> None:
    """Two texts for one name are two collectors, and the second cannot be registered beside the first."""
    declared: dict[str, set[str]] = defaultdict(set)
    for file in (*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")):
        for name, sentence in METRIC.findall(file.read_text()):
            for service in SERVICES:
                declared[re.sub(r"\{[a-z_.]+\}", service, name)].add(sentence)
    assert declared, "the pattern finds them"
    assert {name for name, sentences in declared.items() if len(sentences) > 1} == set()
