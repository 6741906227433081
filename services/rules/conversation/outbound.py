"""Sends messages: turns a draft and its recipients into held or requested messages, and withdraws them.

A message to a person outside working hours is held as a draft without text. When it is released it is checked again
and rendered with the facts of that moment.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from services.rules.conversation import button_ids, rendering, send_hours, template_calls
from services.rules.conversation.chain import MAY_GO, Chain, ChainMessage, DeliveryState
from services.rules.conversation.chain_messages import COPY, COPY_ANSWER, OF_THE_HOUSE, WRITER
from services.rules.conversation.context import (
    DecisionContext,
    ExcludedPerson,
    ExclusionReason,
    Reason,
    RequestedMessage,
)
from services.rules.conversation.document import is_event_field, newest_data, read_data, start_data
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import fact_tags
from services.rules.conversation.people import is_staff, language_of, working_hours
from services.rules.conversation.recipients import Recipient, exclusion_reason, is_excepted, resolve_recipients
from services.rules.conversation.send_hours import (
    AWAITED_FOR,
    expiry,
    goes_at_any_hour,
    hours_of_message,
    hours_until,
    is_open,
    moment_of,
    next_opening,
    passes_quiet_hours,
    reply_hours,
    written_at,
)
from services.rules.conversation.template_calls import (
    fallback_call,
    language_for,
    render_call,
    template_of_message,
    template_values,
)
from services.rules.rulebook.built_in import DIGEST, SHOW, TO_READ
from services.rules.rulebook.model import Addressees, At, Category, Rule, Severity, Step, Verb, mentioned_fields
from shared.contracts.ids import Line, MessageId, PersonId, derive_id
from shared.contracts.messages import Button, Lane, Resend, SendMessage, TemplateCall, WithdrawMessage
from shared.contracts.whatsapp import MessageReceived

BODY_VALUE = "body"
"""The key in ``words`` of a body without a template: a form's question, which is always inside the window."""

LANGUAGE_VALUE = "language"
"""The key in ``words`` of the language of such a body: not the person's, where the form does not have theirs."""

BUTTON_TITLE_PREFIX = "button."
"""The prefix of the keys in ``words`` for button titles."""

_UNASKED = frozenset({Verb.TELL, Verb.ASK, Verb.REMIND})


class MessageDraft(Struct, frozen=True):
    """A message before its recipients are known. ``say`` names the template, as rule files do.

    ``key`` tells apart two messages of one step to one person; a ``reply`` is free of quiet hours. It is held at least
    until ``not_before``.
    """

    verb: Verb
    say: str
    step: int
    answer: str | None = None
    key: str = ""
    occurrence: int = 0
    buttons: tuple[str, ...] = ()
    reply: bool = False
    words: dict[str, str] = field(default_factory=dict)
    not_before: datetime | None = None


def send_draft(
    context: DecisionContext,
    chain: Chain,
    who: Addressees,
    draft: MessageDraft,
    *,
    sender: PersonId | None = None,
    without: Collection[PersonId] = (),
) -> Chain:
    """Send a draft to everyone that ``who`` addresses; excluded people are kept on the step with the reason.

    ``without`` are people who have the same message already.
    """
    judged_by = context.rule_of(chain).steps[draft.step] if draft.answer is None else None
    resolved = resolve_recipients(context, chain, who, sender=sender, step=judged_by)
    chain = _exclude(context, chain, resolved.left_out, draft.step)
    for recipient in resolved.recipients:
        if recipient.person.person_id not in without:
            chain = _send(context, chain, recipient, draft)
    return chain


def _exclude(context: DecisionContext, chain: Chain, left_out: Mapping[str, ExclusionReason], step: int) -> Chain:
    for name, reason in left_out.items():
        context.effects.append(ExcludedPerson(chain.chain_id, name, reason))
    return chain.exclude(step, {name: str(reason) for name, reason in left_out.items()}) if left_out else chain


def exclude_excepted(context: DecisionContext, chain: Chain, person: PersonId, step: int) -> Chain:
    """Leave a person out of a step because its ``unless`` holds for them."""
    return _exclude(context, chain, {person: ExclusionReason.UNLESS}, step)


