"""What an answer does: the quorum, the veto, the write it asks for, and what the person who answered is told."""

from services.rules import forms, record, speak
from services.rules.advance import advance, run
from services.rules.chain import Chain, Delivery, Ending, Given, Outgoing, StepStatus, Taken
from services.rules.desk import Desk, Reason
from services.rules.ending import close
from services.rules.handing import FINISH, TAKE, Offer, hand_over, left_with_owner, nobody_has_it, owners
from services.rules.quorum import act, decided, tell
from services.rules.recipients import Recipient
from services.rules.rulebook import Answer, HandOver, Step, Verb
from services.rules.speak import Speech, say_to, withdraw
from services.rules.terms import At
from shared.contracts.ids import PersonId
from shared.contracts.whatsapp import MessageReceived


def answered(desk: Desk, chain: Chain, question: Outgoing, name: str, message: MessageReceived) -> Chain:
    """A tap on one of our buttons. One answer is final per question and person; a later one is an addendum."""
    chain = _proved(chain, question)
    if question.verb is Verb.COLLECT:
        return _to_form(desk, chain, question, name, message)
    if set(question.buttons) in ({*TAKE}, {*FINISH}):
        return _HANDING[name](desk, chain, question, message) if chain.active else _late(desk, chain, question, message)
    step, answer = _answer_of(desk, chain, question, name)
    if not chain.active or question.closed or chain.final_answer_of(message.person_id):
        return _addendum(desk, chain, question, name, message)
    if answer is None:
        return free_text(desk, chain, question, message)
    given = _given(question, name, message, final=answer.final)
    chain = chain.replace(given=(*chain.given, given))
    if not answer.final:
        desk.judged(Reason.ANSWERED, chain, str(step.index))
        return advance(desk, _act_and_go_on(desk, chain, step, answer, message))
    return advance(desk, _final(desk, chain, step, answer, given))


def _proved(chain: Chain, question: Outgoing) -> Chain:
    """A tap proves that the question was sent, whatever the dispatcher has told of it so far."""
    if question.delivery not in {Delivery.REQUESTED, Delivery.UNCERTAIN}:
        return chain
    return chain.with_message(question.replace(delivery=Delivery.ACCEPTED))


def _to_form(desk: Desk, chain: Chain, question: Outgoing, name: str, message: MessageReceived) -> Chain:
    if question.closed or chain.form is None or chain.form.over or not chain.active:
        return _late(desk, chain, question, message)
    desk.judged(Reason.FORM, chain)
    return advance(desk, forms.fill(desk, chain, message, name))


def _answer_of(desk: Desk, chain: Chain, question: Outgoing, name: str) -> tuple[Step, Answer | None]:
    """A reminder gives the answers of the question it repeats, the nearest before it."""
    steps = desk.rule_of(chain).steps[: question.step + 1]
    asking = next((s for s in reversed(steps) if name in s.answers), steps[-1])
    return asking, asking.answers.get(name)


def _given(question: Outgoing, name: str, message: MessageReceived, *, final: bool) -> Given:
    return Given(
        person_id=message.person_id, on_behalf_of=question.on_behalf_of, answer=name, final=final, at=message.at,
        message_id=question.message_id, wamid=message.message_id, reply=name,
    )  # fmt: skip


def to_person(desk: Desk, chain: Chain, person: PersonId, speech: Speech) -> Chain:
    known = desk.world.people.get(desk.world.current(person))
    return chain if known is None else say_to(desk, chain, Recipient(known, "sender"), speech)


def house_word(say: str, step: int, message: MessageReceived, **words: str) -> Speech:
    """A house template in reply to ``message``; told apart by it, so one reply is answered once."""
    return Speech(Verb.TELL, say, step, "house", f"{say}.{message.message_id}", reply=True, words=words)


# ------------------------------------------------------------------ final answers


