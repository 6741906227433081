"""What is spent of a rate: by when a request was written, and not by when it was claimed."""

from datetime import timedelta

from services.dispatcher.limits import Limits
from services.dispatcher.rates import Rates
from tests.services.dispatcher.making import NOON, seconds


def _claimed(count: int) -> Rates:
    rates = Rates(Limits())
    for number in range(count):
        rates.claim("main", f"p{number}", NOON)
    return rates


def test_what_is_claimed_takes_room_until_it_is_written_and_a_second_after() -> None:
    rates, later = _claimed(80), NOON + seconds(5)
    assert rates.room("main", NOON + seconds(4), 100) == 0
    for number in range(80):
        rates.wrote("main", f"p{number}", later)
    assert rates.room("main", later + seconds(0.9), 100) == 0
    assert rates.room("main", later + seconds(1), 100) == 80


def test_what_is_never_written_gives_its_room_back() -> None:
    rates = _claimed(80)
    rates.gave_up("main")
    assert rates.room("main", NOON, 100) == 1


def test_a_person_is_paid_back_from_when_the_request_was_written() -> None:
    rates = _claimed(1)
    rates.wrote("main", "p0", NOON + seconds(30))
    assert list(rates.pair("main", "p0")) == [NOON + seconds(30)]


def test_a_take_over_remembers_what_is_over() -> None:
    rates = Rates(Limits())
    for number in range(80):
        rates.spend("main", f"p{number}", NOON)
    assert rates.next_room("main", NOON) == NOON + timedelta(seconds=1)