def send_to_recipient(context: DecisionContext, chain: Chain, recipient: Recipient, draft: MessageDraft) -> Chain:
    """Send a draft to one person, unless the step leaves them out by its ``unless``."""
    step = context.rule_of(chain).steps[draft.step]
    if draft.answer is None and is_excepted(context, chain, step, recipient.person, recipient.role):
        return exclude_excepted(context, chain, recipient.person.person_id, draft.step)
    return _send(context, chain, recipient, draft)


def _send(context: DecisionContext, chain: Chain, recipient: Recipient, draft: MessageDraft) -> Chain:
    person = recipient.person
    message = ChainMessage(
        message_id=_message_id(chain, draft, person.person_id),
        person_id=person.person_id,
        on_behalf_of=recipient.on_behalf_of,
        also_for=recipient.also_for,
        role=recipient.role,
        verb=draft.verb,
        say=draft.say,
        step=draft.step,
        answer=draft.answer,
        occurrence=draft.occurrence,
        words=draft.words,
        reply=draft.reply,
        buttons=draft.buttons,
        not_before=draft.not_before,
    )
    message = message.replace(held_until=_release_time(context, chain, message, person))
    if _was_sent(chain, draft, person.person_id):
        return chain
    context.drafted.add(message.message_id)
    if message.held_until is not None and message.held_until > context.now:
        return chain.with_message(message)
    return request_message(context, chain, message)


def _was_sent(chain: Chain, draft: MessageDraft, person: PersonId) -> bool:
    """Whether the person has this very message, by the current id or by one that was merged into it."""
    former = (one.former for one in chain.former_ids if one.current == person)
    return any(chain.message(_message_id(chain, draft, one)) is not None for one in (person, *former))


def _message_id(chain: Chain, draft: MessageDraft, person: PersonId) -> MessageId:
    step = f"{draft.step}.{draft.answer or ''}.{draft.key}"
    return MessageId(derive_id("message", chain.chain_id, step, draft.occurrence, person))


def _release_time(
    context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts
) -> datetime | None:
    """The person's next open hours, from the time that the step has in their own calendar, if it has one."""
    if message.reply:
        return None
    step = context.rule_of(chain).steps[message.step]
    due = _own_due(context, chain, step, person) if message.answer is None else message.not_before
    earliest = context.now if due is None else max(due, context.now)
    if passes_quiet_hours(context, chain, context.rulebook, person):
        return None if earliest == context.now else earliest
    return next_opening(working_hours(context.rulebook, person), earliest)


def reschedule_held(context: DecisionContext, chain: Chain, person: PersonFacts) -> Chain:
    """Hold the held messages of a person whose hours have changed until the next of the new hours."""
    ids = context.facts.ids_of_person(person.person_id)
    for message in chain.messages:
        if message.delivery is DeliveryState.HELD and message.person_id in ids:
            until = _release_time(context, chain, message, person) or context.now
            if message.waits_since is not None and not send_hours.is_below_caps(context, person):
                until = max(until, send_hours.next_time_below_caps(context, person))
            chain = chain if until == message.held_until else chain.with_message(message.replace(held_until=until))
    return chain


def _own_due(context: DecisionContext, chain: Chain, step: Step, person: PersonFacts) -> datetime | None:
    """When a message of the step is due to this person, where that is a time of their own calendar."""
    if not isinstance(step.timing, At) or not step.timing.theirs:
        return None
    return moment_of(
        context.document(chain).get(step.timing.field), step.timing, working_hours(context.rulebook, person)
    )


def request_message(context: DecisionContext, chain: Chain, chain_message: ChainMessage) -> Chain:
    """Render a message and request it from the dispatcher, or drop it where its person may not be written to.

    Where the person's hours are over by now, as after an outage, it waits for the next ones.
    """
    person = context.facts.people.get(chain_message.person_id)
    reason = exclusion_reason(
        context, person, chain_message.person_id, "", is_admitted=True, is_reply=chain_message.reply
    )
    if person is None or reason is not None:
        return drop_message(context, chain, chain_message, reason or ExclusionReason.UNKNOWN_PERSON)
    if template_calls.lacks_document(context, chain, chain_message):
        return drop_message(context, chain, chain_message, ExclusionReason.NO_DOCUMENT)
    is_free = goes_at_any_hour(context, chain, chain_message, person)
    if not is_free and not is_open(context, person):
        opens = next_opening(working_hours(context.rulebook, person), context.now)
        return chain.with_message(chain_message.replace(held_until=opens))
    if context.rulebook.tenant.caps and not is_free:
        if not send_hours.is_below_caps(context, person):
            return _hold_for_cap(context, chain, chain_message, person)
        send_hours.count_message(context, person.person_id, chain_message.message_id)
    return request_now(context, chain, chain_message, person)


