"""Making messages: to whom, whether now or at their next open hour, in which words.

A held message has no words yet; it is judged and worded when it is released, with the facts of that moment.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache

from msgspec import Struct, field

from services.rules import buttons, wording
from services.rules.chain import UNSENT, Chain, Delivery, Outgoing
from services.rules.desk import Desk, LeftOut, Reason, Said
from services.rules.filling import filled, language_of
from services.rules.recipients import Recipient, house_roles, is_staff, refusal, resolve
from services.rules.rulebook import Rule, Rulebook, Template, Verb
from services.rules.terms import Severity, Who
from services.rules.world import Person
from shared.clients.working_calendar import Duration, PublisherCalendar, WorkingCalendar
from shared.contracts.ids import Line, MessageId, PersonId, derive_id
from shared.contracts.messages import Button, Lane, Resend, SendMessage, TemplateCall, WithdrawMessage
from shared.contracts.whatsapp import MessageReceived

BODY = "body"
"""The word of a message that has its own text and no template: a form's question, inside the window by nature."""

TITLE = "button."
"""The words that title its buttons."""

_LANES = {Severity.CRITICAL: Lane.CRITICAL, Severity.WARNING: Lane.NORMAL, Severity.INFO: Lane.NORMAL}


class Speech(Struct, frozen=True):
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


def hours(desk: Desk, person: Person) -> WorkingCalendar:
    return _hours_of(desk.book, person)


@lru_cache(maxsize=4096)
def _hours_of(book: Rulebook, person: Person) -> WorkingCalendar:
    house = house_roles(book.people, person)
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


def speak(desk: Desk, chain: Chain, who: Who, speech: Speech, *, sender: PersonId | None = None) -> Chain:
    """Say it to everybody ``who`` names; those left out are kept with their reason on the step."""
    resolved = resolve(desk, chain, who, sender=sender)
    for name, reason in resolved.left_out.items():
        desk.effects.append(LeftOut(chain.chain_id, name, reason))
    if resolved.left_out:
        reasons = {name: str(reason) for name, reason in resolved.left_out.items()}
        left_out = {**chain.steps[speech.step].left_out, **reasons}
        chain = chain.with_step(speech.step, left_out=left_out)
    for recipient in resolved.recipients:
        chain = say_to(desk, chain, recipient, speech)
    return chain


def say_to(desk: Desk, chain: Chain, recipient: Recipient, speech: Speech) -> Chain:
    person = recipient.person
    outgoing = Outgoing(
        message_id=_message_id(chain, speech, person.person_id), person_id=person.person_id,
        on_behalf_of=recipient.on_behalf_of, verb=speech.verb, say=speech.say, step=speech.step, answer=speech.answer,
        occurrence=speech.occurrence, words=speech.words, reply=speech.reply, buttons=speech.buttons,
        held_until=_release_time(desk, chain, person, reply=speech.reply),
    )  # fmt: skip
    if chain.message(outgoing.message_id) is not None:
        return chain
    desk.spoken.add(outgoing.message_id)
    if outgoing.held_until is not None and outgoing.held_until > desk.now:
        return chain.with_message(outgoing)
    return send(desk, chain, outgoing)


def _message_id(chain: Chain, speech: Speech, person: PersonId) -> MessageId:
    step = f"{speech.step}.{speech.answer or ''}.{speech.key}"
    return MessageId(derive_id("message", chain.chain_id, step, speech.occurrence, person))


def _release_time(desk: Desk, chain: Chain, person: Person, *, reply: bool) -> datetime | None:
    if reply or _passes_quiet_hours(desk, chain, person):
        return None
    return _opening(hours(desk, person), desk.now)


@lru_cache(maxsize=4096)
def _opening(of: WorkingCalendar, now: datetime) -> datetime:
    """Everything of a batch is decided at one instant."""
    return of.next_open(now)


@lru_cache(maxsize=4096)
def _expiry(of: WorkingCalendar, now: datetime, within: Duration) -> datetime:
    return of.add(now, within)


def _passes_quiet_hours(desk: Desk, chain: Chain, person: Person) -> bool:
    return desk.book.tenant.staff_pass is desk.severity(chain) and is_staff(desk, person)


def send(desk: Desk, chain: Chain, outgoing: Outgoing) -> Chain:
    """Word it and give it to the dispatcher; someone who may not be written to any more is left out instead."""
    person = desk.world.people.get(outgoing.person_id)
    reason = refusal(desk, person, outgoing.person_id, "", free=True)
    if person is None or reason is not None:
        desk.effects.append(LeftOut(chain.chain_id, outgoing.person_id, reason)) if reason else None
        left_out = {**chain.steps[outgoing.step].left_out, outgoing.person_id: str(reason)}
        chain = chain.with_step(outgoing.step, left_out=left_out)
        return chain.with_message(outgoing.replace(delivery=Delivery.DROPPED))
    message = worded(desk, chain, outgoing, person)
    desk.effects.append(Said(message, outgoing.verb, outgoing.on_behalf_of))
    if desk.rule_of(chain).events:
        desk.world.keep_last_rule(person.person_id, chain.rule)
    return chain.with_message(
        outgoing.replace(
            delivery=Delivery.REQUESTED, requested_at=desk.now, held_until=None, language=message.language,
            rendered=message.body if outgoing.buttons else None,
        )
    )  # fmt: skip


