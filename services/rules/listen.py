"""An inbound message: STOP and its like first, then the question it answers, then the rules, then a person.

Reactions, stickers, emoji and thanks that answer no question cause nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from services.rules import brake, consent, forms, reply
from services.rules.advance import advance
from services.rules.answer import answered, free_text, house_word, to_person
from services.rules.chain import Chain
from services.rules.desk import Desk, Reason
from services.rules.rulebook import Rule, Verb
from services.rules.speak import house_message
from services.rules.start import Occasion, begin_chains, start
from shared.contracts.ids import ChainId, PersonId, RuleId
from shared.contracts.intents import Intent, classify, has_words, is_stop_keyword
from shared.contracts.whatsapp import MessageKind, MessageReceived

_SILENT = frozenset({MessageKind.EDIT, MessageKind.REVOKE, MessageKind.CALL})
_ASKED_BACK = {reply.Unsure.SEVERAL: "which_question", reply.Unsure.SHARED: "shared_number"}
INBOX = "house-inbox-"
BRAKED = "house-brake-"
"""The house's own rules, one of each a team: what nobody asked for goes to a person; so does whom we stop answering."""


def heard(
    desk: Desk, message: MessageReceived, occasion: Occasion, match: Callable[[Occasion], Iterable[Rule]]
) -> None:
    if message.message_kind in _SILENT or message.in_group or _took_back_reaction(message):
        desk.judged(Reason.FACTS_KEPT)
        return
    found = reply.correlate(desk, message)
    intent = _intent(desk, message, found)
    if intent is Intent.STOP:
        consent.stop(desk, message)
    elif _only_acknowledges(message, intent) and not reply.is_asked(found, message):
        desk.judged(Reason.ACKNOWLEDGEMENT)
    elif isinstance(found, reply.Correlated) and _is_asked_for(desk, found, message):
        _answer(desk, found, message, occasion)
    else:
        _unasked(desk, _Unasked(message, occasion, found, intent), match)


@dataclass(frozen=True, slots=True)
class _Unasked:
    """A message that no open question and no form waited for."""

    message: MessageReceived
    occasion: Occasion
    found: reply.Correlated | reply.Unsure
    intent: Intent | None

    @property
    def about(self) -> ChainId | None:
        return self.found.chain.chain_id if isinstance(self.found, reply.Correlated) else None

    @property
    def may_start(self) -> bool:
        """Whether it is for the rules: it is about no question, and no word that the house itself understands."""
        open_to_rules = self.found is reply.Unsure.NOTHING or self.found is reply.Unsure.UNKNOWN_QUOTE
        return open_to_rules and self.intent not in {Intent.START, Intent.WHY}


def _is_asked_for(desk: Desk, found: reply.Correlated, message: MessageReceived) -> bool:
    """A tap that can still count, or an answer that takes a form on."""
    if found.answer is not None:
        return reply.is_open(found)
    return reply.fills_form(found) and forms.goes_on(desk, found.chain, message)


def _unasked(desk: Desk, said: _Unasked, match: Callable[[Occasion], Iterable[Rule]]) -> None:
    """Answered, unless it is the same again or too many."""
    matched = list(match(said.occasion)) if said.may_start else []
    fills = reply.fills_form(said.found)
    held = brake.holds(desk, said.message, said.about, starts=bool(matched), fills=fills)
    if said.intent is Intent.START:
        consent.start(desk, said.message, answer=not held)
    if held:
        _hold(desk, said)
    elif said.intent is Intent.WHY:
        _why(desk, said.message)
    elif said.intent is Intent.START:
        return
    elif isinstance(said.found, reply.Correlated):
        _answer(desk, said.found, said.message, said.occasion)
    elif said.found in _ASKED_BACK:
        desk.judged(Reason.ASKED_WHICH)
        house_message(desk, said.message, _ASKED_BACK[said.found])
    elif not begin_chains(desk, said.occasion, matched):
        _relay(desk, said.message, said.occasion)


def _hold(desk: Desk, said: _Unasked) -> None:
    """It is kept and not answered; once a day a person of the house hears of it."""
    desk.judged(Reason.BRAKED)
    if brake.is_told(desk, said.message):
        rule = desk.book.rules[RuleId(BRAKED + _team_of(desk, said.message.person_id))]
        start(desk, said.occasion, rule, f"event={said.occasion.event.id}")