def _final(desk: Desk, chain: Chain, step: Step, answer: Answer, given: Given) -> Chain:
    noted = Speech(Verb.TELL, "noted", step.index, "house", f"noted.{given.wamid}", reply=True)
    chain = to_person(desk, chain, given.person_id, noted)
    if decided(desk, chain, step, answer):
        return act(desk, chain, step, answer)
    desk.judged(Reason.WAITS_FOR_QUORUM, chain, str(step.index))
    return withdraw(desk, chain, "answered", lambda m: m.person_id == given.person_id and m.is_question)


# ------------------------------------------------------------------ answers that go on


def _act_and_go_on(desk: Desk, chain: Chain, step: Step, answer: Answer, message: MessageReceived) -> Chain:
    sender = message.person_id
    if answer.record is not None:
        given = (chain.given[-1],)
        chain = record.ask(desk, chain, answer.record, record.Origin(step.index, answer.name, given))
    if answer.tell is not None:
        chain = tell(desk, chain, step, answer, sender)
    if answer.form is not None:
        return forms.begin(desk, chain, answer.form, step.index, source=message)
    if answer.hand_over is not None:
        chain = _pass_on(desk, chain, step, answer.hand_over, message, answer)
        return to_person(desk, chain, sender, house_word("handed_over", step.index, message))
    if answer.tell is None or answer.tell.who != ("sender",):
        chain = to_person(desk, chain, sender, house_word("noted", step.index, message))
    return chain


def _pass_on(
    desk: Desk, chain: Chain, step: Step, handing: HandOver, message: MessageReceived, answer: Answer | None = None
) -> Chain:
    person = desk.world.people.get(message.person_id)
    words = {"who": person.display_name if person else "", "said": _said(desk, chain, message, answer)}
    name = answer.name if answer else "free_text"
    return hand_over(
        desk, chain, Offer(handing.who, step.index, handing.say or "to_take", name, message.message_id, words)
    )


def _said(desk: Desk, chain: Chain, message: MessageReceived, answer: Answer | None) -> str:
    """What the person wrote, or the title of what they tapped, for whoever takes it."""
    if answer is None:
        return message.text or "—"
    templates = desk.book_of(chain).templates
    for step in desk.rule_of(chain).steps:
        if answer.name in step.answers and step.say is not None and step.say in templates:
            house = templates[step.say].languages.get(desk.book.tenant.language)
            return house.buttons.get(answer.name, answer.name) if house else answer.name
    return answer.name


def free_text(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived) -> Chain:
    """Words and emoji never approve anything: they are kept, and handed to a person of the owner team."""
    desk.judged(Reason.FREE_TEXT, chain, str(question.step))
    given = _given(question, "free_text", message, final=False)
    chain = chain.replace(given=(*chain.given, given))
    step = desk.rule_of(chain).steps[question.step]
    chain = _pass_on(desk, chain, step, HandOver(owners(desk, chain)), message)
    chain = to_person(desk, chain, message.person_id, house_word("handed_over", question.step, message))
    return advance(desk, chain)


# ------------------------------------------------------------------ after the end


def _addendum(desk: Desk, chain: Chain, question: Outgoing, name: str, message: MessageReceived) -> Chain:
    """Kept and flagged; the owner hears of it only if it differs from what that person said before."""
    desk.judged(Reason.ADDENDUM, chain, str(question.step))
    before = chain.final_answer_of(message.person_id)
    given = _given(question, name, message, final=False)
    chain = chain.replace(given=(*chain.given, given))
    chain = _closed(desk, chain, question, message)
    if before is None or before.answer != name:
        chain = _tell_owner(desk, chain, question, message, name)
    return advance(desk, chain)


def _late(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived) -> Chain:
    desk.judged(Reason.CLOSED_QUESTION, chain, str(question.step))
    return desk.keep(_closed(desk, chain, question, message))


def _closed(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived) -> Chain:
    return to_person(desk, chain, message.person_id, house_word("closed_question", question.step, message))


