"""Finds the question that a message answers.

A question is found by the signed button, the quoted message or the short code, or because it is the only open one.
Otherwise the person is asked which one they mean. For a quote of an unknown message no question is guessed.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeGuard

from services.rules.conversation import button_ids
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, GivenAnswer
from services.rules.conversation.chain_messages import is_of_handover
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.document import MESSAGE_RECEIVED
from services.rules.conversation.rendering import reference_code
from services.rules.rulebook.model import AnswerAction, Step, Verb, answer_path
from shared.contracts.ids import MessageId, PersonId
from shared.contracts.whatsapp import MessageKind, MessageReceived

_SENT = frozenset({DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.READ})
_QUESTIONS = frozenset({Verb.ASK, Verb.REMIND, Verb.HAND_OVER, Verb.COLLECT})
_CODE = re.compile(r"\b[A-HJKMNP-Z2-9]{6}\b")
QUOTE_WAIT = timedelta(minutes=1)
"""How long a reply waits until rules knows the message that it quotes."""


class ReplyPath(StrEnum):
    """How a question was found. ``only_open``: the person had one question that waited; ``form``: a form was open."""

    BUTTON = "button"
    QUOTE = "quote"
    CODE = "code"
    FORM = "form"
    ONLY_OPEN = "only_open"


class UnclearQuestion(StrEnum):
    """Why no question was found. ``shared``: one to another person at the same address may be meant."""

    SEVERAL = "several"
    SHARED = "shared"
    UNKNOWN_QUOTE = "unknown_quote"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class FoundQuestion:
    """``answer`` is the button's answer, None for words."""

    chain: Chain
    question: ChainMessage
    answer: str | None
    path: ReplyPath


def find_question(context: DecisionContext, message: MessageReceived) -> FoundQuestion | UnclearQuestion:
    tapped = _by_button(context, message)
    if tapped is not None:
        return tapped
    if message.quoted_id is not None:
        return _by_quote(context, message)
    return _by_code(context, message) or _only_open(context, message)


def awaits_answer(found: FoundQuestion | UnclearQuestion, message: MessageReceived) -> bool:
    """Whether the question found still waits for an answer; a form waits for words, which a reaction is not."""
    if not isinstance(found, FoundQuestion):
        return found in {UnclearQuestion.SEVERAL, UnclearQuestion.SHARED}
    if found.answer is not None:
        return True
    if found.question.verb is Verb.COLLECT:
        return message.message_kind is not MessageKind.REACTION and fills_form(found)
    return _waits_for_answer(found.chain, found.question)


def _waits_for_answer(chain: Chain, question: ChainMessage) -> bool:
    return chain.active and question.open and not has_answered(chain, question)


def has_answered(chain: Chain, question: ChainMessage) -> bool:
    """Whether the person of a question has answered it finally. An offer to the same person is another matter."""
    is_answer_awaited = question.is_question and not is_of_handover(question)
    return is_answer_awaited and chain.final_answer_of(question.person_id) is not None


def accepts_tap(found: FoundQuestion) -> bool:
    """Whether a tap on this question still counts."""
    chain, question = found.chain, found.question
    return chain.active and not question.closed and not has_answered(chain, question)


def fills_form(found: FoundQuestion | UnclearQuestion) -> TypeGuard[FoundQuestion]:
    """Whether it is a question of a form that is being filled."""
    return isinstance(found, FoundQuestion) and _fills(found.chain, found.question)


def _is_filled_by(chain: Chain, person: PersonId) -> bool:
    return chain.active and chain.form is not None and not chain.form.over and chain.form.person_id == person


def is_button_tap(context: DecisionContext, message: MessageReceived) -> bool:
    """Whether it is a tap on one of our buttons; the text that comes with it is the button's title."""
    return (
        message.button_id is not None and button_ids.read_button_id(context.signing_keys, message.button_id) is not None
    )


def _by_button(context: DecisionContext, message: MessageReceived) -> FoundQuestion | None:
    """The question that the button names, if it went to the writer's address, or to a person who is reached there."""
    claim = button_ids.read_button_id(context.signing_keys, message.button_id) if message.button_id else None
    found = context.facts.chain_of_message(claim[0]) if claim else None
    if claim is None or found is None or not _was_asked_of_writer(context, found[1], message):
        return None
    return FoundQuestion(found[0], found[1], claim[1], ReplyPath.BUTTON)


def _was_asked_of_writer(context: DecisionContext, question: ChainMessage, message: MessageReceived) -> bool:
    """Whether the tap may be the asked person's, whose addresses may have changed since they were asked."""
    if question.person_id in context.facts.ids_of_person(*_writers(message)):
        return True
    writer = context.facts.people.get(message.person_id)
    return writer is not None and not set(question.sent_to).isdisjoint(writer.address_marks)


def _writers(message: MessageReceived) -> tuple[PersonId, ...]:
    """The people who may have written a message: all people who share the address."""
    return (message.person_id, *message.shared_with)


