"""Valid and invalid signatures, and how rejected ones are counted and logged."""

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from standardwebhooks import Webhook

from services.ingest.signatures import (
    LOG_INTERVAL_SECONDS,
    RateLimitedLog,
    SignatureCounts,
    has_meta_signature_format,
    is_signed_by_meta,
    is_signed_for_consonance,
    seconds_after_signing,
)
from shared.runtime.clock import machine_now

BODY = b'{"entry":[]}'
SECRET, NEXT = "whsec_" + "c2VjcmV0c2VjcmV0", "whsec_" + "bmV4dG5leHRuZXh0"


def meta(secret: bytes, body: bytes = BODY) -> bytes:
    return b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()


def consonance(secret: str, at: datetime) -> dict[bytes, bytes]:
    stamp = str(int(at.timestamp()))
    signature = Webhook(secret).sign("m1", datetime.fromtimestamp(int(stamp), UTC), BODY.decode())
    return {b"webhook-id": b"m1", b"webhook-timestamp": stamp.encode(), b"webhook-signature": signature.encode()}


def test_either_secret_is_valid_while_one_replaces_the_other() -> None:
    assert is_signed_by_meta(BODY, meta(b"old"), [b"old", b"new"])
    assert is_signed_by_meta(BODY, meta(b"new"), [b"old", b"new"])


@pytest.mark.parametrize(
    "header", [None, b"", b"sha256=", b"sha1=abc", meta(b"other"), meta(b"old", b"x"), b"sha256=\xe9"]
)
def test_any_other_header_is_invalid(header: bytes | None) -> None:
    assert not is_signed_by_meta(BODY, header, [b"old", b"new"])


def test_consonance_may_sign_with_any_of_its_secrets() -> None:
    now = machine_now()
    for secret in (SECRET, NEXT):
        assert is_signed_for_consonance(BODY, consonance(secret, now), [SECRET, NEXT])
    assert not is_signed_for_consonance(BODY + b" ", consonance(SECRET, now), [SECRET])


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_an_old_signature_or_one_from_the_future_is_invalid(age: timedelta) -> None:
    assert not is_signed_for_consonance(BODY, consonance(SECRET, machine_now() - age), [SECRET])


@pytest.mark.parametrize("wrong", [b"", b"v1", b"v1,???", b"v2,abc", b"v1,\xe9"])
def test_a_malformed_signature_is_invalid(wrong: bytes) -> None:
    headers = consonance(SECRET, machine_now()) | {b"webhook-signature": wrong}
    assert not is_signed_for_consonance(BODY, headers, [SECRET])
    assert not is_signed_for_consonance(b"\xff", headers, [SECRET])


def counts(*requests: tuple[float, bool]) -> SignatureCounts:
    """(minute, whether it was accepted)."""
    found = SignatureCounts("Sender", "STET_WHATSAPP_APP_SECRETS", "their page")
    for minute, accepted in requests:
        (found.count_accepted if accepted else found.count_rejected)(minute * 60)
    return found


@pytest.mark.parametrize(
    ("requests", "at", "text"),
    [
        ([], 0, ""),
        ([(0, True)], 1, ""),
        ([(0, False)], 1, "1 rejected for their signature, none accepted: STET_WHATSAPP_APP_SECRETS may not be what"),
        ([(0, True), (1, False), (1, False)], 5, "2 rejected for their signature, 1 accepted: from a stranger, or"),
        ([(0, False), (4, True)], 11, ""),
        ([(0, False), (300, True)], 300, ""),
        ([(0, True), (50, False)], 51, "1 rejected for their signature, none accepted"),
    ],
)
def test_recent_rejections_are_reported_and_then_forgotten(
    requests: list[tuple[float, bool]], at: float, text: str
) -> None:
    detail = counts(*requests).detail(at * 60)
    assert text in detail
    assert bool(text) == bool(detail)


def test_a_signature_counts_for_the_ten_minutes_that_begin_with_its_own() -> None:
    found = counts(*[(0.5, False)] * 11)
    assert found.recent(9 * 60 + 59) == (0, 11)
    assert found.recent(10 * 60) == (0, 0)


def test_signatures_are_refused_where_some_came_and_none_was_valid() -> None:
    found, now = counts(), time.monotonic()
    assert not found.are_refused()
    found.count_rejected(now)
    assert found.are_refused()
    found.count_accepted(now)
    assert not found.are_refused()


def test_a_rejection_is_logged_with_the_setting_and_the_senders_location() -> None:
    with structlog.testing.capture_logs() as lines:
        counts((0, True), (0, False), (0, False))
    assert [(line["event"], line["setting"], line["location"], line["recently_accepted"]) for line in lines] == [
        ("signature.rejected", "STET_WHATSAPP_APP_SECRETS", "their page", 1)
    ]


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (None, False),
        (b"sha256=00", False),
        (b"sha1=" + b"0" * 64, False),
        (b"sha256=" + b"aB" * 32, True),
    ],
)
def test_a_header_may_have_the_format_of_metas_signature(header: bytes | None, *, answer: bool) -> None:
    assert has_meta_signature_format(header) is answer


def test_a_warning_is_logged_at_once_and_then_once_a_minute_with_the_count() -> None:
    with structlog.testing.capture_logs() as lines:
        log = RateLimitedLog("signature.rejected")
        for second in range(1000, 1150):
            log.warning(second, sender="x")
    assert [(line["event"], line["times"]) for line in lines] == [("signature.rejected", n) for n in (1, 60, 60)]


def test_each_subject_is_counted_for_itself() -> None:
    with structlog.testing.capture_logs() as lines:
        log = RateLimitedLog("number.ignored")
        for subject in "abab":
            log.warning(0.0, subject, 2, name=subject)
    assert [(line["name"], line["times"]) for line in lines] == [("a", 2), ("b", 2)]


def test_many_subjects_are_bounded_in_lines_and_memory() -> None:
    with structlog.testing.capture_logs() as lines:
        log = RateLimitedLog("number.ignored")
        for number in range(10_000):
            log.warning(0.0, str(number))
        log.warning(LOG_INTERVAL_SECONDS, "a")
    assert len(lines) == 66
    assert {line["times"] for line in lines} == {1}


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (2400, "signed 2400 s ago by the clock of this machine, and 300 s are allowed: is the clock"),
        (-400, "signed 400 s ahead by the clock of this machine, and 300 s are allowed: is the clock"),
        (100, "STET_CONSONANCE_WEBHOOK_SECRETS may not be what the sender signs with (there)"),
        (None, "STET_CONSONANCE_WEBHOOK_SECRETS may not be what the sender signs with (there)"),
    ],
)
def test_a_signature_of_another_time_is_said_to_be_a_matter_of_clocks(age: int | None, said: str) -> None:
    found, now = SignatureCounts("events", "STET_CONSONANCE_WEBHOOK_SECRETS", "there"), machine_now()
    signed = {} if age is None else consonance(SECRET, now - timedelta(seconds=age))
    read = seconds_after_signing(signed, int(now.timestamp()))
    assert read == age
    found.count_rejected(600, read)
    assert said in found.detail(600)


@pytest.mark.parametrize("stamp", [b"", b"soon", b"-5", b"9" * 40, b"\xe9"])
def test_a_time_that_is_none_is_no_age(stamp: bytes) -> None:
    assert seconds_after_signing({b"webhook-timestamp": stamp}, 1.0) is None
