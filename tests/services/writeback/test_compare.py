"""Compare-and-set, case by case: what is applied, what may be written, what is in conflict, and why."""

from datetime import date
from typing import Any

import pytest

from services.writeback.changes import Change, changes_of
from services.writeback.compare import judge
from services.writeback.judgement import Judgement, Known, Reason, Standing
from services.writeback.ways import Seen
from shared.contracts.consonance import MetadataField
from shared.contracts.writes import AcknowledgementKind, Input, RecordAcknowledgement, RequestWrite
from tests.services.writeback.samples import (
    NEW_SUBTITLE,
    NOW,
    SUBTITLE,
    TENANT,
    follow_up,
    item,
    metadata,
    milestone,
    pitch,
    request,
)

APPLIED, CLEAR, CONFLICT = Standing
NOTHING = Known()


def change_of(asked: Input) -> Change:
    write = request(asked).data
    assert isinstance(write, RequestWrite)
    return changes_of(TENANT, write)[0]


def judged(asked: Input, seen: dict[str, Any] | None, known: Known = NOTHING, *, found: bool = True) -> Judgement:
    look = None if seen is None else Seen(found=found, values=seen)
    return judge(change_of(asked), look, known, frozenset())


@pytest.mark.parametrize(
    ("current", "standing"),
    [
        (SUBTITLE, CLEAR),
        (f"  {SUBTITLE}\r\n", CLEAR),
        (NEW_SUBTITLE, APPLIED),
        (f"{NEW_SUBTITLE} ", APPLIED),
        ("Somebody else’s", CONFLICT),
        (None, CONFLICT),
    ],
)
def test_a_subtitle_is_written_only_over_what_was_shown(current: str | None, standing: Standing) -> None:
    assert judged(metadata(), {"current": current}).standing is standing


def test_an_absent_baseline_is_an_empty_one() -> None:
    assert judged(metadata(item(old=None)), {"current": ""}).standing is CLEAR


def test_what_the_person_was_shown_is_a_baseline_whatever_the_sender_hashed() -> None:
    odd = item().replace(baseline_hash="of another kind")
    assert judged(metadata(odd), {"current": SUBTITLE}).standing is CLEAR


def test_a_record_that_is_gone_is_a_conflict() -> None:
    assert judged(metadata(), {"current": None}, found=False).reason is Reason.RECORD_MISSING


COPY = item(new="New copy", old="Old copy", field=MetadataField.COVER_COPY)


@pytest.mark.parametrize(
    ("texts", "standing", "stale", "create"),
    [
        (["<p>Old  copy</p>"], CLEAR, (1,), True),
        (["<p>New copy</p>"], APPLIED, (), True),
        (["<p>Old copy</p>", "<p>New copy</p>"], CLEAR, (1,), False),
        (["<p>Other copy</p>", "<p>New copy</p>"], CONFLICT, (), True),
        (["<p>Old copy</p>", "<p>Other</p>"], CONFLICT, (), True),
        ([], CONFLICT, (), True),
    ],
)
def test_a_text_is_replaced_and_never_doubled(
    texts: list[str], standing: Standing, stale: tuple[int, ...], *, create: bool
) -> None:
    verdict = judged(metadata(COPY), {"current": texts, "ids": list(range(1, len(texts) + 1))})
    assert (verdict.standing, verdict.stale, verdict.create) == (standing, stale, create)


def test_the_markdown_a_text_was_written_in_counts_as_the_text() -> None:
    bold = item(new="**New** copy", old="Old copy", field=MetadataField.COVER_COPY)
    seen = {"current": ["<p><strong>New</strong> copy</p>"], "source": ["**New** copy"], "ids": [3]}
    assert judged(metadata(bold), seen).standing is APPLIED


@pytest.mark.parametrize(
    ("current", "asked", "standing"),
    [
        (None, AcknowledgementKind.DELIVERED, CLEAR),
        ("delivered", AcknowledgementKind.READ, CLEAR),
        ("read", AcknowledgementKind.ACKNOWLEDGED, CLEAR),
        ("acknowledged", AcknowledgementKind.READ, APPLIED),
        ("acknowledged", AcknowledgementKind.ACKNOWLEDGED, APPLIED),
        ("acknowledged", AcknowledgementKind.DISPUTED, CLEAR),
        ("disputed", AcknowledgementKind.ACKNOWLEDGED, CONFLICT),
        ("disputed", AcknowledgementKind.READ, APPLIED),
        ("disputed", AcknowledgementKind.DISPUTED, APPLIED),
    ],
)
def test_an_acknowledgement_only_rises(current: str | None, asked: AcknowledgementKind, standing: Standing) -> None:
    write = RecordAcknowledgement(document_id="S-1", acknowledgement=asked, at=NOW)
    assert judged(write, {"kind": current}, found=current is not None).standing is standing


def test_a_pitch_is_created_once_per_dedupe_key() -> None:
    assert judged(pitch(), {"reference": None}, found=False).standing is CLEAR
    known = judged(pitch(), {"reference": "PITCH-3"})
    assert (known.standing, known.reference) == (APPLIED, "PITCH-3")
    assert judged(pitch(), None, Known(by_hand="PITCH-3")).reference == "PITCH-3"


def test_a_message_is_appended_once() -> None:
    assert judged(follow_up(), {"message_ids": ["wamid.1"]}).standing is CLEAR
    assert judged(follow_up(), {"message_ids": ["wamid.1", "wamid.2"]}).standing is APPLIED
    assert judged(follow_up(), {"message_ids": None}, found=False).reason is Reason.RECORD_MISSING


def test_a_milestone_that_is_done_stays_done_on_its_day() -> None:
    assert judged(milestone(), {"done_on": None}).value == "2027-03-02"
    assert judged(milestone(), {"done_on": "2027-03-02"}).detail is None
    other = judged(milestone(date(2027, 3, 3)), {"done_on": "2027-03-02"})
    assert (other.standing, other.detail) == (APPLIED, "2027-03-02")