def request_now(context: DecisionContext, chain: Chain, chain_message: ChainMessage, person: PersonFacts) -> Chain:
    """Render a message to a person who may be written to, and request it."""
    message = build_message(context, chain, chain_message, person)
    context.effects.append(RequestedMessage(message, chain_message.verb, _stood_for(chain_message)))
    if context.rule_of(chain).events:
        context.facts.set_last_rule(person.person_id, chain.rule)
    return keep_dependencies(context, chain, chain_message).with_message(
        chain_message.replace(
            delivery=DeliveryState.REQUESTED,
            requested_at=context.now,
            held_until=None,
            language=message.language,
            fallback=message.fallback.name if message.fallback is not None else None,
            rendered=message.body if keeps_text(chain_message) else None,
            other_texts=_other_texts(context, chain, chain_message, message) if keeps_text(chain_message) else {},
            sent_to=person.address_marks if chain_message.buttons or chain_message.verb is Verb.COLLECT else (),
        )
    )


def keeps_text(message: ChainMessage) -> bool:
    """Whether the text is kept for the evidence of its answer: not that of an offer, which has words of a person."""
    return message.is_question and WRITER not in message.words


def _other_texts(
    context: DecisionContext, chain: Chain, chain_message: ChainMessage, message: SendMessage
) -> dict[str, str]:
    """The texts of the other templates that a question may be sent as; the text of its own template is rendered."""
    if BODY_VALUE in chain_message.words:
        return {}
    own = template_of_message(context, chain, chain_message).meta_name
    calls = (call for call in (message.template, message.fallback) if call is not None and call.name != own)
    return {call.name: template_calls.text_of_call(context, chain, call) for call in calls}


def keep_dependencies(context: DecisionContext, chain: Chain, message: ChainMessage) -> Chain:
    """Remember by which facts the ``unless`` of the message is judged, for as long as it has not gone."""
    condition = context.rule_of(chain).steps[message.step].unless if message.answer is None else None
    if condition is None or all(map(is_event_field, mentioned_fields(condition))):
        return chain
    events = (newest_data(chain), *(read_data(joined.data, joined.name) for joined in chain.joined))
    return chain.depend_on(frozenset().union(*map(fact_tags, events)))


def _stood_for(message: ChainMessage) -> tuple[PersonId, ...]:
    return message.holders if message.on_behalf_of is not None else ()


def drop_message(context: DecisionContext, chain: Chain, message: ChainMessage, reason: ExclusionReason) -> Chain:
    """Leave a message out for good, because its person may not be written to, or cannot be."""
    context.effects.append(ExcludedPerson(chain.chain_id, message.person_id, reason))
    chain = chain.exclude(message.step, {message.person_id: str(reason)})
    return chain.with_message(message.replace(delivery=DeliveryState.DROPPED))


def _hold_for_cap(context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts) -> Chain:
    """Hold a message until no cap of its person is full, or drop it where that would be too late.

    A person's own words to be read (``to_read``) are never dropped: they were told that a colleague looks after them.
    """
    since, until = message.waits_since or context.now, send_hours.next_time_below_caps(context, person)
    if until > expiry(working_hours(context.rulebook, person), since, context.rulebook.tenant.send_within):
        if message.say == TO_READ:
            send_hours.count_message(context, person.person_id, message.message_id)
            return request_now(context, chain, message, person)
        return drop_message(context, chain, message, ExclusionReason.CAPPED)
    context.effects.append(ExcludedPerson(chain.chain_id, message.person_id, ExclusionReason.WAITING))
    return chain.with_message(message.replace(held_until=until, waits_since=since))


