"""The list of failures: each alert is fired by one of them, or it is said why not."""

from dev.observability.alerts import ALERTS
from dev.observability.failures import NOT_CAUSED, QUICK_ROUNDS, SLOW_ROUNDS

_FAILURES = [failure for one in (*QUICK_ROUNDS, *SLOW_ROUNDS) for failure in one.failures]


def test_every_alert_is_fired_by_a_failure_or_it_is_said_why_not() -> None:
    fired = {name for failure in _FAILURES for name, _ in failure.expected}
    assert fired | NOT_CAUSED.keys() == {alert.name for alert in ALERTS}
    assert not fired & NOT_CAUSED.keys()


def test_failures_have_names_of_their_own() -> None:
    assert len({failure.name for failure in _FAILURES}) == len(_FAILURES)