def _by_quote(context: DecisionContext, message: MessageReceived) -> FoundQuestion | UnclearQuestion:
    quoted = context.facts.wamids.get(message.quoted_id) if message.quoted_id else None
    found = digest_item(context, quoted, _codes_in(message)) if quoted else None
    if found is not None and found[1].person_id == message.person_id:
        return FoundQuestion(found[0], found[1], None, ReplyPath.QUOTE)
    if found is not None and found[1].person_id in message.shared_with and _waits_for_answer(*found):
        return UnclearQuestion.SHARED
    return UnclearQuestion.UNKNOWN_QUOTE


def _by_code(context: DecisionContext, message: MessageReceived) -> FoundQuestion | None:
    codes = _codes_in(message)
    coded = (c for c in context.facts.chains_of(message.person_id) if reference_code(c.chain_id) in codes)
    for chain in coded:
        if (question := _open_question(chain, message.person_id)) is not None:
            return FoundQuestion(chain, question, None, ReplyPath.CODE)
    return None


def _codes_in(message: MessageReceived) -> frozenset[str]:
    return frozenset(_CODE.findall((message.text or "").upper()))


def _only_open(context: DecisionContext, message: MessageReceived) -> FoundQuestion | UnclearQuestion:
    """The form that is being filled on this line, else the only open question.

    Of several forms of the writer, it is the one that has asked last.
    """
    if message.message_kind is MessageKind.REACTION:
        return UnclearQuestion.NOTHING
    waiting = [(c, q) for person in _writers(message) for c, q in _waiting_for(context, person) if _takes_words(c, q)]
    filling = [found for found in waiting if _fills(*found) and found[0].line in {None, message.line}]
    own = [found for found in filling if found[1].person_id == message.person_id]
    if own or len(filling) == 1:
        return FoundQuestion(*max(own or filling, key=_asked_at), None, ReplyPath.FORM)
    if any(question.person_id != message.person_id for _, question in waiting):
        return UnclearQuestion.SHARED
    if len(waiting) > 1:
        return UnclearQuestion.SEVERAL
    return FoundQuestion(*waiting[0], None, ReplyPath.ONLY_OPEN) if waiting else UnclearQuestion.NOTHING


def _asked_at(found: tuple[Chain, ChainMessage]) -> datetime:
    chain, question = found
    return question.requested_at or chain.started_at


def _waiting_for(context: DecisionContext, person: PersonId) -> Iterator[tuple[Chain, ChainMessage]]:
    for chain in context.facts.chains_of(person):
        if chain.active and (question := _open_question(chain, person)) is not None:
            yield chain, question


def _takes_words(chain: Chain, question: ChainMessage) -> bool:
    """Whether words may answer the question. A rule that joins messages expects more of them, which are no answers."""
    return question.verb is Verb.COLLECT or not (chain.joins and chain.start_name == MESSAGE_RECEIVED)


def _fills(chain: Chain, question: ChainMessage) -> bool:
    return question.verb is Verb.COLLECT and _is_filled_by(chain, question.person_id)


def _open_question(chain: Chain, person: PersonId) -> ChainMessage | None:
    """The newest question of this chain to this person that is known to be sent."""
    if _is_filled_by(chain, person):
        prompts = [m for m in chain.messages if m.verb is Verb.COLLECT and m.person_id == person]
        return prompts[-1] if prompts else None
    mine = (m for m in reversed(chain.messages) if m.person_id == person and m.verb in _QUESTIONS)
    return next((m for m in mine if m.open and m.delivery in _SENT), None)


def digest_item(
    context: DecisionContext, digest: MessageId, codes: Collection[str]
) -> tuple[Chain, ChainMessage] | None:
    """The item of a digest that a reply names by its code, else the first."""
    items = context.facts.chains_of_message(digest)
    named = (one for one in items if reference_code(one[0].chain_id) in codes)
    return next(named, items[0] if items else None)


def answer_of(
    context: DecisionContext, chain: Chain, question: ChainMessage, name: str
) -> tuple[Step, AnswerAction | None]:
    """The step and the action that a button of a question stands for; None where the step has no such answer.

    A reminder has the answers of the question that it repeats.
    """
    steps = context.rule_of(chain).steps[: question.step + 1]
    if question.answer is not None and question.verb in {Verb.ASK, Verb.REMIND}:
        return steps[-1], steps[-1].answer_at(answer_path(question.answer, name))
    asking = next((s for s in reversed(steps) if name in s.answers), steps[-1])
    return asking, asking.answers.get(name)


def answers_to_steps(context: DecisionContext, chain: Chain, steps: Collection[int]) -> list[GivenAnswer]:
    """The answers given to the questions of these steps, also by the buttons of their reminders."""
    asked = ((given, chain.message(given.message_id)) for given in chain.answers)
    return [
        given
        for given, question in asked
        if question is not None and answer_of(context, chain, question, given.reply)[0].index in steps
    ]
