"""Unusable records are parked, each with its reason; all others take effect once, in order."""

from collections import Counter
from typing import Any

import pytest
from aiokafka.producer import message_accumulator
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

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


class RawName(str):
    """The name of a header whose bytes on the wire are no text, which no client writes by itself."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


class HostileBatchBuilder(_DefaultRecordBatchBuilderPy):  # type: ignore[misc] # aiokafka ships no types
    def append(self, *record: Any, headers: list[tuple[str, bytes | None]], **more: Any) -> Any:
        named = [(RawName(name) if name == "raw" else name, value) for name, value in headers]
        return super().append(*record, headers=named, **more)


async def test_a_header_s_name_or_a_key_of_any_bytes_stops_no_partition(
    testbed: DeliveryTestbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records before it in the same fetched answer take effect, too."""
    monkeypatch.setattr(message_accumulator, "DefaultRecordBatchBuilder", HostileBatchBuilder)
    odd: dict[int, list[tuple[str, Any]]] = {
        10: [("raw", b"\xff")],
        11: [("traceparent", None), ("", b"")],
        12: [("ok", b"1"), ("raw", None)],
    }
    events = [event(KEY, number) for number in range(30)]
    await testbed.produce_raw((RAW_KEY, one.to_bytes(), odd.get(n, [])) for n, one in enumerate(events))
    await testbed.produce_raw([(b"\xff\x00\xfe", b"\xff\x00 no JSON", [("raw", b"\x00")])])
    await testbed.sample()
    await until(lambda: testbed.reached(28))
    await until(testbed.all_read)
    assert [event_id for event_id, _ in await testbed.effects()] == [
        one.id for number, one in enumerate(events) if number not in {10, 12}
    ]
    assert await parked_reasons(testbed) == {"malformed": 3}
    names = {row["sentence"] for row in await testbed.rows("select sentence from rules.parked")}
    assert "the name of a header is not UTF-8" in names


async def test_no_sentence_quotes_the_database(testbed: DeliveryTestbed) -> None:
    await testbed.produce([event(KEY, 1, "nul"), event(KEY, 2)])
    await testbed.sample()
    await until(lambda: testbed.reached(1))
    (row,) = await testbed.rows("select sentence, value from rules.parked")
    assert KEY not in row["sentence"]
    assert "sample_service.py" in row["sentence"]


async def test_repeated_and_late_records_take_effect_once(testbed: DeliveryTestbed) -> None:
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
