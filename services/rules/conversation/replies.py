"""Applies an answer to its question: it counts for the quorum, requests a write, hands over, or begins a form."""

from services.rules.conversation import forms, outbound, writes
from services.rules.conversation.chain import (
    FREE_TEXT,
    IN_DISPATCHER,
    LOST,
    Chain,
    ChainMessage,
    DeliveryState,
    Ending,
    GivenAnswer,
)
from services.rules.conversation.chain_messages import (
    WRITER,
    is_of_handover,
    is_offer,
    is_offer_waiting,
    is_question_of_rule,
    unseen_offers,
)
from services.rules.conversation.completion import (
    await_quorum,
    close_chain,
    conclude,
    is_decided,
    leave_with_owner,
    next_pending_step,
    report_unclaimed,
    send_answer_message,
    waits_for_its_time,
)
from services.rules.conversation.context import AnsweredQuestion, DecisionContext, Reason
from services.rules.conversation.handover import ASSIGNEE_BUTTONS, HandoverDraft
from services.rules.conversation.outbound import MessageDraft, notice_draft, send_to_person, withdraw_messages
from services.rules.conversation.question_lookup import answer_of, answers_to_steps
from services.rules.conversation.recipients import owner_team
from services.rules.conversation.send_hours import AWAITED_FOR
from services.rules.conversation.steps import advance, all_declined, hand_over, offer_again, run_step, without_assignee
from services.rules.conversation.template_calls import placeholder_text
from services.rules.rulebook.built_in import ALREADY_TAKEN
from services.rules.rulebook.model import AnswerAction, HandoverAction, Question, Step, Verb, questions_of
from shared.contracts.ids import PersonId
from shared.contracts.whatsapp import MessageReceived


def apply_button_answer(
    context: DecisionContext, chain: Chain, question: ChainMessage, name: str, message: MessageReceived
) -> Chain:
    """Apply a tap. One answer is final for each question and person; a later one is an addendum."""
    chain = _mark_sent(chain, question)
    if question.verb is Verb.COLLECT:
        return _apply_to_form(context, chain, question, name, message)
    if is_of_handover(question):
        return (
            _HANDOVER_ANSWERS[name](context, chain, question, message)
            if chain.active
            else _answer_too_late(context, chain, question, message)
        )
    step, answer = answer_of(context, chain, question, name)
    if not chain.active or question.closed or chain.final_answer_of(message.person_id):
        return _add_addendum(context, chain, question, name, message)
    if answer is None:
        return apply_free_text(context, chain, question, message)
    given = GivenAnswer.of(question, message, name, final=answer.final, path=answer.path)
    if answer.final and (asked_at := chain.asked_since().get(message.person_id)) is not None:
        context.observations.append(AnsweredQuestion(chain.rule, message.at - asked_at))
    is_repeated = _is_repeated(chain, given)
    chain = chain.replace(answers=(*chain.answers, given))
    if not answer.final:
        context.add_reason(Reason.ANSWERED, chain, str(step.index))
        apply = _repeat_reply if is_repeated and answer.form is None else _apply_intermediate_answer
        return advance(context, apply(context, chain, step, answer, message))
    return advance(context, _apply_final_answer(context, chain, step, answer, given))


def _is_repeated(chain: Chain, given: GivenAnswer) -> bool:
    """Whether the person has tapped the same button a moment ago, as they do where no reply has come yet."""
    same = (g for g in chain.answers if (g.message_id, g.person_id) == (given.message_id, given.person_id))
    return any(g.answer == given.answer and abs(given.at - g.at) < AWAITED_FOR for g in same)


def _repeat_reply(
    context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction, message: MessageReceived
) -> Chain:
    """Reply to a repeated tap; nothing is recorded, asked or handed over twice, and no other person is told."""
    if answer.tell is not None and answer.tell.who == ("sender",):
        return send_answer_message(context, chain, step, answer, message.person_id)
    say = "noted" if answer.hand_over is None else "handed_over"
    return send_to_person(context, chain, message.person_id, notice_draft(say, step.index, message))


