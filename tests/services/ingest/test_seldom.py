"""Log lines that strangers can cause."""

import structlog

from services.ingest.seldom import EVERY_SECONDS, SeldomLog


def test_it_is_said_at_once_and_then_once_a_minute_with_the_count_of_all() -> None:
    with structlog.testing.capture_logs() as lines:
        log = SeldomLog("signature.refused")
        for second in range(1000, 1150):
            log.report(second, sender="x")
    assert [(line["event"], line["times"]) for line in lines] == [("signature.refused", n) for n in (1, 60, 60)]


def test_each_subject_is_counted_for_itself() -> None:
    with structlog.testing.capture_logs() as lines:
        log = SeldomLog("number.not_ours")
        for about in "abab":
            log.report(0.0, about, 2, name=about)
    assert [(line["name"], line["times"]) for line in lines] == [("a", 2), ("b", 2)]


def test_any_number_of_subjects_is_bounded_in_lines_and_memory() -> None:
    with structlog.testing.capture_logs() as lines:
        log = SeldomLog("number.not_ours")
        for number in range(10_000):
            log.report(0.0, str(number))
        log.report(EVERY_SECONDS, "a")
    assert len(lines) == 66
    assert {line["times"] for line in lines} == {1}
