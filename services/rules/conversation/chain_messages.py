"""Tells the messages of a chain apart (questions of its rule, offers of its matter, copies), and finds the people it
waits for.
"""

from collections import Counter
from collections.abc import Collection

from services.rules.conversation.chain import UNSENT, Chain, ChainMessage, DeliveryState
from services.rules.rulebook.built_in import FINISH, TAKE
from services.rules.rulebook.model import Verb
from shared.contracts.ids import MessageId, PersonId

COPY = "copy"
COPY_ANSWER = "copy"
"""The ``answer`` of copies, which keeps them apart from the messages of their step."""


def reached_people(chain: Chain) -> tuple[PersonId, ...]:
    """The people this chain reached, in order, each once."""
    sent = (m.person_id for m in chain.messages if m.requested_at and m.delivery not in UNSENT)
    return tuple(dict.fromkeys(sent))


def unanswered_people(chain: Chain) -> tuple[PersonId, ...]:
    """The people with an open question or form of this chain, and no final answer.

    A reminder of a hand-over is no question of the chain: its buttons are those of the hand-over.
    """
    asked = filter(awaits_answer, chain.messages)
    people = dict.fromkeys(m.person_id for m in asked if chain.final_answer_of(m.person_id) is None)
    if chain.form is not None and not chain.form.over:
        people[chain.form.person_id] = None
    return tuple(people)


def awaits_answer(message: ChainMessage) -> bool:
    """Whether an answer to a question of a rule is awaited: an answer of its person has led to no other question."""
    return is_open_question(message) and not message.led_on


def holds_question(chain: Chain) -> bool:
    """Whether a question of a rule is held: for its person's morning, or until their cap has room."""
    return any(is_question_of_rule(m) and not m.closed and m.delivery is DeliveryState.HELD for m in chain.messages)


def is_open_question(message: ChainMessage) -> bool:
    """Whether a message asks a question of a rule, also as a reminder, and can be answered."""
    return message.open and is_question_of_rule(message)


def is_question_of_rule(message: ChainMessage) -> bool:
    """Whether a message asks a question of a rule, also as a reminder: no offer of a matter, and none of a form."""
    return message.is_question and message.verb in {Verb.ASK, Verb.REMIND} and not is_of_handover(message)


def is_of_handover(message: ChainMessage) -> bool:
    """Whether a message offers a matter, or is for the person who has it, also as a reminder.

    A question of a rule and its reminder never are, also where their answers are named like these buttons.
    """
    is_of_question = message.verb is Verb.ASK or (message.verb is Verb.REMIND and message.answer is None)
    return not is_of_question and set(message.buttons) in ({*TAKE}, {*FINISH})


def is_offer(message: ChainMessage) -> bool:
    """Whether a message offers a matter, also as a reminder."""
    return is_of_handover(message) and TAKE[0] in message.buttons


def awaited_people(chain: Chain) -> tuple[PersonId, ...]:
    """The people whose calendars a wait runs in: with open questions, else with an offer they have not declined."""
    open_questions = unanswered_people(chain)
    if open_questions:
        return open_questions
    return tuple(dict.fromkeys(person for handed in chain.handovers for person in handed.undecided))


def declined_offers(chain: Chain) -> Collection[MessageId]:
    """The offers that their people have declined: of those of a step to a person, all but the newest undecided ones."""
    undecided = Counter((offer.step, person) for offer in chain.handovers for person in offer.undecided)
    left, declined = undecided.copy(), set[MessageId]()
    for message in filter(is_offer, reversed(chain.messages)):
        place = (message.step, message.person_id)
        if not (left if message.verb is Verb.HAND_OVER else undecided)[place]:
            declined.add(message.message_id)
        elif message.verb is Verb.HAND_OVER:
            left[place] -= 1
    return declined


def is_copy(message: ChainMessage) -> bool:
    """Whether a message tells a member of staff what a step has sent to others."""
    return message.answer == COPY_ANSWER and message.say == COPY


def has_reached_anyone(chain: Chain, step: int) -> bool:
    """Whether a message of this occurrence of the step was sent, or is held."""
    occurrence = chain.steps[step].occurrence
    mine = (m for m in chain.messages if m.step == step and m.answer is None and m.occurrence == occurrence)
    return any(m.delivery is DeliveryState.HELD or m.delivery not in UNSENT for m in mine)