def _mark_sent(chain: Chain, question: ChainMessage) -> Chain:
    """A tap proves that the question was sent."""
    if question.delivery not in IN_DISPATCHER:
        return chain
    return chain.with_message(question.replace(delivery=DeliveryState.ACCEPTED))


def _apply_to_form(
    context: DecisionContext, chain: Chain, question: ChainMessage, name: str, message: MessageReceived
) -> Chain:
    if question.closed or chain.form is None or chain.form.over or not chain.active:
        return _answer_too_late(context, chain, question, message)
    context.add_reason(Reason.FORM, chain)
    return advance(context, forms.fill_form(context, chain, message, name))


def _apply_final_answer(
    context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction, given: GivenAnswer
) -> Chain:
    noted = MessageDraft(Verb.TELL, "noted", step.index, "house", f"noted.{given.wamid}", reply=True)
    chain = send_to_person(context, chain, given.person_id, noted)
    if is_decided(context, chain, step, answer):
        return conclude(context, chain, step, answer)
    context.add_reason(Reason.WAITS_FOR_QUORUM, chain, str(step.index))
    return await_quorum(context, chain, step, answer, given)


def _apply_intermediate_answer(
    context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction, message: MessageReceived
) -> Chain:
    if answer.record is not None:
        given = (chain.answers[-1],)
        chain = writes.request_write(context, chain, answer.record, writes.WriteOrigin(step.index, answer.path, given))
    if answer.tell is not None:
        chain = send_answer_message(context, chain, step, answer, message.person_id)
    if answer.veto:
        chain = withdraw_messages(context, chain, "vetoed", is_question_of_rule)
        chain = chain.close_questions(is_question_of_rule).reopen_answers(chain.answers)
    if answer.form is not None and not forms.is_filled_by_other(chain, message.person_id):
        return forms.begin_form(context, chain, answer.form, step.index, source=message)
    handover = answer.hand_over if answer.form is None else HandoverAction(owner_team(context, chain))
    if handover is not None:
        chain = _hand_over(context, chain, step, handover, message, answer)
        return send_to_person(context, chain, message.person_id, notice_draft("handed_over", step.index, message))
    if answer.ask is not None:
        chain = _await_no_more(context, chain, step, answer, message.person_id)
        chain = _ask_follow_up(context, chain, step, answer.ask, message.person_id)
    if answer.tell is None or answer.tell.who != ("sender",):
        chain = send_to_person(context, chain, message.person_id, notice_draft("noted", step.index, message))
    return chain


def _await_no_more(context: DecisionContext, chain: Chain, step: Step, answer: AnswerAction, person: PersonId) -> Chain:
    """The answer of a person leads to another question: they are not reminded of the one before."""
    place = (step.index, answer.path)

    def is_answered(message: ChainMessage) -> bool:
        if message.person_id != person or answer.name not in message.buttons or not is_question_of_rule(message):
            return False
        asking, same = answer_of(context, chain, message, answer.name)
        return same is not None and (asking.index, same.path) == place

    answered = {message.message_id for message in chain.messages if is_answered(message)}
    chain = withdraw_messages(context, chain, "answered", is_answered)
    return chain.replace(
        messages=tuple(m.replace(led_on=True) if m.message_id in answered else m for m in chain.messages)
    )


def _ask_follow_up(context: DecisionContext, chain: Chain, step: Step, question: Question, sender: PersonId) -> Chain:
    """Ask what an answer asks next, once for each occurrence of its step; else report that it reached no person."""
    occurrence, buttons = chain.steps[step.index].occurrence, tuple(question.answers)
    draft = MessageDraft(Verb.ASK, question.say, step.index, question.within, occurrence=occurrence, buttons=buttons)
    chain = outbound.send_draft(context, chain, question.who, draft, sender=sender)
    asked = any(m.answer == question.within and not m.closed and m.delivery not in LOST for m in chain.messages)
    return chain if asked else report_unclaimed(context, chain, step.index)