def build_message(context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts) -> SendMessage:
    rendered, template = _render(context, chain, message, person)
    say = message.say if template is None else template_of_message(context, chain, message).name
    fallback = fallback_call(context, chain, message, person, rendered.language) if template is not None else None
    document = template_calls.attached_document(context, chain, message)
    if document is None and template is not None and template.header is not None:
        template, fallback = fallback, None  # its header cannot go empty
    consent = context.facts.allows_marketing(person.person_id)
    if message.reply and not consent:
        template, fallback = _without_marketing(template, fallback)
    calendar, within = working_hours(context.rulebook, person), context.rulebook.tenant.send_within
    expires_at = expiry(calendar, context.now, within)
    return SendMessage(
        message_id=message.message_id,
        person_id=person.person_id,
        line=chain.line or Line(context.rulebook.tenant.default_line),
        rule=chain.rule,
        chain_id=chain.chain_id,
        say=say,
        language=rendered.language,
        body=rendered.body,
        buttons=_buttons(context, message, rendered) if message.buttons else (),
        template=template,
        fallback=fallback,
        lane=_lane(context, chain, message),
        resend=Resend.NEVER if message.buttons else Resend.IF_UNPROVEN,
        expires_at=expires_at,
        open_hours=hours_of_message(context, chain, message, person, expires_at),
        marketing_consent=consent,
        document=document,
    )


def is_marketing(context: DecisionContext, chain: Chain, message: ChainMessage) -> bool:
    """Whether the message's own template is marketing by its file."""
    return template_of_message(context, chain, message).category is Category.MARKETING


def _without_marketing(*calls: TemplateCall | None) -> tuple[TemplateCall | None, TemplateCall | None]:
    """The template and its fallback without those in the category marketing, for a reply to a person who has not agreed
    to marketing. Where none is left, the person gets the reply as free text, or not at all.
    """
    left = [call for call in calls if call is not None and call.category != Category.MARKETING]
    return (left[0] if left else None, left[1] if len(left) > 1 else None)


def _lane(context: DecisionContext, chain: Chain, message: ChainMessage) -> Lane:
    """Unasked messages of severity info may wait: royalty statements, for one, come by the thousand on one day."""
    severity = context.severity(chain)
    if severity is Severity.CRITICAL:
        return Lane.CRITICAL
    is_unasked = message.verb in _UNASKED and not message.reply
    return Lane.BULK if severity is Severity.INFO and is_unasked else Lane.NORMAL


def text_of_message(context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts) -> str:
    """The text of a message as it would leave now."""
    return _render(context, chain, message, person)[0].body


def build_digest(
    context: DecisionContext, person: PersonFacts, message_id: MessageId, first: Chain, items: tuple[int, str]
) -> SendMessage:
    """One message for several: ``items`` are their number and their texts in one line; ``first`` has one of them."""
    tenant, template = context.rulebook.tenant, context.rulebook.templates[DIGEST]
    language, (count, texts) = language_for(context, template, person), items
    values = {**_notice_values(context, person, None, language), "count": count, "items": texts}
    rendered, call = render_call(context, template, language, values)
    titles = dict(rendered.buttons)
    show = Button(
        button_id=button_ids.sign_button_id(context.signing_keys, message_id, SHOW), title=titles.get(SHOW, SHOW)
    )
    calendar = working_hours(context.rulebook, person)
    expires_at = expiry(calendar, context.now, tenant.send_within)
    return SendMessage(
        message_id=message_id,
        person_id=person.person_id,
        line=first.line or Line(tenant.default_line),
        rule=first.rule,
        chain_id=first.chain_id,
        say=DIGEST,
        language=rendered.language,
        body=rendered.body,
        buttons=(show,),
        template=call,
        resend=Resend.IF_UNPROVEN,
        expires_at=expires_at,
        open_hours=hours_until(calendar, context.now, expires_at),
        marketing_consent=context.facts.allows_marketing(person.person_id),
    )


def _buttons(
    context: DecisionContext, message: ChainMessage, rendered: rendering.RenderedMessage
) -> tuple[Button, ...]:
    titles: dict[str, str] = {**dict(rendered.buttons), **_titles(message)}
    return tuple(
        Button(
            button_id=button_ids.sign_button_id(context.signing_keys, message.message_id, answer), title=titles[answer]
        )
        for answer in rendering.in_template_order(message.buttons, rendered)
    )


def _render(
    context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonFacts
) -> tuple[rendering.RenderedMessage, TemplateCall | None]:
    language = language_of(context.rulebook, person)
    if (body := message.words.get(BODY_VALUE)) is not None:
        language = message.words.get(LANGUAGE_VALUE, language)
        return rendering.RenderedMessage(body=body, parameters={}, buttons=(), language=language), None
    template = template_of_message(context, chain, message)
    return render_call(context, template, language, template_values(context, chain, message, person, template))


