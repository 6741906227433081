"""Evidence of approvals: what a decision adds to the evidence chains that writeback keeps, one for each record.

An approval is a question of which an answer records something. Its entries are found by comparing a chain before and
after a decision, in this one place: the question was asked, its delivery rose, an answer was given.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from services.rules.conversation import button_ids, writes
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, GivenAnswer
from services.rules.conversation.context import DecisionContext, RequestedMessage
from services.rules.conversation.document import Document
from services.rules.conversation.question_lookup import answer_of
from services.rules.rulebook.model import WriteAction
from shared.contracts.envelope import EventData
from shared.contracts.evidence import AnswerGiven, EvidenceContent, QuestionAsked, QuestionDelivery, RecordEvidence
from shared.contracts.ids import ChainId, PersonId, derive_id
from shared.contracts.messages import MessageEventData, SendMessage
from shared.contracts.values import decode, encode
from shared.contracts.whatsapp import MessageReceived

_NEVER_ASKED = frozenset({DeliveryState.HELD, DeliveryState.REQUESTED})


def evidence_of(context: DecisionContext, cause: EventData | None) -> tuple[RecordEvidence, ...]:
    """The entries that this decision adds, in the order in which it happened; ``cause`` is the event it is about."""
    found: list[RecordEvidence] = []
    for chain_id in sorted(str(key) for kind, key in context.facts.changed if kind == "chain"):
        chain = context.facts.chains[ChainId(chain_id)]
        found.extend(_of_chain(context, context.facts.chain_before(chain.chain_id), chain, cause))
    return tuple(found)


def _of_chain(
    context: DecisionContext, before: Chain | None, chain: Chain, cause: EventData | None
) -> Iterator[RecordEvidence]:
    earlier = {message.message_id: message for message in before.messages} if before else {}
    answered = {(given.wamid, given.answer) for given in before.answers} if before else set()
    for message in chain.messages:
        if message.is_question and message != earlier.get(message.message_id):
            yield from _of_question(context, chain, earlier.get(message.message_id), message, cause)
    for given in chain.answers:
        if (given.wamid, given.answer) not in answered and (question := chain.message(given.message_id)) is not None:
            content = _answer(context, given, cause)
            key = f"{given.wamid}/{given.answer}"
            yield from _entries(context, chain, question, given.person_id, (content, key, given.at))


def _of_question(
    context: DecisionContext, chain: Chain, before: ChainMessage | None, message: ChainMessage, cause: EventData | None
) -> Iterator[RecordEvidence]:
    asked_before = before is not None and before.requested_at is not None
    if message.requested_at is None or not _write_actions(context, chain, message):
        return  # not asked yet, or no answer to it is written
    if not asked_before:
        at = message.requested_at
        yield from _entries(context, chain, message, message.person_id, (_asked(context, chain, message), "", at))
    known = (before.delivery, before.wamid) if before is not None else (DeliveryState.HELD, None)
    sent_before = (before.wording, before.sent_template) if before is not None else (None, None)
    is_new_state = (message.delivery, message.wamid) != known
    is_same = not is_new_state and (message.wording, message.sent_template) == sent_before
    if is_same or message.delivery in _NEVER_ASKED:
        return
    at = cause.at if isinstance(cause, (MessageEventData, MessageReceived)) else context.now
    sent, text = message.sent_template, message.sent_text
    content = QuestionDelivery(
        question=message.message_id,
        state=message.delivery.value,
        wamid=message.wamid,
        wording=message.wording,
        template=sent.name if sent else None,
        language=sent.language if sent else None,
        rendered=text if text != message.rendered else None,
    )
    key = f"{message.delivery.value}/{message.wamid or ''}" + ("" if is_new_state else f"/{sent.name if sent else ''}")
    yield from _entries(context, chain, message, message.person_id, (content, key, at))


def _entries(
    context: DecisionContext,
    chain: Chain,
    question: ChainMessage,
    person: PersonId,
    entry: tuple[EvidenceContent, str, datetime],
) -> Iterator[RecordEvidence]:
    """One entry in the chain of each record that an answer to the question writes to."""
    content, key, at = entry
    for record, document in _records(context, chain, question).items():
        if isinstance(content, QuestionAsked):
            content = content.replace(request=decode(dict[str, Any], encode(document.data)))
        yield RecordEvidence(
            entry_id=derive_id("evidence", record, content.entry, chain.chain_id, question.message_id, key),
            record=record,
            work_id=document.work_id,
            person_id=person,
            rule=chain.rule,
            chain_id=chain.chain_id,
            at=at,
            content=content,
        )


def _records(context: DecisionContext, chain: Chain, question: ChainMessage) -> dict[str, Document]:
    """The records that the answers to a question may write to, each with the event that is asked about."""
    actions = _write_actions(context, chain, question)
    if not actions:
        return {}
    documents = context.documents(chain)
    return {writes.record_name(context, chain, action, each): each for each in documents for action in actions}


def _write_actions(context: DecisionContext, chain: Chain, question: ChainMessage) -> list[WriteAction]:
    """The writes of all answers to the question."""
    answers = (answer_of(context, chain, question, name)[1] for name in question.buttons)
    return [action for answer in answers for action in writes.write_actions(answer)]


def _asked(context: DecisionContext, chain: Chain, message: ChainMessage) -> QuestionAsked:
    sent = _send(context, message)
    template = context.rulebook_of(chain).templates.get(message.say)
    person = context.facts.people.get(message.person_id)
    return QuestionAsked(
        question=message.message_id,
        name=person.display_name if person else None,
        contact_id=person.contact_id if person else None,
        on_behalf_of=message.holders if message.on_behalf_of else (),
        line=sent.line if sent else chain.line,
        template=message.say,
        template_version=template.version if template else None,
        parameters=dict(sent.template.parameters) if sent and sent.template else {},
        language=message.language,
        rendered=message.rendered,
        buttons=_titles(context, sent) if sent else {},
    )


def _titles(context: DecisionContext, sent: SendMessage) -> dict[str, str]:
    """The titles of the buttons by the answer that each stands for. Buttons are in the template's order, which need not
    be the rule's.
    """
    claims = ((button_ids.read_button_id(context.signing_keys, each.button_id), each.title) for each in sent.buttons)
    return {claim[1]: title for claim, title in claims if claim is not None}


def _send(context: DecisionContext, message: ChainMessage) -> SendMessage | None:
    """The request of this decision by which the question leaves; None where it leaves within a digest."""
    requests = (effect.send for effect in context.effects if isinstance(effect, RequestedMessage))
    return next((send for send in requests if send.message_id == message.message_id), None)


def _answer(context: DecisionContext, given: GivenAnswer, cause: EventData | None) -> AnswerGiven:
    message = cause if isinstance(cause, MessageReceived) and cause.message_id == given.wamid else None
    person = context.facts.people.get(given.person_id)
    return AnswerGiven(
        question=given.message_id,
        answer=given.answer,
        final=given.final,
        wamid=given.wamid,
        message_kind=message.message_kind if message else None,
        text=message.text if message else None,
        button_id=message.button_id if message else None,
        quoted_id=message.quoted_id if message else None,
        filename=message.media.filename if message and message.media else None,
        name=person.display_name if person else None,
        contact_id=person.contact_id if person else None,
        on_behalf_of=given.holders if given.on_behalf_of else (),
    )