def waits_for_quote(desk: Desk, message: MessageReceived, waited: timedelta) -> bool:
    """Whether to wait for the receipt of the message it quotes, before anything is made of it."""
    unsure = reply.correlate(desk, message) is reply.Unsure.UNKNOWN_QUOTE
    return unsure and waited < reply.QUOTE_PATIENCE


def _took_back_reaction(message: MessageReceived) -> bool:
    return message.message_kind is MessageKind.REACTION and not message.text


def _intent(desk: Desk, message: MessageReceived, found: reply.Correlated | reply.Unsure) -> Intent | None:
    """What is written into a form that waits for it is the answer: there only STOP itself stops."""
    if reply.taps(desk, message):
        return None
    if reply.fills_form(found) and forms.takes(desk, found.chain, message):
        return Intent.STOP if is_stop_keyword(message.text) else None
    return classify(message.text)


def _only_acknowledges(message: MessageReceived, intent: Intent | None) -> bool:
    """A reaction, a sticker, emoji or thanks: it says that something was read, and asks for nothing."""
    if message.message_kind is MessageKind.TEXT:
        return intent is Intent.THANKS or not has_words(message.text)
    return message.message_kind is MessageKind.REACTION or _is_sticker(message)


def _is_sticker(message: MessageReceived) -> bool:
    """WhatsApp takes webp for stickers only: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media"""
    media = message.media
    return media is not None and (media.mime or "").startswith("image/webp") and media.filename is None


def _answer(desk: Desk, found: reply.Correlated, message: MessageReceived, occasion: Occasion) -> None:
    """It counts for whoever was asked, though the address may be better known as somebody else's."""
    chain, message = found.chain, message.replace(person_id=found.question.person_id)
    if found.answer is not None:
        desk.keep(answered(desk, chain, found.question, found.answer, message))
        return
    if chain.active and found.question.verb is Verb.COLLECT and chain.form is not None and not chain.form.over:
        desk.judged(Reason.FORM, chain)
        desk.keep(advance(desk, forms.fill(desk, chain, message, None)))
    elif not chain.active:
        asked = found.question.is_question or found.question.verb is Verb.COLLECT
        if asked:
            _after_the_end(desk, chain, found, message)
        relay(desk, message, occasion, desk.rule_of(chain).owner, thank=not asked)
    else:
        desk.keep(free_text(desk, chain, found.question, message))


def _after_the_end(desk: Desk, chain: Chain, found: reply.Correlated, message: MessageReceived) -> None:
    """Words to a question that is closed: the person is told so; the words go to the owner."""
    desk.judged(Reason.CLOSED_QUESTION, chain)
    desk.keep(to_person(desk, chain, message.person_id, house_word("closed_question", found.question.step, message)))


def relay(desk: Desk, message: MessageReceived, occasion: Occasion, team: str, *, thank: bool) -> None:
    """What a person wrote unasked goes to a team; ``thank``: and the person is told that it did."""
    desk.judged(Reason.RELAYED)
    rule = desk.book.rules[RuleId(INBOX + team)]
    chain = start(desk, occasion, rule, f"event={occasion.event.id}")
    if thank:
        desk.keep(to_person(desk, chain, message.person_id, house_word("passed_on", 0, message)))


def _relay(desk: Desk, message: MessageReceived, occasion: Occasion) -> None:
    relay(desk, message, occasion, _team_of(desk, message.person_id), thank=True)


def _team_of(desk: Desk, person: PersonId) -> str:
    """The owner of the rule that last wrote to them, else the inbox."""
    last = desk.world.last_rule.get(person)
    rule = desk.book.rules.get(last) if last else None
    return rule.owner if rule else desk.book.people.inbox


# ------------------------------------------------------------------ understood before any rule


def _why(desk: Desk, message: MessageReceived) -> None:
    """The ``why`` of the rule behind the quoted message, else of the one that last wrote to them."""
    desk.judged(Reason.ASKED_WHY)
    quoted = desk.world.wamids.get(message.quoted_id) if message.quoted_id else None
    found = desk.world.chain_of_message(quoted) if quoted else None
    last = found[0].rule if found else desk.world.last_rule.get(message.person_id)
    rule = desk.book.rules.get(last) if last else None
    house_message(desk, message, "why_answer" if rule else "why_unknown", rule)


def _started(_desk: Desk, _message: MessageReceived) -> None:
    """``consent.start`` has said all."""