def _hand_over(
    context: DecisionContext,
    chain: Chain,
    step: Step,
    handover: HandoverAction,
    message: MessageReceived,
    answer: AnswerAction | None = None,
) -> Chain:
    """Offer an answer, or words, to colleagues; not once more where the same waits for their morning."""
    words = _words_of_answer(context, chain, message, answer)
    name = answer.path if answer else FREE_TEXT
    if is_offer_waiting(chain, step.index, name, words):
        return chain
    return hand_over(
        context,
        chain,
        HandoverDraft(handover.who, step.index, handover.say or "to_take", name, message.message_id, words),
    )


def _words_of_answer(
    context: DecisionContext, chain: Chain, message: MessageReceived, answer: AnswerAction | None
) -> dict[str, str]:
    """Whose words they are stands with them: an erasure of that person finds them in a message to another one."""
    person = context.facts.people.get(message.person_id)
    said = _answer_text(context, chain, message, answer)
    return {"who": person.display_name if person else "", "said": said, WRITER: message.person_id}


def _answer_text(context: DecisionContext, chain: Chain, message: MessageReceived, answer: AnswerAction | None) -> str:
    """The text of the person, or the title of the button they tapped, for the person who takes it over."""
    if answer is None:
        return message.text or (message.media and message.media.filename) or placeholder_text(context.rulebook)
    templates = context.rulebook_of(chain).templates
    for question in (each for step in context.rule_of(chain).steps for each in questions_of(step)):
        if question.answers.get(answer.name) is answer and question.say in templates:
            house = templates[question.say].languages.get(context.rulebook.tenant.language)
            return house.buttons.get(answer.name, answer.name) if house else answer.name
    return answer.name


def apply_free_text(context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived) -> Chain:
    """Keep words and emoji, which never approve anything, and hand them to a person of the owner team."""
    context.add_reason(Reason.FREE_TEXT, chain, str(question.step))
    given = GivenAnswer.of(question, message, FREE_TEXT, final=False)
    chain = chain.replace(answers=(*chain.answers, given))
    step = context.rule_of(chain).steps[question.step]
    chain = _hand_over(context, chain, step, HandoverAction(owner_team(context, chain)), message)
    chain = send_to_person(context, chain, message.person_id, notice_draft("handed_over", question.step, message))
    return advance(context, chain)


def _add_addendum(
    context: DecisionContext, chain: Chain, question: ChainMessage, name: str, message: MessageReceived
) -> Chain:
    """Keep a later answer; the owner team is told of it once, and only if it differs from the final one."""
    context.add_reason(Reason.ADDENDUM, chain, str(question.step))
    step, answer = answer_of(context, chain, question, name)
    before = (chain.final_answer_of(message.person_id), _last_answer(context, chain, question, step, message.person_id))
    given = GivenAnswer.of(question, message, name, final=False, path=answer.path if answer else None)
    chain = chain.replace(answers=(*chain.answers, given))
    chain = _send_closed_question(context, chain, question, message)
    if given.answer not in {known.answer for known in before if known is not None}:
        chain = _send_late_answer_to_owner(context, chain, question, message, name)
    return advance(context, chain)


def _last_answer(
    context: DecisionContext, chain: Chain, question: ChainMessage, step: Step, person: PersonId
) -> GivenAnswer | None:
    """The person's last tap on this question, or on another message that asks it, since they have this one."""
    since = question.requested_at
    tapped = [
        given
        for given in answers_to_steps(context, chain, [step.index])
        if given.person_id == person and given.reply != FREE_TEXT and since is not None and given.at >= since
    ]
    return tapped[-1] if tapped else None


def _answer_too_late(context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived) -> Chain:
    context.add_reason(Reason.CLOSED_QUESTION, chain, str(question.step))
    return context.save_chain(_send_closed_question(context, chain, question, message))


def _answer_taken(context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived) -> Chain:
    """Tell a colleague who has the matter; or that it is closed, where no person has it or the house has no words."""
    assignee = context.facts.current_person(chain.assignment.person_id) if chain.assignment is not None else None
    if assignee is None or assignee.erased or ALREADY_TAKEN not in context.rulebook.templates:
        return _answer_too_late(context, chain, question, message)
    context.add_reason(Reason.CLOSED_QUESTION, chain, str(question.step))
    draft = notice_draft(ALREADY_TAKEN, question.step, message, who=assignee.display_name)
    return context.save_chain(send_to_person(context, chain, message.person_id, draft))


