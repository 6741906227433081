"""Making messages: to whom, whether now or at their next open hour, in which words.

A held message has no words yet; it is judged and worded when it is released, with the facts of that moment.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache

from msgspec import Struct, field

from services.rules.conversation import button_ids, rendering
from services.rules.conversation.chain import UNSENT, Chain, ChainMessage, DeliveryState
from services.rules.conversation.context import DecisionContext, ExcludedPerson, Reason, RequestedMessage
from services.rules.conversation.facts import PersonFacts
from services.rules.conversation.recipients import (
    Recipient,
    exclusion_reason,
    is_staff,
    resolve_recipients,
    staff_roles,
)
from services.rules.conversation.rendering import language_of, template_values
from services.rules.rulebook.model import Addressees, Rule, Rulebook, Template, Verb
from shared.clients.working_calendar import Duration, PublisherCalendar, WorkingCalendar
from shared.contracts.consonance import BlockSeverity
from shared.contracts.ids import Line, MessageId, PersonId, derive_id
from shared.contracts.messages import Button, Lane, Resend, SendMessage, TemplateCall, WithdrawMessage
from shared.contracts.whatsapp import MessageReceived

BODY_VALUE = "body"
"""The word of a message that has its own text and no template: a form's question, inside the window by nature."""

BUTTON_TITLE_PREFIX = "button."
"""The words that title its buttons."""

_LANES = {BlockSeverity.CRITICAL: Lane.CRITICAL, BlockSeverity.WARNING: Lane.NORMAL, BlockSeverity.INFO: Lane.NORMAL}


class MessageDraft(Struct, frozen=True):
    """What is to be said, before it is known to whom. ``key`` tells two messages of one step and person apart."""

    verb: Verb
    say: str
    step: int
    answer: str | None = None
    key: str = ""
    occurrence: int = 0
    buttons: tuple[str, ...] = ()
    reply: bool = False
    words: dict[str, str] = field(default_factory=dict)


def working_hours(context: DecisionContext, person: PersonFacts) -> WorkingCalendar:
    return _hours_of(context.rulebook, person)


@lru_cache(maxsize=4096)
def _hours_of(book: Rulebook, person: PersonFacts) -> WorkingCalendar:
    house = staff_roles(book.people, person)
    return _hours(book.calendar, person.country, person.zone, house.union(person.roles), bool(house))


@lru_cache(maxsize=4096)
def _hours(
    calendar: PublisherCalendar,
    country: str | None,
    zone: str | None,
    roles: frozenset[str],
    staff: bool,  # noqa: FBT001 -- a cached call is keyed by position
) -> WorkingCalendar:
    """People in one country and one part share theirs."""
    return calendar.calendar_of(country=country, zone=zone or calendar.office.zone, roles=roles, staff=staff)


def send_draft(
    context: DecisionContext, chain: Chain, who: Addressees, draft: MessageDraft, *, sender: PersonId | None = None
) -> Chain:
    """Say it to everybody ``who`` names; those left out are kept with their reason on the step."""
    resolved = resolve_recipients(context, chain, who, sender=sender)
    for name, reason in resolved.left_out.items():
        context.effects.append(ExcludedPerson(chain.chain_id, name, reason))
    if resolved.left_out:
        reasons = {name: str(reason) for name, reason in resolved.left_out.items()}
        left_out = {**chain.steps[draft.step].left_out, **reasons}
        chain = chain.with_step(draft.step, left_out=left_out)
    for recipient in resolved.recipients:
        chain = send_to_recipient(context, chain, recipient, draft)
    return chain


def send_to_recipient(context: DecisionContext, chain: Chain, recipient: Recipient, draft: MessageDraft) -> Chain:
    person = recipient.person
    outgoing = ChainMessage(
        message_id=_message_id(chain, draft, person.person_id),
        person_id=person.person_id,
        on_behalf_of=recipient.on_behalf_of,
        verb=draft.verb,
        say=draft.say,
        step=draft.step,
        answer=draft.answer,
        occurrence=draft.occurrence,
        words=draft.words,
        reply=draft.reply,
        buttons=draft.buttons,
        held_until=_release_time(context, chain, person, reply=draft.reply),
    )
    if chain.message(outgoing.message_id) is not None:
        return chain
    context.drafted.add(outgoing.message_id)
    if outgoing.held_until is not None and outgoing.held_until > context.now:
        return chain.with_message(outgoing)
    return request_message(context, chain, outgoing)


