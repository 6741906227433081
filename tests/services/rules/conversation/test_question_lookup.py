"""Which question a message answers: by button, quote or code, as the form being filled, or as the only open one."""

from datetime import timedelta
from functools import cache

import pytest
from msgspec import Raw

from services.rules.conversation.button_ids import sign_button_id
from services.rules.conversation.chain import (
    Chain,
    ChainMessage,
    DeliveryState,
    Ending,
    FormPhase,
    FormState,
    GivenAnswer,
    StepState,
)
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.question_lookup import (
    FoundQuestion,
    ReplyPath,
    UnclearQuestion,
    accepts_tap,
    answer_of,
    awaits_answer,
    fills_form,
    find_question,
    has_answered,
)
from services.rules.conversation.rendering import reference_code
from services.rules.rulebook.built_in import TAKE
from services.rules.rulebook.model import Rulebook, Verb
from shared.contracts.ids import ChainId, Line, MessageId, PersonId, Revision, RuleId, Wamid
from shared.contracts.whatsapp import MessageKind, MessageReceived
from tests.services.rules.rules_service import KEYS, NOW, TENANT, person_observed, person_of
from tests.services.rules.stories import own_rulebook

ME, OTHER = person_of(806), person_of(807)
ACQUISITIONS = Line("acquisitions")
WROTE = "message.received"


def chain_id(number: int) -> ChainId:
    return ChainId(f"{number:032x}"[::-1])


FIRST, SECOND = chain_id(1), chain_id(2)


@cache
def book() -> Rulebook:
    return own_rulebook()


def question(
    number: int = 1,
    person: PersonId = ME,
    verb: Verb = Verb.ASK,
    buttons: tuple[str, ...] = ("yes",),
    **changes: object,
) -> ChainMessage:
    asked = ChainMessage(
        message_id=MessageId(f"m{number}"), person_id=person, verb=verb, say="rights_request", step=0, buttons=buttons,
        delivery=DeliveryState.DELIVERED, requested_at=NOW + timedelta(minutes=number),
    )  # fmt: skip
    return asked.replace(**changes)


def chain(*messages: ChainMessage, number: int = 1, **changes: object) -> Chain:
    made = Chain(
        chain_id=chain_id(number), tenant=TENANT, rule=RuleId("rights-approval"),
        revision=Revision(book().revision), subject=f"request={number}", key="key",
        started_at=NOW + timedelta(hours=number), base_at=NOW, start_name="rights.approval_requested", start=Raw(b"{}"),
        steps=(StepState(),), messages=messages,
    )  # fmt: skip
    return made.replace(**changes)


def form(person: PersonId = ME, phase: FormPhase = FormPhase.ASKING) -> FormState:
    return FormState(form="pitch", person_id=person, step=0, phase=phase, reference="ABC234", last_at=NOW)


def prompt(number: int = 1, person: PersonId = ME, **changes: object) -> ChainMessage:
    return question(number, person, Verb.COLLECT, (), say="pitch.title", **changes)


def filling(number: int = 1, person: PersonId = ME, at: int = 1, line: Line | None = None) -> Chain:
    return chain(prompt(at, person), number=number, form=form(person), line=line)


def context(*chains: Chain, **wamids: str) -> DecisionContext:
    known = [person_observed(806, phone="+441632960001"), person_observed(807, phone="+441632960002")]
    facts = Facts(TENANT, people={one.person_id: PersonFacts.of(one, None) for one in known})
    for one in chains:
        facts.add_chain(one)
    facts.wamids.update({Wamid(name): MessageId(message) for name, message in wamids.items()})
    return DecisionContext(facts, book(), lambda _: book(), NOW, KEYS)


def words(text: str = "Yes please", **changes: object) -> MessageReceived:
    wrote = MessageReceived(
        line=Line("main"), person_id=ME, message_id=Wamid("w"), message_kind=MessageKind.TEXT, text=text, at=NOW
    )
    return wrote.replace(**changes)


def tap(message: str, answer: str = "yes", **changes: object) -> MessageReceived:
    button = sign_button_id(KEYS, MessageId(message), answer)
    return words("Yes", message_kind=MessageKind.BUTTON, button_id=button, **changes)


def found(decided: DecisionContext, message: MessageReceived) -> tuple[str, str | None] | UnclearQuestion:
    """The question's id, and how it was found."""
    one = find_question(decided, message)
    return one if isinstance(one, UnclearQuestion) else (one.question.message_id, str(one.path))


def answered(one: ChainMessage) -> GivenAnswer:
    return GivenAnswer.of(one, words(person_id=one.person_id), "yes", final=True)


ENDED = chain(question()).close(Ending.ANSWERED)
HANDOVER = question(verb=Verb.HAND_OVER, buttons=tuple(TAKE))