def _send_closed_question(
    context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived
) -> Chain:
    return send_to_person(context, chain, message.person_id, notice_draft("closed_question", question.step, message))


def _send_late_answer_to_owner(
    context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived, name: str
) -> Chain:
    _, answer = answer_of(context, chain, question, name)
    words = _words_of_answer(context, chain, message, answer)
    key = f"addendum.{message.message_id}"
    draft = MessageDraft(Verb.TELL, "late_answer", question.step, "house", key, words=words)
    return outbound.send_draft(context, chain, owner_team(context, chain), draft)


def _assign(context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived) -> Chain:
    """The first person to take it has it; timed steps pause, questions stay open, unsent offers are withdrawn."""
    if chain.assignment is not None and chain.assignment.person_id != message.person_id:
        return _answer_taken(context, chain, question, message)
    context.add_reason(Reason.ANSWERED, chain, "take")
    chain = chain.assign(message.person_id, context.now)
    chain = withdraw_messages(context, chain, "taken", is_offer)
    draft = MessageDraft(
        Verb.TELL, "taken", question.step, "house", f"taken.{message.message_id}", 0, ASSIGNEE_BUTTONS, reply=True
    )
    return advance(context, send_to_person(context, chain, message.person_id, draft))


def _not_me(context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived) -> Chain:
    """A person declines, or gives back what they have taken.

    Words of others that the person has not got yet are still offered to them. When all have declined, the next step
    runs now, unless it keeps its time; a tap that says the same again runs no other.
    """
    if chain.assignment is not None and chain.assignment.person_id == message.person_id:
        return _give_back(context, chain, question, message)
    context.add_reason(Reason.ANSWERED, chain, "not_me")
    is_repeated = all(message.person_id in offer.declined for offer in chain.handovers if offer.step == question.step)
    unseen = unseen_offers(chain, message.person_id)
    chain = chain.decline_offer(question.step, message.person_id, but=sum(m.step == question.step for m in unseen))

    def is_declined(offer: ChainMessage) -> bool:
        return is_offer(offer) and offer.person_id == message.person_id and offer not in unseen

    chain = withdraw_messages(context, chain, "declined", is_declined)
    chain = send_to_person(context, chain, message.person_id, notice_draft("noted", question.step, message))
    if is_repeated or not all_declined(chain, question):
        return advance(context, chain)
    following = next_pending_step(context, chain)
    if following is None:
        return advance(context, leave_with_owner(context, chain))
    chain = report_unclaimed(context, chain, question.step)
    return advance(context, chain if waits_for_its_time(chain, following) else run_step(context, chain, following))


def _finish(context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived) -> Chain:
    if chain.assignment is None or chain.assignment.person_id != message.person_id:
        return _answer_taken(context, chain, question, message)
    context.add_reason(Reason.ANSWERED, chain, "done")
    chain = send_to_person(context, chain, message.person_id, notice_draft("noted", question.step, message))
    return advance(context, close_chain(context, chain, Ending.HANDLED))


def _give_back(context: DecisionContext, chain: Chain, question: ChainMessage, message: MessageReceived) -> Chain:
    """The person gives it back: timed steps count from now, and it is offered again to those who have not declined it.

    The owner team is told where no other person is left.
    """
    if chain.assignment is None or chain.assignment.person_id != message.person_id:
        return _answer_taken(context, chain, question, message)
    context.add_reason(Reason.ANSWERED, chain, "give_back")
    chain = without_assignee(context, chain, question)
    chain = send_to_person(context, chain, message.person_id, notice_draft("noted", question.step, message))
    return offer_again(context, chain, question)


_HANDOVER_ANSWERS = {"take": _assign, "not_me": _not_me, "done": _finish, "give_back": _give_back}
