"""Whose signature counts."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from standardwebhooks import Webhook

from services.ingest.signatures import SignatureCounts, looks_like_metas, signed_by_meta, signed_for_consonance
from shared.runtime.clock import machine_now

BODY = b'{"entry":[]}'
SECRET, NEXT = "whsec_" + "c2VjcmV0c2VjcmV0", "whsec_" + "bmV4dG5leHRuZXh0"


def meta(secret: bytes, body: bytes = BODY) -> bytes:
    return b"sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()


def consonance(secret: str, at: datetime) -> dict[bytes, bytes]:
    stamp = str(int(at.timestamp()))
    signature = Webhook(secret).sign("m1", datetime.fromtimestamp(int(stamp), UTC), BODY.decode())
    return {b"webhook-id": b"m1", b"webhook-timestamp": stamp.encode(), b"webhook-signature": signature.encode()}


def test_either_secret_counts_while_one_replaces_the_other() -> None:
    assert signed_by_meta(BODY, meta(b"old"), [b"old", b"new"])
    assert signed_by_meta(BODY, meta(b"new"), [b"old", b"new"])


@pytest.mark.parametrize(
    "header", [None, b"", b"sha256=", b"sha1=abc", meta(b"other"), meta(b"old", b"x"), b"sha256=\xe9"]
)
def test_nothing_else_does(header: bytes | None) -> None:
    assert not signed_by_meta(BODY, header, [b"old", b"new"])


def test_consonance_may_sign_with_any_of_its_secrets() -> None:
    now = machine_now()
    for secret in (SECRET, NEXT):
        assert signed_for_consonance(BODY, consonance(secret, now), [SECRET, NEXT])
    assert not signed_for_consonance(BODY + b" ", consonance(SECRET, now), [SECRET])


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_an_old_signature_or_one_from_the_future_does_not_count(age: timedelta) -> None:
    assert not signed_for_consonance(BODY, consonance(SECRET, machine_now() - age), [SECRET])


@pytest.mark.parametrize("wrong", [b"", b"v1", b"v1,???", b"v2,abc", b"v1,\xe9"])
def test_a_broken_signature_does_not_count(wrong: bytes) -> None:
    headers = consonance(SECRET, machine_now()) | {b"webhook-signature": wrong}
    assert not signed_for_consonance(BODY, headers, [SECRET])
    assert not signed_for_consonance(b"\xff", headers, [SECRET])


def counts(*seen: tuple[float, bool]) -> SignatureCounts:
    """(minute, whether it was accepted)."""
    found = SignatureCounts("Sender", "STET_WHATSAPP_APP_SECRETS", "their page")
    for minute, accepted in seen:
        (found.accept if accepted else found.refuse)(minute * 60)
    return found


@pytest.mark.parametrize(
    ("seen", "at", "told"),
    [
        ([], 0, ""),
        ([(0, True)], 1, ""),
        ([(0, False)], 1, "1 refused for their signature, none accepted: STET_WHATSAPP_APP_SECRETS may not be what"),
        ([(0, True), (1, False), (1, False)], 5, "2 refused for their signature, 1 accepted: somebody else's, or"),
        ([(0, False), (4, True)], 11, ""),
        ([(0, False), (300, True)], 300, ""),
        ([(0, True), (50, False)], 51, "1 refused for their signature, none accepted"),
    ],
)
def test_what_was_refused_lately_is_told_and_then_forgotten(
    seen: list[tuple[float, bool]], at: float, told: str
) -> None:
    detail = counts(*seen).detail(at * 60)
    assert told in detail
    assert bool(told) == bool(detail)


def test_a_refusal_says_which_secret_and_where_the_other_one_is() -> None:
    with structlog.testing.capture_logs() as lines:
        counts((0, True), (0, False), (0, False))
    assert [(line["event"], line["setting"], line["where"], line["accepted_lately"]) for line in lines] == [
        ("signature.refused", "STET_WHATSAPP_APP_SECRETS", "their page", 1)
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
def test_a_forgery_may_look_like_whatsapps(header: bytes | None, *, answer: bool) -> None:
    assert looks_like_metas(header) is answer
