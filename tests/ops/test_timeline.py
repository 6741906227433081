"""The order of a time line: by time, and never what followed before what it followed from."""

from datetime import UTC, datetime, timedelta

from ops.timeline import Entry, EntryStage, in_order

NOON = datetime(2027, 3, 3, 12, 0, tzinfo=UTC)


def entry(what: str, seconds: float, stage: EntryStage, about: str = "m1") -> Entry:
    return Entry(NOON + timedelta(seconds=seconds), "dispatcher.messages", what, "", about, stage=stage)


def test_a_message_that_whatsapp_reports_as_read_within_the_second_was_queued_and_tried_before() -> None:
    entries = [
        entry("message queued", 5.2, EntryStage.QUEUED),
        entry("message read", 5, EntryStage.REPORTED),
        entry("answered approve", 5, EntryStage.ANSWERED),
        entry("attempt 1", 5.4, EntryStage.ATTEMPTED),
        entry("message queued", 5.3, EntryStage.QUEUED, "m2"),
    ]
    ordered = [(each.what, each.about) for each in in_order(entries)]
    assert ordered == [
        ("message queued", "m1"),
        ("message queued", "m2"),
        ("attempt 1", "m1"),
        ("message read", "m1"),
        ("answered approve", "m1"),
    ]


def test_an_answer_of_before_the_newest_state_stands_before_it() -> None:
    entries = [
        entry("message read", 9, EntryStage.REPORTED),
        entry("answered approve", 7, EntryStage.ANSWERED),
        entry("message queued", 1, EntryStage.QUEUED),
    ]
    assert [each.what for each in in_order(entries)] == ["message queued", "answered approve", "message read"]


def test_entries_of_one_instant_stand_in_the_order_of_cause_and_effect() -> None:
    entries = [
        entry("chain ended: answered", 1, EntryStage.ENDED, "c1"),
        entry("answered approve", 1, EntryStage.ANSWERED),
        entry("message queued", 1, EntryStage.QUEUED),
        entry("chain of permission started", 1, EntryStage.BEGUN, "c1"),
    ]
    assert [each.what for each in in_order(entries)] == [
        "chain of permission started",
        "message queued",
        "answered approve",
        "chain ended: answered",
    ]