def _message_id(chain: Chain, draft: MessageDraft, person: PersonId) -> MessageId:
    step = f"{draft.step}.{draft.answer or ''}.{draft.key}"
    return MessageId(derive_id("message", chain.chain_id, step, draft.occurrence, person))


def _release_time(context: DecisionContext, chain: Chain, person: PersonFacts, *, reply: bool) -> datetime | None:
    if reply or _passes_quiet_hours(context, chain, person):
        return None
    return _opening(working_hours(context, person), context.now)


@lru_cache(maxsize=4096)
def _opening(of: WorkingCalendar, now: datetime) -> datetime:
    """Everything of a batch is decided at one instant."""
    return of.next_open(now)


@lru_cache(maxsize=4096)
def _expiry(of: WorkingCalendar, now: datetime, within: Duration) -> datetime:
    return of.add(now, within)


def _passes_quiet_hours(context: DecisionContext, chain: Chain, person: PersonFacts) -> bool:
    return context.rulebook.tenant.staff_pass is context.severity(chain) and is_staff(context, person)


def request_message(context: DecisionContext, chain: Chain, outgoing: ChainMessage) -> Chain:
    """Word it and give it to the dispatcher; someone who may not be written to any more is left out instead."""
    person = context.facts.people.get(outgoing.person_id)
    reason = exclusion_reason(context, person, outgoing.person_id, "", free=True)
    if person is None or reason is not None:
        context.effects.append(ExcludedPerson(chain.chain_id, outgoing.person_id, reason)) if reason else None
        left_out = {**chain.steps[outgoing.step].left_out, outgoing.person_id: str(reason)}
        chain = chain.with_step(outgoing.step, left_out=left_out)
        return chain.with_message(outgoing.replace(delivery=DeliveryState.DROPPED))
    message = build_message(context, chain, outgoing, person)
    context.effects.append(RequestedMessage(message, outgoing.verb, outgoing.on_behalf_of))
    if context.rule_of(chain).events:
        context.facts.set_last_rule(person.person_id, chain.rule)
    return chain.with_message(
        outgoing.replace(
            delivery=DeliveryState.REQUESTED,
            requested_at=context.now,
            held_until=None,
            language=message.language,
            rendered=message.body if outgoing.buttons else None,
        )
    )


def build_message(context: DecisionContext, chain: Chain, outgoing: ChainMessage, person: PersonFacts) -> SendMessage:
    said, template = _render(context, chain, outgoing, person)
    return SendMessage(
        message_id=outgoing.message_id,
        person_id=person.person_id,
        line=chain.line or Line(context.rulebook.tenant.default_line),
        rule=chain.rule,
        chain_id=chain.chain_id,
        say=outgoing.say,
        language=said.language,
        body=said.body,
        buttons=_buttons(context, outgoing, said) if outgoing.buttons else (),
        template=template,
        lane=_LANES[context.severity(chain)],
        resend=Resend.NEVER if outgoing.buttons else Resend.IF_UNPROVEN,
        expires_at=_expiry(working_hours(context, person), context.now, context.rulebook.tenant.send_within),
    )


def _buttons(context: DecisionContext, outgoing: ChainMessage, said: rendering.RenderedMessage) -> tuple[Button, ...]:
    titles: dict[str, str] = {**dict(said.buttons), **_titles(outgoing)}
    return tuple(
        Button(
            button_id=button_ids.sign_button_id(context.signing_keys, outgoing.message_id, answer), title=titles[answer]
        )
        for answer in outgoing.buttons
    )


def _render(
    context: DecisionContext, chain: Chain, outgoing: ChainMessage, person: PersonFacts
) -> tuple[rendering.RenderedMessage, TemplateCall | None]:
    wanted = language_of(context, person)
    if (body := outgoing.words.get(BODY_VALUE)) is not None:
        return rendering.RenderedMessage(body=body, parameters={}, buttons=(), language=wanted), None
    template = template_of(context, chain, outgoing.say)
    return _render_template(context, template, wanted, template_values(context, chain, outgoing, person, template))


