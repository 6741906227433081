"""Which question a message answers: by our button, the quoted message, the short code, or as the only open one.

Else the person is asked. A quoted message rules does not know never falls through to a guess.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeGuard

from services.rules import buttons
from services.rules.chain import Chain, Delivery, Outgoing
from services.rules.desk import Desk
from services.rules.filling import reference_of
from services.rules.rulebook import Verb
from shared.contracts.ids import PersonId
from shared.contracts.whatsapp import MessageKind, MessageReceived

_SENT = frozenset({Delivery.ACCEPTED, Delivery.DELIVERED, Delivery.READ})
_QUESTIONS = frozenset({Verb.ASK, Verb.REMIND, Verb.HAND_OVER, Verb.COLLECT})
_CODE = re.compile(r"\b[A-HJKMNP-Z2-9]{6}\b")
QUOTE_PATIENCE = timedelta(minutes=1)
"""How long a reply waits for rules to learn which message of ours it quotes."""


class Unsure(StrEnum):
    """``shared``: it may answer a question to somebody else who is reached at the same address."""

    SEVERAL = "several"
    SHARED = "shared"
    UNKNOWN_QUOTE = "unknown_quote"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Correlated:
    """``answer`` None: words, not a tap."""

    chain: Chain
    question: Outgoing
    answer: str | None


def correlate(desk: Desk, message: MessageReceived) -> Correlated | Unsure:
    tapped = _by_button(desk, message)
    if tapped is not None:
        return tapped
    if message.quoted_id is not None:
        return _by_quote(desk, message)
    return _by_code(desk, message) or _only_open(desk, message)


def is_asked(found: Correlated | Unsure, message: MessageReceived) -> bool:
    """Whether what was found still waits for an answer; a form waits for words, which a reaction is not."""
    if not isinstance(found, Correlated):
        return found in {Unsure.SEVERAL, Unsure.SHARED}
    if found.answer is not None:
        return True
    if found.question.verb is Verb.COLLECT:
        return message.message_kind is not MessageKind.REACTION and fills_form(found)
    return _waits_for_answer(found.chain, found.question)


def _waits_for_answer(chain: Chain, question: Outgoing) -> bool:
    return chain.active and question.open and chain.final_answer_of(question.person_id) is None


def is_open(found: Correlated) -> bool:
    """Whether a tap on this question can still count."""
    chain, question = found.chain, found.question
    return chain.active and not question.closed and chain.final_answer_of(question.person_id) is None


def fills_form(found: Correlated | Unsure) -> TypeGuard[Correlated]:
    """Whether it is the question of a form that is being filled."""
    return isinstance(found, Correlated) and _fills(found.chain, found.question)


def _is_filled_by(chain: Chain, person: PersonId) -> bool:
    return chain.active and chain.form is not None and not chain.form.over and chain.form.person_id == person


def taps(desk: Desk, message: MessageReceived) -> bool:
    """A tap on a button of ours; its title comes along as text, and means nothing beside it."""
    return message.button_id is not None and buttons.read(desk.signing_keys, message.button_id) is not None


def _by_button(desk: Desk, message: MessageReceived) -> Correlated | None:
    """The button names the question; whoever is reached at the address it was sent to may have tapped it."""
    claim = buttons.read(desk.signing_keys, message.button_id) if message.button_id else None
    found = desk.world.chain_of_message(claim[0]) if claim else None
    if claim is None or found is None or found[1].person_id not in desk.world.same_as(*_writers(message)):
        return None
    return Correlated(found[0], found[1], claim[1])


def _writers(message: MessageReceived) -> tuple[PersonId, ...]:
    """Who may have written it: words alone do not say which of several who share the address."""
    return (message.person_id, *message.shared_with)


def _by_quote(desk: Desk, message: MessageReceived) -> Correlated | Unsure:
    quoted = desk.world.wamids.get(message.quoted_id) if message.quoted_id else None
    found = desk.world.chain_of_message(quoted) if quoted else None
    if found is not None and found[1].person_id == message.person_id:
        return Correlated(found[0], found[1], None)
    if found is not None and found[1].person_id in message.shared_with and _waits_for_answer(*found):
        return Unsure.SHARED
    return Unsure.UNKNOWN_QUOTE


def _by_code(desk: Desk, message: MessageReceived) -> Correlated | None:
    codes = set(_CODE.findall((message.text or "").upper()))
    coded = (c for c in desk.world.chains_of(message.person_id) if reference_of(c.chain_id) in codes)
    for chain in coded:
        if (question := _open_question(chain, message.person_id)) is not None:
            return Correlated(chain, question, None)
    return None


def _only_open(desk: Desk, message: MessageReceived) -> Correlated | Unsure:
    """A form being filled on this line takes what is written there; else there must be exactly one open question."""
    if message.message_kind is MessageKind.REACTION:
        return Unsure.NOTHING
    waiting = [(c, q) for person in _writers(message) for c, q in _waiting_for(desk, person)]
    filling = [found for found in waiting if _fills(*found) and found[0].line in {None, message.line}]
    if filling and (filling[0][1].person_id == message.person_id or len(filling) == 1):
        return Correlated(*filling[0], None)
    if any(question.person_id != message.person_id for _, question in waiting):
        return Unsure.SHARED
    if len(waiting) > 1:
        return Unsure.SEVERAL
    return Correlated(*waiting[0], None) if waiting else Unsure.NOTHING


def _waiting_for(desk: Desk, person: PersonId) -> Iterator[tuple[Chain, Outgoing]]:
    for chain in desk.world.chains_of(person):
        if chain.active and (question := _open_question(chain, person)) is not None:
            yield chain, question


def _fills(chain: Chain, question: Outgoing) -> bool:
    return question.verb is Verb.COLLECT and _is_filled_by(chain, question.person_id)


def _open_question(chain: Chain, person: PersonId) -> Outgoing | None:
    """The newest thing this chain asked this person and has evidence of having sent."""
    if _is_filled_by(chain, person):
        prompts = [m for m in chain.outgoing if m.verb is Verb.COLLECT and m.person_id == person]
        return prompts[-1] if prompts else None
    mine = (m for m in reversed(chain.outgoing) if m.person_id == person and m.verb in _QUESTIONS)
    return next((m for m in mine if m.open and m.delivery in _SENT), None)
