"""A message that must wait leaves within the hours of its person, whatever it waited for."""

from datetime import datetime, timedelta, timezone

import orjson
import pytest

from services.dispatcher.planner import next_opening, open_time
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.messages import AmendMessage, OpenSpan, TemplateCall
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from tests.services.dispatcher.builders import NOON
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    person_observed,
    send_request,
    template_update,
)

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_PASSES = 135000  # an error that may pass
_CLOSES = NOON + 6 * _HOUR
_OPENS = NOON + 21 * _HOUR
_TWO_DAYS = [NOON - 3 * _HOUR, _CLOSES, _OPENS, _CLOSES + _DAY]


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        (NOON - 4 * _HOUR, NOON - 3 * _HOUR),
        (NOON - 3 * _HOUR, NOON - 3 * _HOUR),
        (_CLOSES - timedelta(seconds=1), _CLOSES - timedelta(seconds=1)),
        (_CLOSES, _OPENS),
        (NOON + 15 * _HOUR, _OPENS),
        (_CLOSES + _DAY, None),
    ],
)
def test_a_message_may_leave_from_the_opening_until_before_the_closing(now: datetime, opening: datetime | None) -> None:
    assert next_opening(_TWO_DAYS, now) == opening


def test_without_hours_a_message_may_leave_at_any() -> None:
    assert next_opening((), NOON) == NOON


def test_only_open_time_counts() -> None:
    assert open_time(_TWO_DAYS, NOON, _CLOSES + 3 * _HOUR) == 6 * _HOUR
    assert open_time(_TWO_DAYS, NOON, _OPENS + _HOUR) == 7 * _HOUR
    assert open_time((), NOON, _OPENS) == 21 * _HOUR
    assert open_time(_TWO_DAYS, NOON, _CLOSES) == 6 * _HOUR
    assert open_time(_TWO_DAYS, NOON, _CLOSES + _DAY) == 15 * _HOUR
    assert open_time(_TWO_DAYS, _CLOSES, _OPENS) == timedelta()
    assert open_time(_TWO_DAYS, NOON, NOON - _HOUR) == timedelta()


# ------------------------------------------------------------------ with a real database and the simulator


def _hours(dispatcher: DispatcherUnderTest) -> tuple[OpenSpan, ...]:
    """Open for another hour, and again for nine hours from tomorrow."""
    now = dispatcher.clock.now()
    return OpenSpan(opens=now, closes=now + _HOUR), OpenSpan(opens=now + 16 * _HOUR, closes=now + 25 * _HOUR)


@pytest.mark.integration
async def test_a_message_released_at_night_waits_for_the_open_hours(dispatcher: DispatcherUnderTest) -> None:
    hours = _hours(dispatcher)
    await dispatcher.handle(template_update(dispatcher.clock.now(), "PAUSED"), person_observed())
    await dispatcher.handle(send_request(open_hours=hours))
    await dispatcher.wait_for_reason("template_paused")
    night = dispatcher.advance_clock(9 * _HOUR)
    await dispatcher.handle(template_update(night, "APPROVED"))
    await dispatcher.wait_for_reason("quiet_hours")
    assert (await dispatcher.parts.monitor.idle()).next_due == hours[1].opens
    dispatcher.clock.set(hours[1].opens)
    await dispatcher.wait_for_state("accepted")


@pytest.mark.integration
async def test_a_send_that_fails_in_the_night_is_repeated_in_the_morning_and_a_reply_passes_it(
    dispatcher: DispatcherUnderTest,
) -> None:
    hours = _hours(dispatcher)
    await dispatcher.handle(person_observed(), send_request(open_hours=hours, chain_id="c1"))
    await dispatcher.wait_for_state("accepted")
    night = dispatcher.advance_clock(9 * _HOUR)
    wamid = Wamid(await dispatcher.pool.fetchval("select wamid from messages"))
    failed = StatusReported(wamid=wamid, status=DeliveryStatus.FAILED, at=night, code=_PASSES, callback="m1.1")
    await dispatcher.handle(failed)
    await dispatcher.wait_for_reason("refused_for_now")
    dispatcher.advance_clock(timedelta(minutes=2))
    await dispatcher.wait_for_reason("quiet_hours")
    await dispatcher.handle(send_request("m2", chain_id="c2"))
    await dispatcher.wait_for_state("accepted", "m2")
    assert await dispatcher.state() == "waiting"
    dispatcher.clock.set(hours[1].opens)
    await dispatcher.wait_for_state("accepted")
    assert len(await dispatcher.sent()) == 3