def _render_template(
    context: DecisionContext, template: Template, wanted: str, values: Mapping[str, object]
) -> tuple[rendering.RenderedMessage, TemplateCall]:
    language = rendering.choose_language(template, wanted, context.rulebook.tenant.language)
    said = rendering.render_template(template, language, values, context.rulebook.tenant.words.get(language))
    return said, TemplateCall(name=template.meta_name, language=language, parameters=said.parameters)


def send_notice(
    context: DecisionContext, message: MessageReceived, say: str, rule: Rule | None = None, *, last_word: bool = False
) -> None:
    """A reply of the house that belongs to no chain: on the line they wrote to, at once, and not a question.

    ``last_word``: also to somebody who has just said STOP.
    """
    person = context.facts.people.get(context.facts.current_id(message.person_id))
    refused = exclusion_reason(context, person, person.person_id, "", free=True) if person else None
    if person is None or refused not in {None, Reason.OPTED_OUT if last_word else None}:
        return
    tenant = context.rulebook.tenant
    wanted = language_of(context, person)
    why = (rule.why.get(wanted) or rule.why.get(tenant.language, "")) if rule else ""
    publisher = tenant.publisher.get(wanted, tenant.publisher[tenant.language])
    values: dict[str, object] = {"publisher": publisher, "person": person.display_name, "why": why}
    said, template = _render_template(context, context.rulebook.templates[say], wanted, values)
    sent = SendMessage(
        message_id=MessageId(derive_id("house", say, message.message_id)),
        person_id=person.person_id,
        line=message.line,
        say=say,
        language=said.language,
        body=said.body,
        template=template,
        resend=Resend.IF_UNPROVEN,
        expires_at=_expiry(working_hours(context, person), context.now, tenant.send_within),
    )
    context.effects.append(RequestedMessage(sent, Verb.TELL, None))
    if not last_word:
        context.drafted.add(sent.message_id)
        context.facts.add_notice(sent.message_id, person.person_id)


def notice_text(context: DecisionContext, person: PersonFacts, say: str, **words: str) -> str:
    """The text of a house template, to stand within another message to this person."""
    return _render_template(context, context.rulebook.templates[say], language_of(context, person), words)[0].body


def _titles(outgoing: ChainMessage) -> dict[str, str]:
    return {
        name.removeprefix(BUTTON_TITLE_PREFIX): title
        for name, title in outgoing.words.items()
        if name.startswith(BUTTON_TITLE_PREFIX)
    }


def template_of(context: DecisionContext, chain: Chain, say: str) -> Template:
    """House words follow the house; a rule's own templates are those the chain started with."""
    return context.rulebook_of(chain).templates.get(say) or context.rulebook.templates[say]


def withdraw_messages(
    context: DecisionContext,
    chain: Chain,
    reason: str,
    takes: Callable[[ChainMessage], bool] = lambda _: True,
    *,
    replies: bool = False,
) -> Chain:
    """Take back what is decided and not known to be sent; what is already with WhatsApp stays said.

    Replies to what a person wrote stay, unless ``replies``.
    """
    for outgoing in chain.messages:
        if outgoing.delivery not in {DeliveryState.HELD, DeliveryState.REQUESTED} or not takes(outgoing):
            continue
        if outgoing.delivery is DeliveryState.HELD or context.cancel_request(outgoing.message_id):
            chain = chain.with_message(outgoing.replace(delivery=DeliveryState.WITHDRAWN))
        elif replies or outgoing.is_question or not outgoing.reply:
            message = WithdrawMessage(message_id=outgoing.message_id, person_id=outgoing.person_id, reason=reason)
            context.request_withdrawal(message)
    return chain


def close_questions(chain: Chain) -> Chain:
    for outgoing in chain.messages:
        if outgoing.is_question and not outgoing.closed:
            chain = chain.with_message(outgoing.replace(closed=True))
    return chain


def has_reached_anyone(chain: Chain, step: int) -> bool:
    """Whether anybody was, or will be, written to by this step as it runs now."""
    occurrence = chain.steps[step].occurrence
    mine = (m for m in chain.messages if m.step == step and m.answer is None and m.occurrence == occurrence)
    return any(m.delivery is DeliveryState.HELD or m.delivery not in UNSENT for m in mine)
