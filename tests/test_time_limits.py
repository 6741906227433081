"""The limit of a test counts for the test itself; setting it up has longer."""

import signal

import pytest

_LIMIT = 50.0


def seconds_left() -> float:
    """Until pytest-timeout interrupts this process."""
    return signal.getitimer(signal.ITIMER_REAL)[0]


@pytest.fixture
def left_at_setup() -> float:
    return seconds_left()


@pytest.mark.timeout(_LIMIT)
def test_setting_up_has_longer_than_the_test(left_at_setup: float) -> None:
    assert left_at_setup > 2 * _LIMIT
    assert 0 < seconds_left() <= _LIMIT


def test_a_test_without_a_marker_has_the_limit_of_all(left_at_setup: float, pytestconfig: pytest.Config) -> None:
    limit = pytestconfig.option.timeout or float(pytestconfig.getini("timeout"))
    assert left_at_setup > limit
    assert 0 < seconds_left() <= limit
