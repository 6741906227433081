"""The metrics of rules: a growth that an alert asks for is seen from the first one on."""

import re

import pytest

from services.rules.metrics import RulesMetrics
from shared.runtime.metrics import exposition


@pytest.mark.parametrize(
    ("rule", "reason"),
    [("rights", "started"), ("rights", "too_many_starts"), ("none", "braked"), ("none", "strangers_braked")],
)
def test_a_series_whose_growth_is_an_alert_begins_with_0(rule: str, reason: str) -> None:
    RulesMetrics().set_revision("r1", None, ["rights"])
    text = exposition("rules", "")[0].decode()
    found = re.findall(rf'stet_decisions_total{{reason="{reason}",rule="{rule}",service="rules"}} (\S+)', text)
    assert found == ["0.0"]
