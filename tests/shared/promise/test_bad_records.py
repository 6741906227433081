"""Records nobody can use are parked, each with its reason; all others take effect once, in order."""

from collections import Counter

import pytest

from shared.contracts.topics import parked_topic
from tests.shared.promise.stand import Stand, event, until

pytestmark = pytest.mark.integration
KEY = "person-1"
RAW_KEY = KEY.encode()


async def parked_reasons(stand: Stand) -> Counter[str]:
    return Counter(row["reason"] for row in await stand.rows("select reason from rules.parked"))


async def test_the_bad_are_parked_and_the_rest_goes_on(stand: Stand) -> None:
    bad = {10: "unfit", 20: "fault", 30: "nul", 31: "unfit"}
    events = [event(KEY, number, bad.get(number, "say")) for number in range(50)]
    records = [(RAW_KEY, one.to_bytes(), [("odd", b"\xff\x00")]) for one in events]
    newer = events[0].to_bytes().replace(b"messages.message.withdrawn.v1", b"messages.message.withdrawn.v9")
    records[5:5] = [(RAW_KEY, b"\xff no JSON", []), (RAW_KEY, newer, [])]
    await stand.produce_raw([*records, (RAW_KEY, None, [])])
    await stand.house()
    await until(lambda: stand.reached(46))
    assert [event_id for event_id, _ in await stand.effects()] == [
        one.id for number, one in enumerate(events) if number not in bad
    ]
    assert await parked_reasons(stand) == {
        "malformed": 1, "newer_kind": 1, "unusable": 2, "unexpected": 1, "database_refused": 1,
    }  # fmt: skip
    told = [dict(record.headers) for record in await stand.read(parked_topic("rules").name)]
    assert sorted(headers["stet-reason"] for headers in told) == sorted(
        reason.encode() for reason in (await parked_reasons(stand)).elements()
    )


async def test_no_sentence_quotes_the_database(stand: Stand) -> None:
    await stand.produce([event(KEY, 1, "nul"), event(KEY, 2)])
    await stand.house()
    await until(lambda: stand.reached(1))
    (row,) = await stand.rows("select sentence, value from rules.parked")
    assert KEY not in row["sentence"]
    assert "house.py" in row["sentence"]


async def test_what_comes_twice_or_late_takes_effect_once(stand: Stand) -> None:
    events = [event(KEY, number) for number in range(30)]
    await stand.produce([*events[:20], *events[10:], *reversed(events), events[29], events[29]])
    await stand.house()
    await until(stand.all_read)
    assert [event_id for event_id, _ in await stand.effects()] == [one.id for one in events]


async def test_an_event_is_parked_once_however_often_it_comes(stand: Stand) -> None:
    await stand.produce([event(KEY, 1, "unfit"), event(KEY, 2), event(KEY, 1, "unfit"), event(KEY, 3)])
    await stand.house()
    await until(lambda: stand.reached(2))
    assert await parked_reasons(stand) == {"unusable": 1}


async def test_a_row_of_refusals_halts_loudly(stand: Stand) -> None:
    await stand.produce(event(KEY, number, "fault") for number in range(40))
    house = await stand.house()
    assert await house.ended() == 1
    assert "records in a row were refused" in house.tail(40)
    assert await parked_reasons(stand) == {"unexpected": 20}
