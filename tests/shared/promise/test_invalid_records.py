"""Unusable records are parked, each with its reason; all others take effect once, in order."""

from collections import Counter

import pytest

from shared.contracts.topics import parked_topic
from tests.shared.promise.testbed import DeliveryTestbed, event, until

pytestmark = pytest.mark.integration
KEY = "person-1"
RAW_KEY = KEY.encode()


async def parked_reasons(testbed: DeliveryTestbed) -> Counter[str]:
    return Counter(row["reason"] for row in await testbed.rows("select reason from rules.parked"))


async def test_the_bad_are_parked_and_the_rest_goes_on(testbed: DeliveryTestbed) -> None:
    bad = {10: "unfit", 20: "fault", 30: "nul", 31: "unfit"}
    events = [event(KEY, number, bad.get(number, "say")) for number in range(50)]
    records = [(RAW_KEY, one.to_bytes(), [("odd", b"\xff\x00")]) for one in events]
    newer = events[0].to_bytes().replace(b"messages.message.withdrawn.v1", b"messages.message.withdrawn.v9")
    records[5:5] = [(RAW_KEY, b"\xff no JSON", []), (RAW_KEY, newer, [])]
    await testbed.produce_raw([*records, (RAW_KEY, None, [])])
    await testbed.sample()
    await until(lambda: testbed.reached(46))
    assert [event_id for event_id, _ in await testbed.effects()] == [
        one.id for number, one in enumerate(events) if number not in bad
    ]
    assert await parked_reasons(testbed) == {
        "malformed": 1, "newer_kind": 1, "unusable": 2, "unexpected": 1, "database_refused": 1,
    }  # fmt: skip
    told = [dict(record.headers) for record in await testbed.read(parked_topic("rules").name)]
    assert sorted(headers["stet-reason"] for headers in told) == sorted(
        reason.encode() for reason in (await parked_reasons(testbed)).elements()
    )


async def test_no_sentence_quotes_the_database(testbed: DeliveryTestbed) -> None:
    await testbed.produce([event(KEY, 1, "nul"), event(KEY, 2)])
    await testbed.sample()
    await until(lambda: testbed.reached(1))
    (row,) = await testbed.rows("select sentence, value from rules.parked")
    assert KEY not in row["sentence"]
    assert "sample_service.py" in row["sentence"]


async def test_what_comes_twice_or_late_takes_effect_once(testbed: DeliveryTestbed) -> None:
    events = [event(KEY, number) for number in range(30)]
    await testbed.produce([*events[:20], *events[10:], *reversed(events), events[29], events[29]])
    await testbed.sample()
    await until(testbed.all_read)
    assert [event_id for event_id, _ in await testbed.effects()] == [one.id for one in events]


async def test_an_event_is_parked_once_however_often_it_comes(testbed: DeliveryTestbed) -> None:
    await testbed.produce([event(KEY, 1, "unfit"), event(KEY, 2), event(KEY, 1, "unfit"), event(KEY, 3)])
    await testbed.sample()
    await until(lambda: testbed.reached(2))
    assert await parked_reasons(testbed) == {"unusable": 1}


async def test_a_row_of_refusals_halts_loudly(testbed: DeliveryTestbed) -> None:
    await testbed.produce(event(KEY, number, "fault") for number in range(40))
    sample = await testbed.sample()
    assert await sample.ended() == 1
    assert "records in a row were refused" in sample.tail(40)
    assert await parked_reasons(testbed) == {"unexpected": 20}
