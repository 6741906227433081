"""Handles an inbound message: opt-out first, then the question it answers, then the rules, then a person of the team.

A message is unsolicited if neither a question nor a form was waiting for it. Unsolicited messages are limited
(``unsolicited.py``); taps on open questions and answers that a form accepts do not count. Above the limit a message is
kept with the reason ``braked``, and is reported to a colleague once a day. Above the limit of all strangers together it
is kept with the reason ``strangers_braked``, which is logged. Reactions, stickers, emoji and thanks are ignored if they
answer no question. Of edited messages only those edited into STOP have an effect.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.rules.conversation import absence, button_ids, consent, forms
from services.rules.conversation.absence_text import AbsenceText, Leave
from services.rules.conversation.chain import Chain
from services.rules.conversation.chain_messages import is_of_handover
from services.rules.conversation.context import DecisionContext, GivenReply, Reason
from services.rules.conversation.outbound import notice_draft, send_notice, send_to_person, why_words
from services.rules.conversation.people import is_staff
from services.rules.conversation.question_lookup import (
    FoundQuestion,
    ReplyPath,
    UnclearQuestion,
    accepts_tap,
    awaits_answer,
    fills_form,
    find_question,
    is_button_tap,
)
from services.rules.conversation.release import show_digest
from services.rules.conversation.replies import apply_button_answer, apply_free_text
from services.rules.conversation.steps import advance
from services.rules.conversation.triggers import RuleTrigger, start_chain, start_chains
from services.rules.conversation.unsolicited import (
    are_strangers_below_limit,
    count_strangers,
    exceeded_limit,
    is_stranger,
    should_report,
)
from services.rules.rulebook.built_in import (
    ABSENCE_RULE_PREFIX,
    INBOX_RULE_PREFIX,
    PAUSED_RULE_PREFIX,
    WRONG_PERSON_RULE_PREFIX,
)
from services.rules.rulebook.model import Rule, Verb
from shared.contracts.ids import PersonId, RuleId
from shared.contracts.intents import ReplyIntent, classify, has_words
from shared.contracts.whatsapp import MessageKind, MessageReceived

_IGNORED_KINDS = frozenset({MessageKind.EDIT, MessageKind.REVOKE, MessageKind.CALL})
_CLARIFICATIONS = {
    UnclearQuestion.SEVERAL: "which_question",
    UnclearQuestion.SHARED: "shared_number",
}


def handle_inbound(
    context: DecisionContext,
    message: MessageReceived,
    trigger: RuleTrigger,
    match: Callable[[RuleTrigger], Iterable[Rule]],
    as_sent: MessageReceived,
) -> None:
    """``as_sent`` names the writer by the id they had then, under which consent is kept; ``message`` names them by
    their current id.
    """
    if message.message_kind in _IGNORED_KINDS or message.in_group or _is_removed_reaction(message):
        _apply_without_reply(context, message, as_sent)
        return
    if show_digest(context, message):
        return
    found = find_question(context, message)
    context.observations.append(GivenReply(found.path if isinstance(found, FoundQuestion) else found))
    intent = _intent(context, message, found)
    if intent is ReplyIntent.STOP:
        consent.apply_opt_out(context, as_sent)
    elif (notice := absence.read_notice(context, message)) is not None and _is_absence_notice(
        context, message, found, notice
    ):
        _apply_absence(context, message, trigger, notice)
    elif intent is ReplyIntent.WRONG_PERSON and _is_wrong_person_notice(context, message, found):
        _apply_wrong_person(context, message, trigger, found)
    elif _only_acknowledges(message, intent) and not awaits_answer(found, message):
        context.add_reason(Reason.ACKNOWLEDGEMENT)
    elif isinstance(found, FoundQuestion) and _is_asked_for(context, found, message):
        _answer(context, found, message, trigger)
    else:
        _handle_unsolicited(context, _Unsolicited(message, trigger, found, intent, as_sent), match)


def _is_absence_notice(
    context: DecisionContext,
    message: MessageReceived,
    found: FoundQuestion | UnclearQuestion,
    notice: AbsenceText,
) -> bool:
    """Whether a notice of absence is one: in a form, only one that names days and is no answer to the field."""
    if not fills_form(found) or not isinstance(found, FoundQuestion):
        return True
    return isinstance(notice, Leave) and not forms.advances_form(context, found.chain, message)


def _apply_absence(
    context: DecisionContext, message: MessageReceived, trigger: RuleTrigger, notice: AbsenceText
) -> None:
    """Keep the notice, move the person's running chains, and tell the team of the colleague who covers.

    A machine that repeats itself is answered once. A notice with anything new in it is always answered.
    """
    is_limited = exceeded_limit(context, message, UnclearQuestion.NOTHING) is not None
    is_limited = is_limited and not absence.is_new_notice(context, message, notice)
    absence.apply_notice(context, message, notice, answer=not is_limited)
    for chain in context.facts.chains_of(context.facts.current_id(message.person_id)):
        if chain.active:
            context.save_chain(advance(context, chain))
    team = _team_that_covers(context, notice)
    if team is not None and not is_limited:
        _start_built_in(context, trigger, ABSENCE_RULE_PREFIX, team)


def _is_wrong_person_notice(
    context: DecisionContext,
    message: MessageReceived,
    found: FoundQuestion | UnclearQuestion,
) -> bool:
    """Whether the words say that the person we wrote to is not at this address.

    “Not me” in reply to an offer only declines the offer.
    """
    if message.shared_with:
        return False
    if isinstance(found, FoundQuestion):
        return not is_of_handover(found.question)
    person = context.facts.people.get(message.person_id)
    if person is None or is_staff(context.rulebook, person):
        return False
    return context.facts.last_rule.get(message.person_id) is not None


def _apply_wrong_person(
    context: DecisionContext,
    message: MessageReceived,
    trigger: RuleTrigger,
    found: FoundQuestion | UnclearQuestion,
) -> None:
    """Send no more messages to this address, confirm that once, and let the team correct the contact."""
    is_limited = exceeded_limit(context, message, UnclearQuestion.NOTHING) is not None
    team = _team_of(context, message.person_id)
    if isinstance(found, FoundQuestion):
        team = context.rule_of(found.chain).owner
    consent.apply_wrong_person(context, message)
    if not is_limited:
        send_notice(context, message, "wrong_person")
        _start_built_in(context, trigger, WRONG_PERSON_RULE_PREFIX, team)


def _team_that_covers(context: DecisionContext, notice: AbsenceText) -> str | None:
    """The team of the colleague who covers; None where no colleague is named, or the colleague has no team."""
    cover = context.facts.people.get(notice.cover) if isinstance(notice, Leave) and notice.cover is not None else None
    if cover is None:
        return None
    teams = context.rulebook.people.teams
    return next((name for name, roles in teams.items() if any(cover.contact_id in ids for ids in roles.values())), None)


@dataclass(frozen=True, slots=True)
class _Unsolicited:
    """A message that no open question and no form was waiting for."""

    message: MessageReceived
    trigger: RuleTrigger
    found: FoundQuestion | UnclearQuestion
    intent: ReplyIntent | None
    as_sent: MessageReceived

    @property
    def may_start(self) -> bool:
        """Whether rules may start by it: it answers no question, and is neither START nor a “why?”."""
        open_to_rules = self.found is UnclearQuestion.NOTHING or self.found is UnclearQuestion.UNKNOWN_QUOTE
        return open_to_rules and self.intent not in {ReplyIntent.START, ReplyIntent.WHY}


def _is_asked_for(context: DecisionContext, found: FoundQuestion, message: MessageReceived) -> bool:
    """Whether the message is a tap that still counts, or an answer that the form accepts."""
    if found.answer is not None:
        return accepts_tap(found)
    return fills_form(found) and forms.advances_form(context, found.chain, message)


def _handle_unsolicited(
    context: DecisionContext, unsolicited: _Unsolicited, match: Callable[[RuleTrigger], Iterable[Rule]]
) -> None:
    """Answer an unsolicited message, unless it is above the limit."""
    matched = _rules_to_start(context, unsolicited, match)
    fills = fills_form(unsolicited.found)
    exceeded = exceeded_limit(
        context,
        unsolicited.message,
        unsolicited.found,
        starts=len(matched),
        fills=fills,
        opens=unsolicited.may_start,
    )
    if unsolicited.intent is ReplyIntent.START:
        consent.apply_opt_in(context, unsolicited.as_sent, answer=exceeded is None)
    if exceeded is not None:
        _hold_unanswered(context, unsolicited, exceeded)
    elif unsolicited.intent is ReplyIntent.WHY:
        _answer_why(context, unsolicited.message)
    elif unsolicited.intent is ReplyIntent.START:
        return
    elif isinstance(unsolicited.found, FoundQuestion):
        _answer(context, unsolicited.found, unsolicited.message, unsolicited.trigger)
    elif unsolicited.found in _CLARIFICATIONS:
        context.add_reason(Reason.ASKED_WHICH)
        send_notice(context, unsolicited.message, _CLARIFICATIONS[unsolicited.found])
    elif not start_chains(context, unsolicited.trigger, matched):
        team = _team_of(context, unsolicited.message.person_id)
        relay_to_team(context, unsolicited.message, unsolicited.trigger, team, thank=True)


def _rules_to_start(
    context: DecisionContext, unsolicited: _Unsolicited, match: Callable[[RuleTrigger], Iterable[Rule]]
) -> list[Rule]:
    """The rules that match; none that begins with a form where its questions could not be sent to the writer."""
    matched = match(unsolicited.trigger) if unsolicited.may_start else ()
    opted_out = context.facts.opted_out(unsolicited.message.person_id)
    return [rule for rule in matched if not opted_out or rule.steps[0].verb is not Verb.COLLECT]


def _hold_unanswered(context: DecisionContext, unsolicited: _Unsolicited, exceeded: Reason) -> None:
    """Keep the message without an answer. The team is told once a day that a person is above their limit."""
    if exceeded is Reason.STRANGERS_BRAKED:
        return
    context.add_reason(Reason.BRAKED)
    from_stranger = is_stranger(context, unsolicited.message.person_id)
    if from_stranger and not are_strangers_below_limit(context, 1):
        return
    if should_report(context, unsolicited.message):
        if from_stranger:
            count_strangers(context, 1)
        team = _team_of(context, unsolicited.message.person_id)
        _start_built_in(context, unsolicited.trigger, PAUSED_RULE_PREFIX, team)


def _apply_without_reply(context: DecisionContext, message: MessageReceived, as_sent: MessageReceived) -> None:
    if _edits_to_stop(context, message):
        consent.apply_opt_out(context, as_sent)
    else:
        context.add_reason(Reason.FACTS_KEPT)


def _edits_to_stop(context: DecisionContext, message: MessageReceived) -> bool:
    """Whether a message was edited into a wish to stop: it counts as if it were written now. No other edit counts."""
    if message.message_kind is not MessageKind.EDIT or message.in_group:
        return False
    written = message.replace(message_kind=MessageKind.TEXT, quoted_id=None)
    return _intent(context, written, find_question(context, written)) is ReplyIntent.STOP


def _is_removed_reaction(message: MessageReceived) -> bool:
    return message.message_kind is MessageKind.REACTION and not message.text


def _intent(
    context: DecisionContext,
    message: MessageReceived,
    found: FoundQuestion | UnclearQuestion,
) -> ReplyIntent | None:
    """The intent of the words, or of the tap. In a form that waits for words on this line they are the answer."""
    if is_button_tap(context, message):
        return ReplyIntent.STOP if button_ids.is_opt_out_tap(context.signing_keys, message.button_id) else None
    is_here = isinstance(found, FoundQuestion) and found.path is not ReplyPath.ONLY_OPEN
    if is_here and fills_form(found) and forms.accepts_text(context, found.chain, message):
        stops = classify(message.text) is ReplyIntent.STOP and not forms.keeps_stop_word(context, found.chain, message)
        return ReplyIntent.STOP if stops else None
    return classify(message.text)


def _only_acknowledges(message: MessageReceived, intent: ReplyIntent | None) -> bool:
    """Whether it is a reaction, a sticker, emoji or thanks: it asks for nothing."""
    if message.message_kind is MessageKind.TEXT:
        return intent is ReplyIntent.THANKS or not has_words(message.text)
    return message.message_kind is MessageKind.REACTION or _is_sticker(message)


def _is_sticker(message: MessageReceived) -> bool:
    """WhatsApp takes webp for stickers only: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media"""
    media = message.media
    return media is not None and (media.mime or "").startswith("image/webp") and media.filename is None


def _answer(context: DecisionContext, found: FoundQuestion, message: MessageReceived, trigger: RuleTrigger) -> None:
    """Apply an answer in the name of the person who was asked, who may share the address with the writer."""
    chain, message = found.chain, message.replace(person_id=found.question.person_id)
    if found.answer is not None:
        context.save_chain(apply_button_answer(context, chain, found.question, found.answer, message))
        return
    if fills_form(found):
        context.add_reason(Reason.FORM, chain)
        context.save_chain(advance(context, forms.fill_form(context, chain, message, None)))
    elif not chain.active:
        asked = found.question.is_question or found.question.verb is Verb.COLLECT
        if asked:
            _answer_closed_question(context, chain, found, message)
        relay_to_team(context, message, trigger, context.rule_of(chain).owner, thank=not asked)
    else:
        context.save_chain(apply_free_text(context, chain, found.question, message))


def _answer_closed_question(
    context: DecisionContext, chain: Chain, found: FoundQuestion, message: MessageReceived
) -> None:
    """Tell the person that the question is closed; the words go to the owner team."""
    context.add_reason(Reason.CLOSED_QUESTION, chain)
    context.save_chain(
        send_to_person(context, chain, message.person_id, notice_draft("closed_question", found.question.step, message))
    )


def relay_to_team(
    context: DecisionContext, message: MessageReceived, trigger: RuleTrigger, team: str, *, thank: bool
) -> None:
    """Start a chain that hands the message to a team; ``thank``: and tell the person so."""
    context.add_reason(Reason.RELAYED)
    chain = _start_built_in(context, trigger, INBOX_RULE_PREFIX, team)
    if thank:
        context.save_chain(send_to_person(context, chain, message.person_id, notice_draft("passed_on", 0, message)))


def _start_built_in(context: DecisionContext, trigger: RuleTrigger, prefix: str, team: str) -> Chain:
    """Start the built-in rule of a team; the event itself is its subject.

    Where the current rulebook no longer has the team that owns the rule of a chain, the inbox team takes its place.
    """
    known = team if team in context.rulebook.people.teams else context.rulebook.people.inbox
    return start_chain(context, trigger, context.rulebook.rules[RuleId(prefix + known)], f"event={trigger.event.id}")


def _team_of(context: DecisionContext, person: PersonId) -> str:
    """The owner team of the rule that last wrote to the person, else the inbox team."""
    last = context.facts.last_rule.get(person)
    rule = context.rulebook.rules.get(last) if last else None
    return rule.owner if rule else context.rulebook.people.inbox


def _answer_why(context: DecisionContext, message: MessageReceived) -> None:
    """Answer with the ``why`` of the rule of the quoted message, else of the rule that last wrote to the person.

    Where its chain is known, the answer also names the event that began it, the time, the title, and who asked.
    """
    context.add_reason(Reason.ASKED_WHY)
    quoted = context.facts.wamids.get(message.quoted_id) if message.quoted_id else None
    found = context.facts.chain_of_message(quoted) if quoted else None
    last = found[0].rule if found else context.facts.last_rule.get(message.person_id)
    rule = context.rulebook.rules.get(last) if last else None
    chain = found[0] if found else _newest_chain(context, message.person_id, rule)
    words = why_words(context, chain, rule, message.person_id) if rule is not None and chain is not None else None
    send_notice(context, message, "why_answer" if rule else "why_unknown", rule, words=words)


def _newest_chain(context: DecisionContext, person: PersonId, rule: Rule | None) -> Chain | None:
    """The live chain of a rule that wrote to this person last. It need not be the newest chain: an older one may have
    sent a reminder.
    """
    chains = (chain for chain in context.facts.chains_of(person) if rule is not None and chain.rule == rule.name)
    return max(chains, key=lambda chain: chain.last_sent_to(person) or chain.started_at, default=None)