def send_notice(
    context: DecisionContext,
    message: MessageReceived,
    say: str,
    rule: Rule | None = None,
    *,
    after_opt_out: bool = False,
    words: Mapping[str, object] | None = None,
) -> None:
    """Answer a message with a built-in template, at once and without a chain, on the line it came by.

    ``after_opt_out``: also to a person who has just opted out. ``words`` are further values for the template.
    """
    person = context.facts.current_person(message.person_id)
    if person is None:
        return
    refused = exclusion_reason(context, person, person.person_id, "", is_admitted=True, is_reply=True)
    if refused not in {None, ExclusionReason.OPTED_OUT if after_opt_out else None}:
        return
    template = context.rulebook.templates[say]
    language = language_for(context, template, person)
    values = {**_notice_values(context, person, rule, language), **(words or {})}
    rendered, call = render_call(context, template, language, values)
    calendar = working_hours(context.rulebook, person)
    expires_at = expiry(calendar, context.now, context.rulebook.tenant.send_within)
    sent = SendMessage(
        message_id=MessageId(derive_id("house", say, message.message_id)),
        person_id=person.person_id,
        line=message.line,
        say=say,
        language=rendered.language,
        body=rendered.body,
        template=call,
        resend=Resend.IF_UNPROVEN,
        expires_at=expires_at,
        open_hours=reply_hours(calendar, written_at(context), context.now, expires_at),
        mandatory=after_opt_out,
        marketing_consent=context.facts.allows_marketing(person.person_id),
    )
    context.effects.append(RequestedMessage(sent, Verb.TELL))
    if not after_opt_out:
        context.drafted.add(sent.message_id)
        context.facts.add_notice(sent.message_id, person.person_id)


def _notice_values(
    context: DecisionContext, person: PersonFacts, rule: Rule | None, language: str
) -> dict[str, object]:
    tenant = context.rulebook.tenant
    why = (rule.why.get(language) or rule.why.get(tenant.language, "")) if rule else ""
    publisher = tenant.publisher.get(language, tenant.publisher[tenant.language])
    return {"publisher": publisher, "person": person.display_name, "why": why}


def why_words(context: DecisionContext, chain: Chain, rule: Rule, person: PersonId) -> dict[str, object]:
    """The ``why`` of a rule, followed by the event that began a chain of it, when, for which title and who asked.

    In the person's language; nothing where the house has no template for it.
    """
    known = context.facts.current_person(person)
    template = context.rulebook.templates.get("why_details")
    if known is None or template is None or chain.rule not in context.rulebook_of(chain).rules:
        return {}
    zone, language = known.zone or context.rulebook.calendar.office.zone, language_for(context, template, known)
    values = template_calls.chain_values(context, chain, known, language)
    actor = getattr(start_data(chain), "requested_by", None)
    values |= {
        "event": chain.start_name.rpartition(".")[2],
        "when": chain.started_at.astimezone(ZoneInfo(zone)),
        "asked_by": (actor.name if actor is not None else None) or values["publisher"],
    }
    details = render_call(context, template, language, values)[0].body
    return {"why": f"{_notice_values(context, known, rule, language)['why']} {details}"}


def rendered_notice(context: DecisionContext, person: PersonFacts, say: str, **words: str) -> rendering.RenderedMessage:
    """A built-in template, to stand within another message to this person."""
    return render_call(context, context.rulebook.templates[say], language_of(context.rulebook, person), words)[0]


def _titles(message: ChainMessage) -> dict[str, str]:
    return {
        name.removeprefix(BUTTON_TITLE_PREFIX): title
        for name, title in message.words.items()
        if name.startswith(BUTTON_TITLE_PREFIX)
    }


def send_copies(
    context: DecisionContext, chain: Chain, cc: Addressees, step: int, before: Collection[MessageId]
) -> Chain:
    """Send members of staff a copy of what a step has just sent to others; ``before`` are the older messages.

    A copy has no buttons, and goes when the first of them does. A person who got the message itself gets none.
    """
    new = (m for m in chain.messages if m.step == step and m.answer is None and m.message_id not in before)
    sent = [message for message in new if message.delivery not in _NEVER_SENT]
    if not cc or not sent:
        return chain
    resolved = resolve_recipients(context, chain, cc)
    for recipient in [one for one in resolved.recipients if not is_staff(context.rulebook, one.person)]:
        resolved.recipients.remove(recipient)
        resolved.left_out[recipient.person.person_id] = ExclusionReason.NOT_STAFF
    chain = _exclude(context, chain, resolved.left_out, step)
    receivers = {message.person_id for message in sent}
    for recipient in resolved.recipients:
        if recipient.person.person_id not in receivers:
            draft = _copy_draft(context, chain, sent, recipient.person, step)
            chain = send_to_recipient(context, chain, recipient, draft)
    return chain


