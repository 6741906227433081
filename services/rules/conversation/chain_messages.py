"""Tells the messages of a chain apart (questions of its rule, offers of its matter, copies), and finds the people it
waits for.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from services.rules.conversation.chain import LOST, SEPARATED, UNSENT, Chain, ChainMessage, DeliveryState
from services.rules.rulebook.built_in import FINISH, TAKE, TO_READ
from services.rules.rulebook.model import Verb
from shared.contracts.ids import MessageId, PersonId

COPY = "copy"
COPY_ANSWER = "copy"
"""The ``answer`` of copies, which keeps them apart from the messages of their step."""
UNTIL_ANSWER = "until"
"""The ``answer`` of messages of an ``until`` line, which are filled from the event that ended the chain."""
OF_THE_HOUSE = "house"
"""The ``answer`` of messages of the house within a chain, whose own words come before the fields of its event."""
WRITER = "person_id"
"""The key in ``words`` of the person whose words they are (``shared.runtime.redaction``)."""
_WAITING = frozenset({DeliveryState.HELD, DeliveryState.REQUESTED})


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


# ------------------------------------------------------------------ words that are offered to colleagues


def is_offer_waiting(chain: Chain, step: int, answer: str, words: Mapping[str, str]) -> bool:
    """Whether an offer of these words waits for its people's hours, or in the dispatcher, or is to be sent again."""
    offers = (m for m in _offers_of_words(chain) if (m.step, m.answer, m.words) == (step, answer, words))
    return any(m.delivery in _WAITING and m.unwanted in {None, SEPARATED} for m in offers)


def unseen_offers(chain: Chain, person: PersonId) -> list[ChainMessage]:
    """The offers that wait for a person, of words that no offer has brought them yet."""
    mine = [m for m in _offers_of_words(chain) if m.person_id == person]
    seen = [m.words for m in mine if m.delivery not in _WAITING | LOST]
    return [m for m in mine if m.delivery in _WAITING and m.words not in seen]


def unread_offers(chain: Chain) -> list[ChainMessage]:
    """The waiting offers of words that a person wrote or answered, and that no colleague has got.

    One for each colleague and words: a person may tap a button twice, and an offer may be made again.
    """
    offers, read = _offers_of_words(chain), _words_received(chain)
    waiting = [m for m in offers if m.delivery in _WAITING and _words_of(m) not in read]
    return list({(m.person_id, _words_of(m)): m for m in waiting}.values())


def lost_offers(chain: Chain) -> list[tuple[ChainMessage, frozenset[PersonId]]]:
    """An offer of each words that have reached no colleague and never will, with the people it failed to reach.

    So has a message that passed them on, where it is lost.
    """
    offers, passed_on = _offers_of_words(chain), _messages_to_read(chain)
    kept = _words_received(chain) | {_words_of(m) for m in offers if m.delivery in _WAITING}
    lost = {_words_of(m): m for m in offers if _words_of(m) not in kept}
    missed = [(_words_of(m), m.person_id) for m in offers if m.delivery is DeliveryState.FAILED]
    missed += [(_words_read(m), m.person_id) for m in passed_on if m.delivery in LOST]
    return [
        (offer, frozenset(person for missed_words, person in missed if missed_words == words))
        for words, offer in lost.items()
    ]


def carries_words(message: ChainMessage) -> bool:
    """Whether a message offers words of a person, or passes them on to be read."""
    is_offer_of_words = message.verb is Verb.HAND_OVER and message.answer is not None
    return is_offer_of_words or (message.say == TO_READ and message.answer == OF_THE_HOUSE)


def _offers_of_words(chain: Chain) -> list[ChainMessage]:
    return [m for m in chain.messages if m.verb is Verb.HAND_OVER and m.answer is not None]


def _words_of(offer: ChainMessage) -> tuple[str, str]:
    return offer.words.get("who", ""), offer.words.get("said", "")


def _messages_to_read(chain: Chain) -> list[ChainMessage]:
    return [m for m in chain.messages if m.say == TO_READ and m.answer == OF_THE_HOUSE]


def _words_read(message: ChainMessage) -> tuple[str, str]:
    return message.words.get("sender.display_name", ""), message.words.get("text", "")


def _words_received(chain: Chain) -> set[tuple[str, str]]:
    """The words that a colleague has received, by an offer or a message, or will receive by a message."""
    offered = {_words_of(m) for m in _offers_of_words(chain) if m.delivery not in _WAITING | LOST}
    return offered.union(_words_read(m) for m in _messages_to_read(chain) if m.delivery not in LOST)
