"""Over virtual hours and days, what the planner lets through breaks no limit of Meta's and uses nearly all of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatcher.planner import Postpone, SendContext, SendNow, plan_send
from services.dispatcher.rate_limits import RateLimit, RateUsage, SendLimits
from services.dispatcher.reasons import MessageReason
from shared.contracts.messages import Lane
from tests.services.dispatcher.builders import NOON, REACHED, queued_message, seconds
from tests.services.dispatcher.meta_limits import MetaLimits

_NEVER = NOON + timedelta(days=400)


@dataclass
class _VirtualSender:
    """Sends like the claimer, without a database."""

    limits: SendLimits
    meta: MetaLimits
    usage: RateUsage = field(init=False)
    refused: dict[MessageReason, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.usage = RateUsage(self.limits)
        self.usage.portfolio.limit = self.meta.people

    def try_to_send(
        self, line: str, person: str, lane: Lane, now: datetime, *, is_open: bool = False
    ) -> datetime | None:
        """None where it went; else until when it has to wait."""
        message = queued_message(person_id=person, line=line, lane=lane, requested_at=now, expires_at=_NEVER)
        context = SendContext(
            person_known=True,
            address=REACHED,
            window_opened_at=now if is_open else None,
            portfolio_free_at=None if is_open else self.usage.portfolio.free_at(person, lane, now),
            number_sends=self.usage.number(line, now),
            pair_sends=self.usage.pair(line, person),
        )
        match plan_send(message, context, self.usage.limits, now):
            case SendNow():
                self.usage.reserve(line, person, now)
                self.usage.confirm(line, person, now)
                if not is_open:
                    self.usage.portfolio.record(person, now)
                self.meta.receive(line, person, now, outside_window=not is_open)
                return None
            case Postpone(until, reason):
                self.refused[reason] = self.refused.get(reason, 0) + 1
                return until
            case other:
                raise AssertionError(other)


@pytest.mark.parametrize(
    ("per_second", "lane"), [(20, Lane.BULK), (80, Lane.BULK), (80, Lane.NORMAL), (1000, Lane.BULK)]
)
def test_a_full_queue_uses_nearly_all_of_a_numbers_rate(per_second: int, lane: Lane) -> None:
    meta = MetaLimits({"main": per_second})
    sender = _VirtualSender(SendLimits(numbers={"main": RateLimit(per_second, seconds(1))}), meta)
    length, person = 3 if per_second > 100 else 20, 0
    for step in range(length * 50):  # the leader looks every 20 ms while a rate is full
        now = NOON + seconds(step / 50)
        while sender.try_to_send("main", f"p{person}", lane, now) is None:
            person += 1
    assert meta.violations == []
    assert meta.sent >= 0.95 * per_second * length


def test_a_full_queue_reaches_nearly_all_of_the_people_a_portfolio_may_over_ten_days() -> None:
    limit, days = 250, 10
    meta = MetaLimits({"main": 80, "other": 80}, people=limit)
    sender = _VirtualSender(SendLimits(), meta)
    people = 2 * limit * days
    waiting = [(NOON, number) for number in range(people)]  # a heap
    while waiting[0][0] < NOON + timedelta(days=days):
        due, number = heappop(waiting)
        until = sender.try_to_send(("main", "other")[number % 2], f"p{number}", Lane.BULK, due)
        if until is not None:
            heappush(waiting, (until, number))
    assert meta.violations == []
    assert meta.sent >= 0.95 * limit * days
    # a place is promised to one person alone, so a bulk is not judged again as a whole whenever a place is free
    assert sender.refused[MessageReason.PORTFOLIO_LIMIT] < 3 * people


def test_the_bulk_leaves_a_share_of_the_people_to_alerts() -> None:
    meta = MetaLimits({"main": 80}, people=2000)
    sender = _VirtualSender(SendLimits(numbers={"main": RateLimit(10_000, seconds(1))}), meta)
    meta.throughput["main"] = 10_000
    bulk = [sender.try_to_send("main", f"p{number}", Lane.BULK, NOON) for number in range(3000)]
    assert sum(until is None for until in bulk) == 1950
    assert all(sender.try_to_send("main", f"a{number}", Lane.CRITICAL, NOON) is None for number in range(50))
    assert sender.try_to_send("main", "one too many", Lane.CRITICAL, NOON) is not None
    assert sender.try_to_send("main", "p1", Lane.BULK, NOON) is None  # has a place already
    assert sender.try_to_send("main", "p2999", Lane.BULK, NOON, is_open=True) is None  # an answer needs none
    assert meta.violations == []


_LANES = st.sampled_from(list(Lane))
_SENDS = st.lists(
    st.tuples(
        st.integers(0, 7_200_000),  # milliseconds since the last
        st.integers(0, 12),  # person
        st.sampled_from(["main", "other"]),
        _LANES,
        st.booleans(),
    ),
    min_size=1,
    max_size=120,
)


@settings(max_examples=60)
@given(_SENDS, st.sampled_from([None, 2, 5]), st.integers(1, 30))
def test_no_order_of_messages_breaks_a_limit(
    sends: list[tuple[int, int, str, Lane, bool]], people: int | None, burst: int
) -> None:
    meta = MetaLimits({"main": 3, "other": 80}, people=people)
    sender = _VirtualSender(SendLimits(numbers={"main": RateLimit(3, seconds(1))}), meta)
    now = NOON
    for gap, person, line, lane, is_open in sends:
        now += timedelta(milliseconds=gap)
        for _ in range(burst if gap % 5 == 0 else 1):
            sender.try_to_send(line, f"p{person}", lane, now, is_open=is_open)
    assert meta.violations == []


def test_a_learned_rate_counts_from_the_next_send_and_forgets_none() -> None:
    usage = RateUsage(SendLimits())
    for number in range(80):
        usage.record("main", f"p{number}", NOON)
    usage.set_rate("main", RateLimit(1000, seconds(1)))
    assert usage.capacity("main", NOON, 2000) == 920
    usage.set_rate("main", RateLimit(20, seconds(1)))
    assert usage.capacity("main", NOON, 2000) <= 0
    assert usage.free_at("main", NOON) == NOON + seconds(1)
