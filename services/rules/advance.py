"""A chain's own course: which step is due, what it does, and when something is due next."""

from services.rules import forms, record, speak
from services.rules.chain import Chain, Delivery, Ending, Outgoing, StepStatus
from services.rules.conditions import holds
from services.rules.desk import Desk, Reason
from services.rules.ending import close, finish
from services.rules.facts import MESSAGE_RECEIVED
from services.rules.guards import has_come
from services.rules.handing import Offer, hand_over, nobody_has_it, remind_taker
from services.rules.quorum import count_without
from services.rules.recipients import Recipient, unanswered
from services.rules.rulebook import Rule, Step, Verb
from services.rules.speak import Speech, say_to
from services.rules.timing import next_due, runnable

_MOST_ROUNDS = 100  # a fault of ours may keep a chain due for good


def advance(desk: Desk, chain: Chain) -> Chain:
    """Release what is due, run what is due, end what is over, until nothing more follows.

    ``next_due`` is then in the future, None, or not read up to yet (``guards``).
    """
    for _ in range(_MOST_ROUNDS):
        before, chain = chain, _once(desk, chain)
        due = next_due(desk, chain)
        if chain is before or not has_come(desk, chain, due):
            break
    return desk.keep(chain if due == chain.next_due else chain.replace(next_due=due))


def _once(desk: Desk, chain: Chain) -> Chain:
    chain = _settle_steps(_release(desk, chain))
    while chain.active and (step := runnable(desk, chain)) is not None:
        chain = _settle_steps(run(desk, chain, step))
    return finish(desk, remind_taker(desk, _settle_steps(chain)))


def _release(desk: Desk, chain: Chain) -> Chain:
    """Send what was held for its receiver's hours, if its reason still stands; after the end only later words are."""
    for held in chain.outgoing:
        outgoing = chain.message(held.message_id) or held  # one before it may have ended the chain
        if outgoing.delivery is not Delivery.HELD or not has_come(desk, chain, outgoing.held_until):
            continue
        if outgoing.answer is None and _unless(desk, chain, outgoing.step):
            chain = chain.with_message(outgoing.replace(delivery=Delivery.WITHDRAWN))
        else:
            chain = _send(desk, chain, outgoing)
    return chain


def _send(desk: Desk, chain: Chain, outgoing: Outgoing) -> Chain:
    """Whoever may not be written to any more is left out, and then the others may be enough."""
    chain = speak.send(desk, chain, outgoing)
    sent = chain.message(outgoing.message_id)
    gone = chain.active and sent is not None and sent.delivery is Delivery.DROPPED
    return count_without(desk, chain, outgoing) if gone else chain


def _unless(desk: Desk, chain: Chain, index: int) -> bool:
    step = desk.rule_of(chain).steps[index]
    return step.unless is not None and holds(step.unless, desk.document(chain))


def _settle_steps(chain: Chain) -> Chain:
    """A running step is done once nothing of it is held any more."""
    for index, state in enumerate(chain.steps):
        if state.status is StepStatus.RUNNING and not _holds_back(chain, index):
            chain = _done(chain, index)
    return chain


def _holds_back(chain: Chain, index: int) -> bool:
    held = any(m.step == index and m.answer is None and m.delivery is Delivery.HELD for m in chain.outgoing)
    writing = any(
        w.step == index and w.answer is None and w.depth == 0 and w.pending and not w.told_manual
        for w in chain.writings
    )  # fmt: skip
    filling = chain.form is not None and chain.form.step == index and not chain.form.over and chain.form.prompts == 0
    return held or writing or filling


def _done(chain: Chain, index: int) -> Chain:
    sent = [m.requested_at for m in chain.outgoing if m.step == index and m.answer is None and m.requested_at]
    state = chain.steps[index]
    at = max(sent, default=state.done_at or chain.base_at)
    nobody = bool(state.left_out) and not speak.reached(chain, index)
    chain = chain.with_step(index, status=StepStatus.DONE, done_at=at, unreached=nobody)
    return chain.replace(base_at=max(at, chain.base_at))


# ------------------------------------------------------------------ what a step does