_NEVER_SENT = frozenset({DeliveryState.DROPPED, DeliveryState.WITHDRAWN})


def _copy_draft(
    context: DecisionContext, chain: Chain, sent: Sequence[ChainMessage], reader: PersonFacts, step: int
) -> MessageDraft:
    """The copied text is the one to the first receiver, in the language of the reader, and in one line, as a parameter
    must be.
    """
    people = [context.facts.people[message.person_id] for message in sent]
    language = language_of(context.rulebook, reader)
    template = template_of_message(context, chain, sent[0])
    values = template_values(context, chain, sent[0], people[0].replace(language=language), template)
    body = " ".join(render_call(context, template, language, values)[0].body.split())
    who = rendering.format_value(list(dict.fromkeys(person.display_name for person in people)), language, {})
    words, occurrence = {"who": who, "said": body}, chain.steps[step].occurrence
    waits = [message.held_until for message in sent if message.held_until is not None]
    first = min(waits) if len(waits) == len(sent) else None
    return MessageDraft(Verb.TELL, COPY, step, COPY_ANSWER, occurrence=occurrence, words=words, not_before=first)


def withdraw_messages(
    context: DecisionContext,
    chain: Chain,
    reason: str,
    is_meant: Callable[[ChainMessage], bool],
    *,
    replies: bool = False,
) -> Chain:
    """Withdraw the messages that may still go: not requested, not sent, or not proved to be sent.

    One that WhatsApp has cannot be withdrawn; it is marked, for the case that WhatsApp reports it as failed. Replies to
    a person's message are not withdrawn, unless ``replies``. An item of a digest is marked and the digest withdrawn:
    what remains of it goes then (``release.send_rest``).
    """
    for chain_message in chain.messages:
        delivery = chain_message.delivery
        if (delivery not in MAY_GO and delivery is not DeliveryState.ACCEPTED) or not is_meant(chain_message):
            continue
        if delivery is DeliveryState.HELD or context.cancel_request(chain_message.message_id):
            send_hours.uncount_message(context, chain_message.message_id, chain_message.person_id)
            chain = chain.with_message(chain_message.replace(delivery=DeliveryState.WITHDRAWN))
        elif chain_message.reply and not (chain_message.is_question or replies):
            continue
        elif delivery is DeliveryState.ACCEPTED:
            chain = chain.with_message(chain_message.replace(unwanted=reason))
        else:
            message = WithdrawMessage(
                message_id=chain_message.sent_as,
                person_id=chain_message.person_id,
                reason=reason,
            )
            context.request_withdrawal(message)
            is_item = chain_message.digest is not None and not replies
            if is_item or chain_message.unwanted == Reason.SEPARATED:
                chain = chain.with_message(chain_message.replace(unwanted=reason))
    return chain


def send_to_person(context: DecisionContext, chain: Chain, person: PersonId, draft: MessageDraft) -> Chain:
    known = context.facts.current_person(person)
    return chain if known is None else send_to_recipient(context, chain, Recipient(known, "sender"), draft)


def notice_draft(say: str, step: int, message: MessageReceived, **words: str) -> MessageDraft:
    """A built-in template in reply to ``message``; its key is the message, so that one message is answered once."""
    return MessageDraft(Verb.TELL, say, step, "house", f"{say}.{message.message_id}", reply=True, words=words)


def pass_on(context: DecisionContext, chain: Chain, offer: ChainMessage, recipient: Recipient) -> Chain:
    """Send the words of an offer to be read, without a matter to take. To a person who takes it now it is a reply."""
    taken = chain.assignment
    words = {"sender.display_name": offer.words.get("who", ""), "text": offer.words.get("said", "")}
    words |= {WRITER: offer.words[WRITER]} if WRITER in offer.words else {}
    draft = MessageDraft(
        Verb.TELL, TO_READ, offer.step, OF_THE_HOUSE, f"unread.{offer.message_id}", words=words,
        reply=taken is not None and context.now - taken.at <= AWAITED_FOR,
    )  # fmt: skip
    return send_to_recipient(context, chain, recipient, draft)