# ------------------------------------------------------------------ how a question is found


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (tap("m1"), ("m1", "button")),
        (tap("m1", person_id=OTHER), UnclearQuestion.NOTHING),
        (tap("m1", person_id=OTHER, shared_with=(ME,)), ("m1", "button")),
        (tap("unknown"), ("m1", "only_open")),
        (words(quoted_id=Wamid("known")), ("m1", "quote")),
        (words(quoted_id=Wamid("unknown")), UnclearQuestion.UNKNOWN_QUOTE),
        (words(quoted_id=Wamid("known"), person_id=OTHER), UnclearQuestion.UNKNOWN_QUOTE),
        (words(quoted_id=Wamid("known"), person_id=OTHER, shared_with=(ME,)), UnclearQuestion.SHARED),
        (words(f"{reference_code(FIRST)} yes".lower()), ("m1", "code")),
        (words("ABCDEF yes"), ("m1", "only_open")),
        (words(), ("m1", "only_open")),
        (words(person_id=OTHER), UnclearQuestion.NOTHING),
        (words(person_id=OTHER, shared_with=(ME,)), UnclearQuestion.SHARED),
        (words("👍", message_kind=MessageKind.REACTION), UnclearQuestion.NOTHING),
        (words("👍", message_kind=MessageKind.REACTION, quoted_id=Wamid("known")), ("m1", "quote")),
    ],
)
def test_one_open_question_is_found(message: MessageReceived, expected: object) -> None:
    assert found(context(chain(question()), known="m1"), message) == expected


def test_a_tap_from_the_address_that_a_question_went_to_counts_though_the_person_has_another_by_now() -> None:
    marks = context().facts.people[OTHER].address_marks
    moved = chain(question(sent_to=marks))
    assert found(context(moved), tap("m1", person_id=OTHER)) == ("m1", "button")
    assert found(context(moved), words(person_id=OTHER)) is UnclearQuestion.NOTHING


def test_a_quoted_question_to_another_at_the_address_that_waits_no_more_is_not_guessed_at() -> None:
    message = words(quoted_id=Wamid("known"), person_id=OTHER, shared_with=(ME,))
    assert found(context(ENDED, known="m1"), message) is UnclearQuestion.UNKNOWN_QUOTE


def test_of_two_open_questions_words_answer_none_and_a_code_its_own() -> None:
    both = context(chain(question(1)), chain(question(2), number=2))
    assert found(both, words()) is UnclearQuestion.SEVERAL
    assert found(both, words(f"Yes to {reference_code(SECOND)}")) == ("m2", "code")


def test_of_the_items_of_a_digest_a_reply_means_the_one_whose_code_it_has_else_the_first() -> None:
    digest = MessageId("digest")
    both = context(chain(question(1, digest=digest)), chain(question(2, digest=digest), number=2), known="digest")
    assert found(both, words(quoted_id=Wamid("known"))) == ("m1", "quote")
    code = reference_code(SECOND)
    assert found(both, words(f"{code}: fine", quoted_id=Wamid("known"))) == ("m2", "quote")


@pytest.mark.parametrize(
    "silent",
    [
        ENDED,
        chain(question(closed=True)),
        chain(question(delivery=DeliveryState.HELD)),
        chain(question(delivery=DeliveryState.REQUESTED)),
        chain(question(delivery=DeliveryState.UNCERTAIN)),
        chain(question(buttons=())),
        chain(question(verb=Verb.TELL)),
        chain(question(person=OTHER)),
        chain(question(), joins=True, start_name=WROTE),
        chain(question(), deferred_until=0),
        chain(prompt()),
        chain(prompt(), form=form(phase=FormPhase.SENT)),
    ],
    ids=[
        "ended",
        "closed",
        "held",
        "requested",
        "uncertain",
        "no_buttons",
        "told",
        "of_another",
        "joins",
        "deferred",
        "no_form",
        "sent",
    ],
)
def test_words_answer_no_question_that_does_not_wait_for_them(silent: Chain) -> None:
    assert found(context(silent), words()) is UnclearQuestion.NOTHING


def test_a_rule_that_joins_other_events_than_messages_takes_words() -> None:
    assert found(context(chain(question(), joins=True)), words()) == ("m1", "only_open")


def test_a_form_of_a_rule_that_joins_messages_takes_words() -> None:
    joining = filling().replace(joins=True, start_name=WROTE)
    assert found(context(joining), words()) == ("m1", "form")


def test_of_several_questions_of_a_chain_words_answer_the_newest_that_was_sent() -> None:
    asked = chain(
        question(1), question(2, verb=Verb.REMIND), question(3, delivery=DeliveryState.HELD), question(4, OTHER)
    )
    assert found(context(asked), words()) == ("m2", "only_open")


def test_of_the_questions_of_a_form_the_newest_to_its_person_counts() -> None:
    asked = chain(prompt(1), prompt(2), prompt(3, OTHER), form=form())
    assert found(context(asked), words()) == ("m2", "form")


# ------------------------------------------------------------------ forms