def run(desk: Desk, chain: Chain, step: Step) -> Chain:
    chain = _overtake(chain, desk.rule_of(chain), step)
    desk.judged(Reason.STEP_DUE, chain, str(step.index))
    if step.unless is not None and holds(step.unless, desk.document(chain)):
        chain = chain.replace(base_at=desk.now)
        return chain.with_step(step.index, status=StepStatus.SKIPPED, done_at=desk.now)
    chain = chain.with_step(step.index, status=StepStatus.RUNNING, done_at=desk.now, left_out={})
    return _VERBS[step.verb](desk, chain, step)


def _overtake(chain: Chain, rule: Rule, step: Step) -> Chain:
    for earlier in rule.steps[: step.index]:
        if chain.steps[earlier.index].status is StepStatus.PENDING:
            chain = chain.with_step(earlier.index, status=StepStatus.SKIPPED)
    return chain


def speech_of(chain: Chain, step: Step, say: str, buttons: tuple[str, ...] = ()) -> Speech:
    """What a step says to whoever has just written is a reply, and keeps no hours."""
    reply = chain.start_name == MESSAGE_RECEIVED and step.timing is None and step.who == ("sender",)
    occurrence = chain.steps[step.index].occurrence
    return Speech(step.verb, say, step.index, occurrence=occurrence, buttons=buttons, reply=reply)


def _tell(desk: Desk, chain: Chain, step: Step) -> Chain:
    return speak.speak(desk, chain, step.who, speech_of(chain, step, step.say or ""))


def _ask(desk: Desk, chain: Chain, step: Step) -> Chain:
    chain = speak.speak(desk, chain, step.who, speech_of(chain, step, step.say or "", tuple(step.answers)))
    return chain if speak.reached(chain, step.index) else nobody_has_it(desk, chain, step.index)


def _remind(desk: Desk, chain: Chain, step: Step) -> Chain:
    """Ask those again who have not answered finally, on behalf of whom they were asked, with the same buttons."""
    if chain.form is not None and not chain.form.over:
        return forms.remind(desk, chain, speech_of(chain, step, step.say or ""))
    people = unanswered(chain)
    if not people and step.index and chain.steps[step.index - 1].unreached:
        return _left_out_too(chain, step)
    for person_id in people:
        asked = next(m for m in reversed(chain.outgoing) if m.person_id == person_id and m.open)
        person = desk.world.people.get(person_id)
        if person is not None:
            speech = speech_of(chain, step, step.say or "", asked.buttons)
            chain = say_to(desk, chain, Recipient(person, "unanswered", asked.on_behalf_of), speech)
    return chain


def _left_out_too(chain: Chain, step: Step) -> Chain:
    """Whom nothing reached cannot be reminded either, which takes no time."""
    left_out = {who: why for state in chain.steps for who, why in state.left_out.items()}
    return chain.with_step(step.index, left_out=left_out)


def _collect(desk: Desk, chain: Chain, step: Step) -> Chain:
    return forms.begin(desk, chain, step.form or "", step.index)


def _hand_over(desk: Desk, chain: Chain, step: Step) -> Chain:
    return hand_over(desk, chain, Offer(step.who, step.index, step.say or "to_take"))


def _record(desk: Desk, chain: Chain, step: Step) -> Chain:
    if step.record is None:
        return chain
    return record.ask(desk, chain, step.record, record.Origin(step.index))


def _give_up(desk: Desk, chain: Chain, step: Step) -> Chain:
    if step.record is not None:
        chain = record.ask(desk, chain, step.record, record.Origin(step.index))
    if step.tell is not None:
        chain = speak.speak(desk, chain, step.tell.who, speech_of(chain, step, step.tell.say))
    return close(desk, chain, Ending.GAVE_UP)


_VERBS = {
    Verb.TELL: _tell,
    Verb.ASK: _ask,
    Verb.REMIND: _remind,
    Verb.COLLECT: _collect,
    Verb.HAND_OVER: _hand_over,
    Verb.RECORD: _record,
    Verb.GIVE_UP: _give_up,
}
