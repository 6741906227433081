"""Requests writes: builds the typed input of an operation, and the evidence that a person asked for it."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from services.rules.conversation.chain import Chain, ChainWrite, GivenAnswer
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.document import Document
from services.rules.rulebook.model import ACQUISITION_FIELDS, AnswerAction, Field, WriteAction
from shared.contracts.contacts import is_real_name
from shared.contracts.ids import ContactId, EventId, PersonId, WriteId, derive_id
from shared.contracts.writes import (
    AcknowledgementKind,
    AdvanceWorkflow,
    AppendAcquisition,
    ApplyMetadata,
    Attachment,
    CompleteMilestone,
    CreateAcquisition,
    MetadataItem,
    RecordAcknowledgement,
    RecordDecision,
    RequestWrite,
    RightsDecision,
    WriteEvidence,
    WriteInput,
    WriteOperation,
)


@dataclass(frozen=True, slots=True)
class WriteOrigin:
    """The cause of a write: a step, or an answer to one with every person who gave it; the last of them decided.

    ``item`` is the joined event that is recorded.
    """

    step: int
    answer: str | None = None
    answers: tuple[GivenAnswer, ...] = ()
    depth: int = 0
    item: EventId | None = None

    @property
    def answerers(self) -> tuple[PersonId, ...]:
        return tuple(g.person_id for g in self.answers)


@dataclass(frozen=True, slots=True)
class _WriteCase:
    context: DecisionContext
    chain: Chain
    document: Document
    values: dict[str, Any]
    origin: WriteOrigin

    @property
    def asked(self) -> Any:
        """The event the chain is about; validation makes sure that its kind has the fields an operation needs."""
        return self.document.data

    @property
    def decider(self) -> GivenAnswer | None:
        return self.origin.answers[-1] if self.origin.answers else None

    def contact(self, person: PersonId | None) -> ContactId | None:
        known = self.context.facts.people.get(person) if person else None
        return known.contact_id if known else None

    def contacts(self, people: tuple[PersonId, ...]) -> tuple[ContactId, ...]:
        return tuple(contact for person in people if (contact := self.contact(person)) is not None)


def request_write(context: DecisionContext, chain: Chain, record: WriteAction, origin: WriteOrigin) -> Chain:
    """Request ``record`` for each event that the chain gathered, unless its ``unless`` holds for that event."""
    for item in (None, *(joined.event_id for joined in chain.joined)):
        chain = request_write_of(context, chain, record, origin, item)
    return chain


def request_write_of(
    context: DecisionContext, chain: Chain, record: WriteAction, origin: WriteOrigin, item: EventId | None
) -> Chain:
    """Request ``record`` for one event, None for the event that started the chain; once for each source.

    Nothing is requested for an event that another one has corrected since: the write is then about the correction.
    """
    origin, document = dataclasses.replace(origin, item=item), document_of_item(context, chain, item)
    if document is None or context.holds_for(record.unless, document):
        return chain
    case = _WriteCase(context, chain, document, _values(record, document), origin)
    write_id = _write_id(context, chain, record, origin)
    if any(w.write_id == write_id for w in chain.writes):
        return chain
    name, build = _BUILDERS[record.operation]
    request = RequestWrite(
        write_id=write_id,
        record=name(case),
        work_id=document.work_id,
        input=build(case),
        evidence=build_evidence(case),
        requested_at=context.now,
    )
    context.effects.append(request)
    return chain.with_write(
        ChainWrite(
            write_id=write_id,
            operation=record.operation,
            step=origin.step,
            answer=origin.answer,
            depth=origin.depth,
            answerers=origin.answerers,
            item=origin.item,
            work_id=document.work_id if record.operation is WriteOperation.APPLY_METADATA else None,
        )
    )


def record_name(context: DecisionContext, chain: Chain, record: WriteAction, document: Document) -> str:
    """The record that ``record`` would write to for one event, as writes and evidence name it."""
    name, _ = _BUILDERS[record.operation]
    return name(_WriteCase(context, chain, document, _values(record, document), WriteOrigin(0)))


def planned_input(context: DecisionContext, chain: Chain, record: WriteAction) -> WriteInput:
    """The write that ``record`` would make by the newest event, as far as it does not depend on who answers."""
    document = context.document(chain)
    _, build = _BUILDERS[record.operation]
    return build(_WriteCase(context, chain, document, _values(record, document), WriteOrigin(0)))


def write_actions(answer: AnswerAction | None) -> Iterator[WriteAction]:
    """The writes of an answer, and those of the answers to the question that it asks."""
    if answer is None:
        return
    if answer.record is not None:
        yield answer.record
    if answer.ask is not None:
        for inner in answer.ask.answers.values():
            yield from write_actions(inner)


def document_of_item(context: DecisionContext, chain: Chain, item: EventId | None) -> Document | None:
    """The document of a joined event, or with None that of the event that started the chain; None if corrected."""
    if item is None:
        return context.document(chain)
    gathered = zip(chain.joined, context.documents(chain)[1:], strict=True)
    return next((document for joined, document in gathered if joined.event_id == item), None)


def _write_id(context: DecisionContext, chain: Chain, record: WriteAction, origin: WriteOrigin) -> WriteId:
    step = f"{origin.step}.{origin.answer or ''}.{origin.depth}.{chain.steps[origin.step].occurrence}"
    source = origin.answers[-1].wamid if origin.answers else context.cause
    item = () if origin.item is None else (origin.item,)
    return WriteId(derive_id("write", chain.chain_id, step, record.operation, source, *item))


def _values(record: WriteAction, document: Document) -> dict[str, Any]:
    return {k: document.get(v.name) if isinstance(v, Field) else v for k, v in record.values.items()}


def build_evidence(case: _WriteCase) -> WriteEvidence:
    """The evidence of an answer: person, answer, text and messages (docs/reference/consonance.md, 5)."""
    chain, given = case.chain, case.decider
    bare = WriteEvidence(rule=chain.rule, chain_id=chain.chain_id)
    if given is None:
        return bare
    question = chain.message(given.message_id)
    template = case.context.rulebook_of(chain).templates.get(question.say) if question else None
    sent = question.sent_template if question else None
    return bare.replace(
        person_id=given.person_id,
        question=given.message_id,
        answered_at=given.at,
        question_wamids=(question.wamid,) if question and question.wamid else (),
        template=question.say if question else None,
        template_version=template.version if template else None,
        sent_template=sent.name if sent else None,
        language=sent.language if sent else question.language if question else None,
        rendered=question.sent_text if question else None,
        reply_wamid=given.wamid,
        reply=given.reply,
        terms=case.document.get("terms.summary"),
    )


def _decision(case: _WriteCase) -> WriteInput:
    given, data = case.decider, case.asked
    return RecordDecision(
        request_id=data.request_id,
        rights_record_id=data.rights_record_id,
        decision=RightsDecision(case.values["decision"]),
        decided_by=case.contact(given.person_id) if given else None,
        on_behalf_of=case.contact(given.on_behalf_of) if given else None,
        decided_at=given.at if given else case.context.now,
        terms_hash=data.terms_hash,
        needs_signature=data.needs_signature,
        note=case.values.get("note"),
        also_on_behalf_of=case.contacts(given.also_for) if given else (),
    )


def _workflow(case: _WriteCase) -> WriteInput:
    data = case.asked
    return AdvanceWorkflow(
        request_id=data.request_id,
        rights_record_id=data.rights_record_id,
        to_stage=str(case.values["to_stage"]),
    )


def _metadata(case: _WriteCase) -> WriteInput:
    data = case.asked
    items = tuple(
        MetadataItem(
            item_id=item.item_id,
            field=item.field,
            level=item.level,
            target_ids=item.target_ids,
            new_value=item.proposed_value,
            old_value=item.current_value,
            baseline_hash=item.current_hash,
        )
        for item in data.items
    )
    return ApplyMetadata(request_id=data.request_id, items=items)


def _acquisition(case: _WriteCase) -> WriteInput:
    form = case.chain.form
    if form is None:
        raise ValueError("acquisition.create is a form's record")  # validation refuses a step that asks for it
    submitter = case.context.facts.people[form.person_id]
    values = form.values
    files = {field.name for field in case.context.rulebook_of(case.chain).forms[form.form].fields if field.document}
    known = ACQUISITION_FIELDS | files
    return CreateAcquisition(
        dedupe_key=derive_id(case.context.tenant, form.person_id, " ".join(values.get("title", "").lower().split())),
        reference=form.reference,
        title=values.get("title", ""),
        author=values.get("author"),
        pitch_text=values.get("pitch", ""),
        genre=values.get("genre"),
        ai_use_declared=values.get("ai_used"),
        submitter_name=submitter.display_name if is_real_name(submitter.display_name) else "",
        submitter_contact=submitter.contact_id,
        further={name: value for name, value in values.items() if name not in known and value},
        attachments=tuple(map(Attachment.of, form.attachments)),
        source_message_ids=form.sources,
    )


def _append(case: _WriteCase) -> WriteInput:
    data = case.asked
    return AppendAcquisition(
        reference=str(case.values["reference"]),
        text=data.text,
        attachments=(Attachment.of(data.media),) if data.media else (),
        source_message_id=data.message_id,
    )


def _acknowledgement(case: _WriteCase) -> WriteInput:
    given = case.decider
    return RecordAcknowledgement(
        document_id=_document_id(case),
        contact_id=case.contact(given.person_id) if given else None,
        acknowledgement=AcknowledgementKind(case.values["kind"]),
        at=given.at if given else case.context.now,
    )


def _milestone(case: _WriteCase) -> WriteInput:
    given = case.decider
    at = given.at if given else case.context.now
    done_on = case.context.rulebook.calendar.office.local_date(at)
    return CompleteMilestone(milestone_id=case.asked.milestone_id, done_on=done_on)


def _document_id(case: _WriteCase) -> str:
    return str(case.document.get("statement_id") or case.document.get("document.doc_id"))


def _rights(case: _WriteCase) -> str:
    return f"rights/{case.asked.rights_record_id}"


def _reference(case: _WriteCase) -> str:
    form = case.chain.form
    return f"acquisitions/{form.reference if form else case.values['reference']}"


_BUILDERS: dict[WriteOperation, tuple[Callable[[_WriteCase], str], Callable[[_WriteCase], WriteInput]]] = {
    WriteOperation.RECORD_DECISION: (_rights, _decision),
    WriteOperation.ADVANCE_WORKFLOW: (_rights, _workflow),
    WriteOperation.APPLY_METADATA: (lambda case: f"works/{case.document.work_id}", _metadata),
    WriteOperation.CREATE_ACQUISITION: (_reference, _acquisition),
    WriteOperation.APPEND_ACQUISITION: (_reference, _append),
    WriteOperation.RECORD_ACKNOWLEDGEMENT: (lambda case: f"documents/{_document_id(case)}", _acknowledgement),
    WriteOperation.COMPLETE_MILESTONE: (lambda case: f"milestones/{case.asked.milestone_id}", _milestone),
}