def test_words_fill_the_form_and_answer_no_question_beside_it() -> None:
    assert found(context(chain(question(9), number=9), filling()), words()) == ("m1", "form")


def test_words_on_another_line_than_the_form_s_are_for_the_question() -> None:
    beside = context(chain(question(9), number=9), filling(line=ACQUISITIONS))
    assert found(beside, words()) is UnclearQuestion.SEVERAL
    assert found(beside, words(line=ACQUISITIONS)) == ("m1", "form")


@pytest.mark.parametrize(("first", "second", "expected"), [(1, 2, "m2"), (2, 1, "m2")])
def test_of_two_forms_words_fill_the_one_that_asked_last(first: int, second: int, expected: str) -> None:
    both = context(filling(1, at=first), filling(2, at=second))
    assert found(both, words()) == (expected, "form")


def test_a_form_of_a_colleague_at_the_number_is_filled_where_the_writer_has_none() -> None:
    theirs = filling(1, OTHER, at=2)
    assert found(context(theirs), words(shared_with=(OTHER,))) == ("m2", "form")
    assert found(context(theirs, filling(2, at=1)), words(shared_with=(OTHER,))) == ("m1", "form")


def test_which_of_the_forms_of_two_others_is_meant_is_not_guessed() -> None:
    third = PersonId("v-third")
    several = context(filling(1, OTHER), filling(2, third, at=2))
    assert found(several, words(shared_with=(OTHER, third))) is UnclearQuestion.SHARED


# ------------------------------------------------------------------ whether it waits


@pytest.mark.parametrize(
    ("unclear", "expected"),
    [
        (UnclearQuestion.SEVERAL, True),
        (UnclearQuestion.SHARED, True),
        (UnclearQuestion.UNKNOWN_QUOTE, False),
        (UnclearQuestion.NOTHING, False),
    ],
)
def test_whether_something_waits_where_no_question_was_found(unclear: UnclearQuestion, *, expected: bool) -> None:
    assert awaits_answer(unclear, words()) is expected


def of(one: Chain, answer: str | None = None) -> FoundQuestion:
    return FoundQuestion(one, one.messages[0], answer, ReplyPath.QUOTE)


@pytest.mark.parametrize(
    ("one", "waits"),
    [
        (chain(question()), True),
        (ENDED, False),
        (chain(question()).replace(closing=Ending.ANSWERED), False),
        (chain(question(closed=True)), False),
        (chain(question(), answers=(answered(question()),)), False),
        (chain(question(), answers=(answered(question(person=OTHER)),)), True),
        (chain(HANDOVER, answers=(answered(HANDOVER),)), True),
        (chain(prompt()), False),
        (filling(), True),
        (filling().replace(closing=Ending.CANCELLED), False),
        (filling().replace(form=form(OTHER)), False),
    ],
)
def test_whether_a_question_waits_for_words(one: Chain, *, waits: bool) -> None:
    assert awaits_answer(of(one), words()) is waits


def test_words_to_a_question_beside_the_form_of_its_chain_fill_no_form() -> None:
    both = chain(question(), form=form())
    assert not fills_form(of(both))
    assert fills_form(of(filling()))


def test_a_reaction_is_no_answer_in_a_form_and_a_tap_always_is_one() -> None:
    reaction = words("👍", message_kind=MessageKind.REACTION)
    assert not awaits_answer(of(filling()), reaction)
    assert awaits_answer(of(chain(question())), reaction)
    assert awaits_answer(of(ENDED, "yes"), words())


@pytest.mark.parametrize(
    ("one", "counts"),
    [
        (chain(question()), True),
        (chain(question(closed=True)), False),
        (chain(question()).replace(closing=Ending.UNTIL), False),
        (chain(question(), answers=(answered(question()),)), False),
        (chain(question(delivery=DeliveryState.UNCERTAIN)), True),
        (chain(HANDOVER, answers=(answered(HANDOVER),)), True),
    ],
)
def test_whether_a_tap_counts(one: Chain, *, counts: bool) -> None:
    assert accepts_tap(of(one, "yes")) is counts


def test_a_message_without_buttons_is_never_answered_finally() -> None:
    told = question(buttons=())
    assert not has_answered(chain(told, answers=(answered(told),)), told)


# ------------------------------------------------------------------ the answer that a button stands for


def test_the_button_of_a_reminder_answers_the_step_that_asks() -> None:
    steps = book().rules[RuleId("rights-approval")].steps
    (asking,) = [step for step in steps if step.verb is Verb.ASK]
    reminding = next(step for step in steps if step.verb is Verb.REMIND)
    name = next(iter(asking.answers))
    reminder = question(verb=Verb.REMIND, step=reminding.index)
    step, answer = answer_of(context(), chain(reminder), reminder, name)
    assert (step.index, answer) == (asking.index, asking.answers[name])
    assert answer_of(context(), chain(reminder), reminder, "no such answer") == (reminding, None)