def worded(desk: Desk, chain: Chain, outgoing: Outgoing, person: Person) -> SendMessage:
    said, template = _wording(desk, chain, outgoing, person)
    return SendMessage(
        message_id=outgoing.message_id, person_id=person.person_id,
        line=chain.line or Line(desk.book.tenant.default_line), rule=chain.rule, chain_id=chain.chain_id,
        say=outgoing.say, language=said.language, body=said.body,
        buttons=_buttons(desk, outgoing, said) if outgoing.buttons else (),
        template=template,
        lane=_LANES[desk.severity(chain)],
        resend=Resend.NEVER if outgoing.buttons else Resend.IF_UNPROVEN,
        expires_at=_expiry(hours(desk, person), desk.now, desk.book.tenant.send_within),
    )  # fmt: skip


def _buttons(desk: Desk, outgoing: Outgoing, said: wording.Rendered) -> tuple[Button, ...]:
    titles: dict[str, str] = {**dict(said.buttons), **_titles(outgoing)}
    return tuple(
        Button(button_id=buttons.mint(desk.signing_keys, outgoing.message_id, answer), title=titles[answer])
        for answer in outgoing.buttons
    )


def _wording(
    desk: Desk, chain: Chain, outgoing: Outgoing, person: Person
) -> tuple[wording.Rendered, TemplateCall | None]:
    wanted = language_of(desk, person)
    if (body := outgoing.words.get(BODY)) is not None:
        return wording.Rendered(body=body, parameters={}, buttons=(), language=wanted), None
    template = template_of(desk, chain, outgoing.say)
    return _rendered(desk, template, wanted, filled(desk, chain, outgoing, person, template))


def _rendered(
    desk: Desk, template: Template, wanted: str, values: Mapping[str, object]
) -> tuple[wording.Rendered, TemplateCall]:
    language = wording.choose_language(template, wanted, desk.book.tenant.language)
    said = wording.render(template, language, values, desk.book.tenant.words.get(language))
    return said, TemplateCall(name=template.meta_name, language=language, parameters=said.parameters)


def house_message(
    desk: Desk, message: MessageReceived, say: str, rule: Rule | None = None, *, last_word: bool = False
) -> None:
    """A reply of the house that belongs to no chain: on the line they wrote to, at once, and not a question.

    ``last_word``: also to somebody who has just said STOP.
    """
    person = desk.world.people.get(desk.world.current(message.person_id))
    refused = refusal(desk, person, person.person_id, "", free=True) if person else None
    if person is None or refused not in {None, Reason.OPTED_OUT if last_word else None}:
        return
    tenant = desk.book.tenant
    wanted = language_of(desk, person)
    why = (rule.why.get(wanted) or rule.why.get(tenant.language, "")) if rule else ""
    publisher = tenant.publisher.get(wanted, tenant.publisher[tenant.language])
    values: dict[str, object] = {"publisher": publisher, "person": person.display_name, "why": why}
    said, template = _rendered(desk, desk.book.templates[say], wanted, values)
    sent = SendMessage(
        message_id=MessageId(derive_id("house", say, message.message_id)), person_id=person.person_id,
        line=message.line,
        say=say, language=said.language, body=said.body, template=template, resend=Resend.IF_UNPROVEN,
        expires_at=_expiry(hours(desk, person), desk.now, tenant.send_within),
    )  # fmt: skip
    desk.effects.append(Said(sent, Verb.TELL, None))
    if not last_word:
        desk.spoken.add(sent.message_id)
        desk.world.keep_loose(sent.message_id, person.person_id)


def house_body(desk: Desk, person: Person, say: str, **words: str) -> str:
    """The text of a house template, to stand within another message to this person."""
    return _rendered(desk, desk.book.templates[say], language_of(desk, person), words)[0].body


def _titles(outgoing: Outgoing) -> dict[str, str]:
    return {name.removeprefix(TITLE): title for name, title in outgoing.words.items() if name.startswith(TITLE)}


def template_of(desk: Desk, chain: Chain, say: str) -> Template:
    """House words follow the house; a rule's own templates are those the chain started with."""
    return desk.book_of(chain).templates.get(say) or desk.book.templates[say]


def withdraw(
    desk: Desk, chain: Chain, reason: str, takes: Callable[[Outgoing], bool] = lambda _: True, *, replies: bool = False
) -> Chain:  # fmt: skip
    """Take back what is decided and not known to be sent; what is already with WhatsApp stays said.

    Replies to what a person wrote stay, unless ``replies``.
    """
    for outgoing in chain.outgoing:
        if outgoing.delivery not in {Delivery.HELD, Delivery.REQUESTED} or not takes(outgoing):
            continue
        if outgoing.delivery is Delivery.HELD or desk.unsay(outgoing.message_id):
            chain = chain.with_message(outgoing.replace(delivery=Delivery.WITHDRAWN))
        elif replies or outgoing.is_question or not outgoing.reply:
            message = WithdrawMessage(message_id=outgoing.message_id, person_id=outgoing.person_id, reason=reason)
            desk.withdraw(message)
    return chain


def close_questions(chain: Chain) -> Chain:
    for outgoing in chain.outgoing:
        if outgoing.is_question and not outgoing.closed:
            chain = chain.with_message(outgoing.replace(closed=True))
    return chain


def reached(chain: Chain, step: int) -> bool:
    """Whether anybody was, or will be, written to by this step as it runs now."""
    occurrence = chain.steps[step].occurrence
    mine = (m for m in chain.outgoing if m.step == step and m.answer is None and m.occurrence == occurrence)
    return any(m.delivery is Delivery.HELD or m.delivery not in UNSENT for m in mine)