@pytest.mark.integration
async def test_hours_that_are_over_keep_a_message_until_it_expires(dispatcher: DispatcherUnderTest) -> None:
    now = dispatcher.clock.now()
    over = OpenSpan(opens=now - 2 * _HOUR, closes=now - _HOUR)
    await dispatcher.handle(person_observed(), send_request(open_hours=(over,), expires_at=now + _HOUR))
    await dispatcher.wait_for_reason("quiet_hours")
    dispatcher.advance_clock(_HOUR)
    await dispatcher.wait_for_state("dropped")


@pytest.mark.integration
async def test_a_night_is_no_delay_and_no_age(dispatcher: DispatcherUnderTest) -> None:
    now, store = dispatcher.clock.now(), dispatcher.parts.handler.store
    await dispatcher.handle(person_observed(), send_request(open_hours=_hours(dispatcher)[1:]))
    await dispatcher.wait_for_reason("quiet_hours")
    waiting = [await store.waiting_by_lane(dispatcher.pool, now + hours * _HOUR) for hours in (9, 17)]
    assert [count for counts in waiting for count, _ in counts.values()] == [1, 1]
    assert [oldest is None for counts in waiting for _, oldest in counts.values()] == [True, False]


@pytest.mark.integration
async def test_of_messages_that_come_together_each_is_kept_with_its_own_hours(dispatcher: DispatcherUnderTest) -> None:
    now = dispatcher.clock.now()
    today = OpenSpan(opens=now + timedelta(microseconds=7), closes=now + _HOUR)
    paris = timezone(_HOUR)
    abroad = OpenSpan(opens=(now + _DAY).astimezone(paris), closes=(now + _DAY + _HOUR).astimezone(paris))
    asked: list[tuple[OpenSpan, ...]] = [(today,), (), (abroad,), (today,), (today, abroad)]
    requests = [send_request(f"m{place}", f"p{place}", open_hours=spans) for place, spans in enumerate(asked)]
    await dispatcher.handle(*requests)
    rows = await dispatcher.pool.fetch("select open_hours from messages order by message_id")
    kept = [[instant for span in spans for instant in (span.opens, span.closes)] or None for spans in asked]
    assert [row["open_hours"] for row in rows] == kept


@pytest.mark.integration
async def test_of_messages_that_are_planned_together_each_waits_for_its_own_hours(
    dispatcher: DispatcherUnderTest,
) -> None:
    now = dispatcher.clock.now()
    opens = [now + hours * _HOUR for hours in (3, 1, 2)]
    await dispatcher.handle(
        *(person_observed(f"p{place}", f"+44163296000{place}") for place in range(3)),
        *(
            send_request(f"m{place}", f"p{place}", open_hours=(OpenSpan(opens=at, closes=at + _HOUR),))
            for place, at in enumerate(opens)
        ),
    )
    for place in range(3):
        await dispatcher.wait_for_reason("quiet_hours", f"m{place}")
    rows = await dispatcher.pool.fetch("select not_before from messages order by message_id")
    assert [row["not_before"] for row in rows] == opens


@pytest.mark.integration
async def test_other_hours_let_a_message_go_that_waits_for_its_hours(dispatcher: DispatcherUnderTest) -> None:
    now = dispatcher.clock.now()
    await dispatcher.handle(person_observed(), send_request(open_hours=_hours(dispatcher)[1:]))
    await dispatcher.wait_for_reason("quiet_hours")
    await dispatcher.handle(_amendment(OpenSpan(opens=now, closes=now + _HOUR)))
    await dispatcher.wait_for_state("accepted")


