"""Entries for the evidence chains that writeback keeps: topic ``evidence.requested``, asked for by rules.

Outcomes of writes have entries, too; writeback adds those itself.
"""

from enum import StrEnum
from typing import Any, ClassVar, assert_never

import msgspec

from shared.contracts.envelope import EventData, kinds_by_type
from shared.contracts.ids import ChainId, ContactId, Line, MessageId, PersonId, RuleId, Wamid, WorkId
from shared.contracts.messages import MessageForm
from shared.contracts.values import Instant, NonEmptyStr, Value
from shared.contracts.whatsapp import MessageKind


class EvidenceKind(StrEnum):
    """The subject of an entry of an evidence chain. Outcomes of writes are added by writeback itself."""

    ASKED = "asked"
    DELIVERY = "delivery"
    ANSWERED = "answered"
    WRITTEN = "written"


class QuestionAsked(Value, tag_field="entry", tag=EvidenceKind.ASKED.value):
    """A question was handed to the dispatcher, with its text as the person reads it inside the window.

    ``buttons`` are titles by answer; ``template`` and ``parameters`` are sent outside the window. ``request`` is the
    event that is asked about as it was known then, with its terms.
    """

    entry: ClassVar[EvidenceKind] = EvidenceKind.ASKED
    question: MessageId
    name: str | None = None
    contact_id: ContactId | None = None
    on_behalf_of: tuple[PersonId, ...] = ()
    line: Line | None = None
    template: str | None = None
    template_version: int | None = None
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    language: str | None = None
    rendered: str | None = None
    buttons: dict[str, str] = msgspec.field(default_factory=dict)
    request: dict[str, Any] = msgspec.field(default_factory=dict)


class QuestionDelivery(Value, tag_field="entry", tag=EvidenceKind.DELIVERY.value):
    """How far WhatsApp says that a question got: ``accepted``, ``delivered``, ``read``, ``failed``, ``withdrawn``, …

    ``wording``, ``template`` (Meta's name) and ``language`` tell how it was sent, as far as the dispatcher reported.
    ``rendered`` is the text that was sent, where that is not the question's own text because the fallback of its
    template went.
    """

    entry: ClassVar[EvidenceKind] = EvidenceKind.DELIVERY
    question: MessageId
    state: NonEmptyStr
    wamid: Wamid | None = None
    wording: MessageForm | None = None
    template: str | None = None
    language: str | None = None
    rendered: str | None = None


class AnswerGiven(Value, tag_field="entry", tag=EvidenceKind.ANSWERED.value):
    """An answer as it came: ``text`` and ``button_id`` are raw, ``answer`` is the path of the answer they stand for.

    ``final`` answers count; others are words, addenda, or answers that lead to a further question.
    """

    entry: ClassVar[EvidenceKind] = EvidenceKind.ANSWERED
    question: MessageId
    answer: NonEmptyStr
    final: bool
    wamid: Wamid
    message_kind: MessageKind | None = None
    text: str | None = None
    button_id: str | None = None
    quoted_id: Wamid | None = None
    filename: str | None = None
    name: str | None = None
    contact_id: ContactId | None = None
    on_behalf_of: tuple[PersonId, ...] = ()


EvidenceContent = QuestionAsked | QuestionDelivery | AnswerGiven
"""JSON tells them apart by ``entry``."""


class RecordEvidence(EventData):
    """Appends an entry to the evidence chain of ``record``.

    ``entry_id`` is derived from what happened; ``at`` is when it happened.
    """

    kind: ClassVar[str] = "evidence.entry.requested.v1"
    entry_id: NonEmptyStr
    record: NonEmptyStr
    work_id: WorkId | None = None
    person_id: PersonId
    rule: RuleId
    chain_id: ChainId
    at: Instant
    content: EvidenceContent


def evidence_words(content: EvidenceContent) -> dict[str, Any]:
    """The part of a content without personal data, which stays readable when the person is erased."""
    match content:
        case QuestionAsked():
            words = {"template": content.template, "version": content.template_version, "language": content.language}
            return {name: word for name, word in words.items() if word is not None}
        case QuestionDelivery():
            words = {"wording": content.wording, "template": content.template, "language": content.language}
            return {"state": content.state, **{name: word for name, word in words.items() if word is not None}}
        case AnswerGiven():
            return {"answer": content.answer, "final": content.final}
        case _:
            assert_never(content)


KINDS = kinds_by_type((RecordEvidence,))