def _tell_owner(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived, name: str) -> Chain:
    person = desk.world.people.get(message.person_id)
    _, answer = _answer_of(desk, chain, question, name)
    words = {"who": person.display_name if person else "", "said": _said(desk, chain, message, answer)}
    key = f"addendum.{message.message_id}"
    speech = Speech(Verb.TELL, "late_answer", question.step, "house", key, words=words)
    return speak.speak(desk, chain, owners(desk, chain), speech)


# ------------------------------------------------------------------ take, not me, done, give back


def _take(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived) -> Chain:
    """The first to take it has it; timed steps pause, questions stay valid."""
    if chain.taken is not None and chain.taken.person_id != message.person_id:
        return _late(desk, chain, question, message)
    desk.judged(Reason.ANSWERED, chain, "take")
    chain = chain.replace(taken=Taken(person_id=message.person_id, at=desk.now))
    speech = Speech(Verb.TELL, "taken", question.step, "house", f"taken.{message.message_id}", 0, FINISH, reply=True)
    return advance(desk, to_person(desk, chain, message.person_id, speech))


def _not_me(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived) -> Chain:
    """When everybody it was offered to has declined, the next step runs now; an ``at`` keeps its time."""
    desk.judged(Reason.ANSWERED, chain, "not_me")
    chain = _declined(chain, question, message.person_id)
    chain = to_person(desk, chain, message.person_id, house_word("noted", question.step, message))
    if not _by_all(chain, question):
        return advance(desk, chain)
    following = _following(desk, chain)
    if following is None:
        return advance(desk, left_with_owner(desk, chain))
    chain = nobody_has_it(desk, chain, question.step)
    return advance(desk, chain if isinstance(following.timing, At) else run(desk, chain, following))


def _declined(chain: Chain, question: Outgoing, person: PersonId) -> Chain:
    handed = (h.replace(declined=(*h.declined, person)) if _offered(h.step, question) else h for h in chain.handed_over)
    return chain.replace(handed_over=tuple(handed))


def _by_all(chain: Chain, question: Outgoing) -> bool:
    """Whether everybody the latest offer went to has declined it."""
    last = next((h for h in reversed(chain.handed_over) if _offered(h.step, question)), None)
    if last is None or chain.taken is not None or last.step < _latest_offer(chain):
        return False
    return set(last.people) <= set(last.declined)


def _following(desk: Desk, chain: Chain) -> Step | None:
    steps = desk.rule_of(chain).steps
    return next((s for s in steps if chain.steps[s.index].status is StepStatus.PENDING), None)


def _offered(step: int, question: Outgoing) -> bool:
    return step == question.step


def _latest_offer(chain: Chain) -> int:
    return chain.handed_over[-1].step


def _done(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived) -> Chain:
    if chain.taken is None or chain.taken.person_id != message.person_id:
        return _late(desk, chain, question, message)
    desk.judged(Reason.ANSWERED, chain, "done")
    chain = to_person(desk, chain, message.person_id, house_word("noted", question.step, message))
    return advance(desk, close(desk, chain, Ending.HANDLED))


def _give_back(desk: Desk, chain: Chain, question: Outgoing, message: MessageReceived) -> Chain:
    """Given back, the timed steps go on, counted from now; where nobody else is left to take it, the owner hears so."""
    if chain.taken is None or chain.taken.person_id != message.person_id:
        return _late(desk, chain, question, message)
    desk.judged(Reason.ANSWERED, chain, "give_back")
    chain = _declined(chain.replace(taken=None, base_at=desk.now), question, message.person_id)
    chain = to_person(desk, chain, message.person_id, house_word("noted", question.step, message))
    if not _by_all(chain, question):
        return advance(desk, chain)
    if _following(desk, chain) is None:
        return advance(desk, left_with_owner(desk, chain))
    return advance(desk, nobody_has_it(desk, chain, question.step))


_HANDING = {"take": _take, "not_me": _not_me, "done": _done, "give_back": _give_back}