@pytest.mark.integration
async def test_other_hours_hold_a_message_that_waited_for_its_template(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.handle(
        template_update(dispatcher.clock.now(), "REJECTED"),
        person_observed(),
        send_request(open_hours=_hours(dispatcher)),
    )
    await dispatcher.wait_for_reason("template_rejected")
    opens = dispatcher.clock.now() + 5 * _HOUR
    await dispatcher.handle(_amendment(OpenSpan(opens=opens, closes=opens + _HOUR)))
    await dispatcher.handle(template_update(dispatcher.advance_clock(timedelta(minutes=1)), "APPROVED"))
    await dispatcher.wait_for_reason("quiet_hours")
    assert await dispatcher.pool.fetchval("select not_before from messages") == opens
    dispatcher.clock.set(opens)
    await dispatcher.wait_for_state("accepted")


@pytest.mark.integration
async def test_other_hours_of_a_message_that_was_sent_or_is_not_known_change_nothing(
    dispatcher: DispatcherUnderTest,
) -> None:
    await dispatcher.handle(person_observed(), send_request())
    await dispatcher.wait_for_state("accepted")
    later = OpenSpan(opens=dispatcher.clock.now() + _HOUR, closes=dispatcher.clock.now() + 2 * _HOUR)
    await dispatcher.handle(_amendment(later), _amendment(later, "unknown"))
    assert [row["open_hours"] for row in await dispatcher.pool.fetch("select open_hours from messages")] == [None]


@pytest.mark.integration
async def test_other_hours_that_come_before_their_message_hold_it(dispatcher: DispatcherUnderTest) -> None:
    """Two ids of the person were merged: the amendment has come by another partition than the request."""
    now = dispatcher.clock.now()
    later = OpenSpan(opens=now + 5 * _HOUR, closes=now + 6 * _HOUR)
    await dispatcher.handle(_amendment(OpenSpan(opens=now, closes=now + _HOUR)))
    await dispatcher.handle(_amendment(later))
    await dispatcher.handle(person_observed(), send_request(open_hours=_hours(dispatcher)))
    await dispatcher.wait_for_reason("quiet_hours")
    assert await dispatcher.pool.fetchval("select not_before from messages") == later.opens
    assert await dispatcher.pool.fetchval("select count(*) from early_amendments") == 0


@pytest.mark.integration
@pytest.mark.parametrize("is_early", [False, True])
async def test_an_older_amendment_that_comes_late_changes_only_what_no_newer_one_has(
    dispatcher: DispatcherUnderTest, *, is_early: bool
) -> None:
    """An operator replays a parked one, the topic is read again, or two ids of the person have two partitions."""
    now = dispatcher.clock.now()
    hours = tuple(OpenSpan(opens=now + place * _HOUR, closes=now + 30 * _HOUR) for place in range(4))
    request = send_request(open_hours=hours[3:])
    newest = _amendment(hours[2]).replace(number=7)
    older = _amendment(hours[0]).replace(fallback=_PLAIN, marketing_consent=True, number=5)
    oldest = _amendment(hours[1]).replace(marketing_consent=False, number=4)
    batches = [[newest, older], [oldest], [older], [newest.replace(open_hours=None, marketing_consent=False)], [older]]
    if not is_early:
        await dispatcher.handle(person_observed(), request)
    for batch in batches:
        await dispatcher.handle(*batch)
    if is_early:
        await dispatcher.handle(person_observed(), request)
    row = await dispatcher.pool.fetchrow("select open_hours, content::text from messages")
    call = orjson.loads(row["content"])["template"]
    assert (row["open_hours"][0], call["fallback"]["name"], call["marketing_consent"]) == (
        hours[2].opens,
        _PLAIN.name,
        False,
    )


@pytest.mark.integration
async def test_amendments_without_a_number_count_as_they_come(dispatcher: DispatcherUnderTest) -> None:
    now = dispatcher.clock.now()
    hours = tuple(OpenSpan(opens=now + place * _HOUR, closes=now + 30 * _HOUR) for place in range(1, 4))
    await dispatcher.handle(person_observed(), send_request(open_hours=hours[2:]))
    await dispatcher.handle(_amendment(hours[0]).replace(number=3))
    await dispatcher.handle(_amendment(hours[1]))
    assert await dispatcher.pool.fetchval("select open_hours[1] from messages") == hours[1].opens
    await dispatcher.handle(_amendment(hours[2]).replace(number=2))
    assert await dispatcher.pool.fetchval("select open_hours[1] from messages") == hours[1].opens


_PLAIN = TemplateCall(name="plain_request_v1", language="en", parameters={"person": "Ada"})


def _amendment(hours: OpenSpan, message_id: str = "m1") -> AmendMessage:
    return AmendMessage(message_id=MessageId(message_id), person_id=PersonId("p1"), open_hours=(hours,))
