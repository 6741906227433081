"""Fills a short form in chat: one question at a time, a summary, then Send, Change or Cancel.

The first message may already answer fields by their defaults; a person corrects these at the summary. A value that a
field does not accept is refused, with a text that names the accepted ones.
"""

from collections.abc import Collection, Mapping
from datetime import date

from msgspec import Struct

from services.rules.conversation import people, rendering, writes
from services.rules.conversation.chain import LOST, Chain, DeliveryState, Ending, FormPhase, FormState, GivenAnswer
from services.rules.conversation.chain_messages import is_question_of_rule
from services.rules.conversation.completion import close_chain
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.fact_values import FileReport, PersonFacts
from services.rules.conversation.form_answers import (
    ASK_AGAIN,
    Place,
    Refusal,
    accepted_kinds,
    display_value,
    example_value,
    fetched_file_refusal,
    file_field,
    file_refusal,
    length_refusal,
    read_answer,
    reads_as_machine_text,
    takes_any_text,
    unquoted,
)
from services.rules.conversation.outbound import (
    BODY_VALUE,
    BUTTON_TITLE_PREFIX,
    LANGUAGE_VALUE,
    MessageDraft,
    rendered_notice,
    send_to_recipient,
)
from services.rules.conversation.recipients import Recipient
from services.rules.conversation.rendering import RenderedMessage
from services.rules.conversation.send_hours import AWAITED_FOR
from services.rules.conversation.template_calls import template_of
from services.rules.conversation.unsolicited import is_repeated_sentence
from services.rules.rulebook.built_in import FORM_CANCELLED, MACHINE_TEXT, STOP_ALL, SUMMARY, TYPED_FIELDS
from services.rules.rulebook.model import FieldText, Form, FormField, Verb, WriteAction
from shared.clients.whatsapp_limits import BODY_LENGTH, BUTTONS, TEXT_LENGTH
from shared.contracts.ids import MessageId, PersonId, Wamid
from shared.contracts.intents import ReplyIntent, classify, is_stop_keyword
from shared.contracts.whatsapp import Media, MessageReceived

_RETRIES = 1


class _File(Struct, frozen=True):
    """Whether a file came with the message, and why it was refused."""

    came: bool
    refusal: Refusal | None


def begin_form(
    context: DecisionContext, chain: Chain, name: str, step: int, *, source: MessageReceived | None = None
) -> Chain:
    """Send the welcome and the first question. ``source`` is the message that asked for the form, if not the first.

    A person who asks again for the form that they are filling gets its open question again.
    """
    form = context.rulebook_of(chain).forms[name]
    if source is not None and chain.form is not None and not chain.form.over and chain.form.form == name:
        return _ask_next(context, chain, form)
    document = context.document(chain)
    sender = source.person_id if source else document.sender
    if sender is None or sender not in context.facts.people:
        return chain
    defaults = {f.name: document.get(f.default.name) for f in form.fields if f.default and source is None}
    media = source.media if source else document.get("media")
    wamid = source.message_id if source else document.get("message_id")
    state = FormState(
        form=name,
        person_id=sender,
        step=step,
        reference=rendering.reference_code(chain.chain_id),
        last_at=context.now,
        values=_fitting(form, defaults, _place_of(context, context.facts.people[sender]), context.today),
        sources=(Wamid(wamid),) if wamid else (),
        prompts=len([m for m in chain.messages if m.verb is Verb.COLLECT]),
    )
    state, refusal = _take_document(context, form, state, media)
    chain = _send(context, chain.replace(form=state), form.welcome)
    return _ask_next(context, chain, form, before=_reason(context, chain, refusal))


def _fitting(form: Form, defaults: Mapping[str, object], place: Place, today: date) -> dict[str, str]:
    texts = {field: str(defaults.get(field.name) or "").strip() for field in form.fields}
    read = {
        field.name: read_answer(field, text, None, place)
        for field, text in texts.items()
        if not (takes_any_text(field) and reads_as_machine_text(text, today))
    }
    return {name: value for name, value in read.items() if value is not None}


def _place_of(context: DecisionContext, person: PersonFacts) -> Place:
    house = context.rulebook.calendar.office.country
    return Place(people.language_of(context.rulebook, person), person.country or house)


def _read(context: DecisionContext, chain: Chain, form: Form, field: FormField, text: str) -> str | None:
    """The value that a text of the person who fills the form stands for."""
    words = _field_wordings(context, chain, form).get(field.name)
    return read_answer(field, text, words, _place_of(context, _person_of(context, chain)))


def _meant_text(context: DecisionContext, chain: Chain, field: FormField, text: str) -> str | None:
    """The text that a person means as the answer; None for one that a machine wrote, as far as one can tell.

    A person who means such a text puts it in quotation marks, which are then no part of the answer.
    """
    if not takes_any_text(field) or length_refusal(field, text) is not None:
        return text
    inner = unquoted(text)
    if inner is not None:
        return inner if _is_machine_text(context, chain, field, inner) else text
    return None if _is_machine_text(context, chain, field, text) else text


def _is_machine_text(context: DecisionContext, chain: Chain, field: FormField, text: str) -> bool:
    state = _form_state(chain)
    others = [value for name, value in state.values.items() if name != field.name]
    return reads_as_machine_text(text, context.today) or is_repeated_sentence(context, state.person_id, text, others)


def fill_form(context: DecisionContext, chain: Chain, message: MessageReceived, button: str | None) -> Chain:
    """Apply one more message: an answer to the field asked, a document, or a summary button."""
    form = _form_of(context, chain)
    state = _form_state(chain)
    sources = (*state.sources, message.message_id)
    state = state.replace(sources=sources, last_at=context.now)
    state, refusal = _take_document(context, form, state, message.media)
    chain = chain.replace(form=state, base_at=max(chain.base_at, context.now))
    if (
        state.phase is FormPhase.SUMMARY
        and button is None
        and _is_cancel_text(context, chain, (message.text or "").strip())
    ):
        button = "cancel"
    if state.phase is FormPhase.SUMMARY and button in SUMMARY:
        return _SUMMARY[button](context, chain, form, message)
    if state.phase is FormPhase.CHANGING:
        return _choose_change(context, chain, form, message.text or "", refusal)
    file = _File(came=message.media is not None, refusal=refusal)
    return _take_answer(context, chain, form, button or (message.text or "").strip(), file)


def accepts_text(context: DecisionContext, chain: Chain, message: MessageReceived) -> bool:
    """Whether the form waits for free text, or the text fits what it asks for: an option, or a typed value."""
    form, state, text = _form_of(context, chain), _form_state(chain), (message.text or "").strip()
    if state.phase is FormPhase.SUMMARY:
        return _is_cancel_text(context, chain, text)
    field = _asked_field(form, state)
    if field is None or field.document:
        return False
    return takes_any_text(field) or _read(context, chain, form, field, text) is not None


def keeps_stop_word(context: DecisionContext, chain: Chain, message: MessageReceived) -> bool:
    """Whether a stop word is the answer to what the form asks, since its button offers to opt out instead.

    STOP itself is taken for an answer only once: a person who writes it after the button was offered means it. A text
    that does not fit the field is no answer.
    """
    form, state, text = _form_of(context, chain), _form_state(chain), (message.text or "").strip()
    field = _asked_field(form, state)
    if field is None or field.choose:
        return True
    if not is_stop_keyword(text):
        return _read(context, chain, form, field, text) is not None
    offers = _stop_title(context, chain) is not None and not state.stop_offered
    return offers and _read(context, chain, form, field, text) is not None


def advances_form(context: DecisionContext, chain: Chain, message: MessageReceived) -> bool:
    """Whether the message takes the form further; any other message repeats the question."""
    form, state, text = _form_of(context, chain), _form_state(chain), (message.text or "").strip()
    if _take_document(context, form, state, message.media)[0] is not state:
        return True
    if state.phase is FormPhase.SUMMARY:
        return _is_cancel_text(context, chain, text)
    if state.phase is FormPhase.CHANGING:
        return _chosen(form, text) is not None
    field = _asked_field(form, state)
    if field is None or not text:
        return field is None
    meant = _meant_text(context, chain, field, text)
    if meant is None:
        return False
    text = meant
    return _read(context, chain, form, field, text) is not None or _refusal_of(context, chain, field, text) is None


def _asked_field(form: Form, state: FormState) -> FormField | None:
    """None at the summary and after it, where no field is asked for."""
    return next((f for f in form.fields if f.name == state.asking), None)


def _is_cancel_text(context: DecisionContext, chain: Chain, text: str) -> bool:
    """Whether the title of the Cancel button was written instead of tapped."""
    template = template_of(context, chain, _form_of(context, chain).confirm)
    titles = {words.buttons.get("cancel", "").casefold() for words in template.languages.values()}
    return text.casefold() in {"cancel", *titles} if text else False


def abandon_form(chain: Chain) -> Chain:
    """Cancel the form of a person who is excluded."""
    state = _form_state(chain)
    if state.over:
        return chain
    return chain.replace(form=state.replace(phase=FormPhase.CANCELLED))


def remind_form(context: DecisionContext, chain: Chain, draft: MessageDraft) -> Chain:
    """Send the reminder to the person who fills the form."""
    person = context.facts.people.get(_form_state(chain).person_id)
    return chain if person is None else send_to_recipient(context, chain, Recipient(person, "unanswered"), draft)


def is_filled_by_other(chain: Chain, person: PersonId) -> bool:
    """Whether another person fills a form of this chain, which has one at a time."""
    return chain.form is not None and not chain.form.over and chain.form.person_id != person


def report_refusal(context: DecisionContext, chain: Chain, report: FileReport) -> Refusal | None:
    """Why the form cannot keep a file that it has taken, now that the file was fetched; None where it can."""
    form = _form_of(context, chain)
    asked = file_field(form)
    return None if asked is None else fetched_file_refusal(form, asked, report)


def give_up_file(context: DecisionContext, chain: Chain, file_id: str, refusal: Refusal) -> Chain:
    """Take a file out of the form and say why. The file is asked for again: as often as needed where it is required,
    else once. While another field is being asked, that question is repeated first.
    """
    form, state = _form_of(context, chain), _form_state(chain)
    field = file_field(form)
    left = tuple(media for media in state.attachments if media.file_id != file_id)
    values = {name: value for name, value in state.values.items() if field is None or name != field.name}
    if field is not None and (left or not (field.required or _asked_times(chain, field) <= _RETRIES)):
        values[field.name] = (left[-1].filename or "1") if left else ""
    chain = chain.replace(form=state.replace(attachments=left, values=values), base_at=max(chain.base_at, context.now))
    before, asked = _reason(context, chain, refusal), _asked_field(form, state)
    is_open = asked is not None and (asked != field or field.name not in values)
    if asked is not None and is_open:
        return _ask(context, chain, form, asked, before=before)
    return _ask_next(context, chain, form, before=before)


def _form_state(chain: Chain) -> FormState:
    if chain.form is None:
        raise ValueError("no form is open on this chain")
    return chain.form


def _form_of(context: DecisionContext, chain: Chain) -> Form:
    return context.rulebook_of(chain).forms[_form_state(chain).form]


def _person_of(context: DecisionContext, chain: Chain) -> PersonFacts:
    return context.facts.people[_form_state(chain).person_id]


def _field_wordings(context: DecisionContext, chain: Chain, form: Form) -> dict[str, FieldText]:
    return dict(form.languages[_language_of(context, chain, form)])


def _language_of(context: DecisionContext, chain: Chain, form: Form) -> str:
    """The language in which the form asks this person; another one than theirs where the form lacks it."""
    preferred = people.language_of(context.rulebook, _person_of(context, chain))
    return rendering.choose_language(form.languages, preferred, context.rulebook.tenant.language)


def _take_document(
    context: DecisionContext, form: Form, state: FormState, media: Media | None
) -> tuple[FormState, Refusal | None]:
    """A document answers the form's document field whenever it arrives; other files do not.

    A file that was asked for replaces the earlier ones, as when the person changes it; other files are added.
    """
    if media is None:
        return state, None
    report = context.facts.file_reports.get(media.file_id) if media.file_id is not None else None
    refusal, field = file_refusal(form, media, report), file_field(form)
    if refusal is not None or field is None:
        return state, refusal
    values = {**state.values, field.name: media.filename or "1"}
    is_asked = state.asking == field.name
    attachments = (media,) if is_asked else (*state.attachments, media)
    return state.replace(values=values, attachments=attachments, asking=None if is_asked else state.asking), None


def _take_answer(context: DecisionContext, chain: Chain, form: Form, text: str, file: _File) -> Chain:
    state = _form_state(chain)
    field = _asked_field(form, state)
    if field is None:
        return _ask_next(context, chain, form, before=_reason(context, chain, file.refusal))
    if file.came and (not text or (field.document and file.refusal is not None)):
        return _ask(context, chain, form, field, before=_reason(context, chain, file.refusal))
    meant = _meant_text(context, chain, field, text)
    if meant is None:
        return _ask(context, chain, form, field, before=_reason(context, chain, _machine_refusal(context)))
    text = meant
    value = _read(context, chain, form, field, text)
    if value is None and (refusal := _refusal_of(context, chain, field, text)) is not None:
        return _ask(context, chain, form, field, before=_reason(context, chain, refusal))
    attachments = () if field.document else state.attachments  # words in place of a file leave it out
    state = state.replace(values={**state.values, field.name: value or ""}, attachments=attachments)
    chain = chain.replace(form=state)
    if value is None or file.refusal is not None or classify(text) is not ReplyIntent.STOP:
        return _ask_next(context, chain, form, before=_reason(context, chain, file.refusal))
    taken = _reason(context, chain, Refusal("taken_as_answer", {"said": value}))
    return _ask_next(context, chain, form, before=taken, stop=_stop_title(context, chain))


def _refusal_of(context: DecisionContext, chain: Chain, field: FormField, text: str) -> Refusal | None:
    """Why the question is asked again, or None; ``ASK_AGAIN`` where the question itself says what is accepted."""
    if (long := length_refusal(field, text)) is not None:
        return long
    if field.document:
        kinds = accepted_kinds(_form_of(context, chain))
        return Refusal("form_wrong_file", {"kinds": kinds}) if field.required else None
    if not field.required and _asked_times(chain, field, since=_form_of(context, chain).confirm) > _RETRIES:
        return None
    return _wrong_value(context, chain, field)


def _machine_refusal(context: DecisionContext) -> Refusal:
    """The house's sentence, where it has one."""
    return Refusal(MACHINE_TEXT) if MACHINE_TEXT in context.rulebook.templates else ASK_AGAIN


def _wrong_value(context: DecisionContext, chain: Chain, field: FormField) -> Refusal:
    """The house's sentence for a value of another kind; the current rulebook may lack it, where its forms have no such
    field.
    """
    name = TYPED_FIELDS.get(field.kind)
    if name is None or name not in context.rulebook.templates:
        return ASK_AGAIN
    return Refusal(name, {"example": example_value(field.kind, _place_of(context, _person_of(context, chain)))})


def _reason(context: DecisionContext, chain: Chain, refusal: Refusal | None) -> RenderedMessage | None:
    """A refusal in the person's language, to stand before the next question."""
    if refusal is None or not refusal.say:
        return None
    if refusal.say not in context.rulebook.templates:  # those of files that are not kept are optional
        refusal = Refusal("form_wrong_file", {"kinds": accepted_kinds(_form_of(context, chain))})
    return rendered_notice(context, _person_of(context, chain), refusal.say, **refusal.words)


def _asked_times(chain: Chain, field: FormField, *, since: str | None = None) -> int:
    """How often the field was asked, counted from the last message of the template ``since`` where one is given."""
    places = [place for place, message in enumerate(chain.messages) if since is not None and message.say == since]
    asked = (m for m in chain.messages[max(places, default=0) :] if m.verb is Verb.COLLECT)
    return sum(1 for message in asked if message.answer == field.name)


def _stop_title(context: DecisionContext, chain: Chain) -> str | None:
    """The title of the button that opts out, in the person's language; None where the house's template has none."""
    template = template_of(context, chain, "taken_as_answer")
    language = people.language_of(context.rulebook, _person_of(context, chain))
    chosen = rendering.choose_language(template.languages, language, context.rulebook.tenant.language)
    return template.languages[chosen].buttons.get(STOP_ALL)


def _ask_next(
    context: DecisionContext,
    chain: Chain,
    form: Form,
    *,
    before: RenderedMessage | None = None,
    stop: str | None = None,
) -> Chain:
    """Ask the next missing field, else send the summary. ``before`` is a text to stand before it.

    ``stop`` is the title of the button that opts out, where one is offered.
    """
    missing = next((f for f in form.fields if f.name not in _form_state(chain).values), None)
    if missing is not None:
        before = before or _reason(context, chain, _long_default(context, chain, missing))
        return _ask(context, chain, form, missing, before=before, stop=stop)
    if before is not None:
        offer = {} if stop is None else {STOP_ALL: stop}
        chain = _send_text(context, chain, f"{form.name}.{form.confirm}", (before.body, before.language), offer)
    return _summary(context, chain, form)


def _long_default(context: DecisionContext, chain: Chain, field: FormField) -> Refusal | None:
    """The refusal of a default from the first message that is too long for its field."""
    if field.default is None or _asked_times(chain, field):
        return None
    return length_refusal(field, str(context.document(chain).get(field.default.name) or ""))


def _ask(
    context: DecisionContext,
    chain: Chain,
    form: Form,
    field: FormField,
    *,
    before: RenderedMessage | None = None,
    stop: str | None = None,
) -> Chain:
    words = _field_wordings(context, chain, form)[field.name]
    state = _form_state(chain).replace(asking=field.name, phase=FormPhase.ASKING)
    titles = [words.options.get(name, name) for name in field.choose]
    few = len(titles) + (stop is not None) <= BUTTONS
    body = words.ask if few else "\n".join([words.ask, *(f"{n}. {t}" for n, t in enumerate(titles, start=1))])
    shown = dict(zip(field.choose, titles, strict=True)) if few else {}
    if stop is not None:
        shown[STOP_ALL] = stop
    chain, say, language = chain.replace(form=state), f"{form.name}.{field.name}", _language_of(context, chain, form)
    if before is not None and len(body) + len(before.body) + len(_PARAGRAPH) > (BODY_LENGTH if shown else TEXT_LENGTH):
        chain = _send_text(context, chain, say, (before.body, before.language), {})
    elif before is not None:
        body = f"{before.body}{_PARAGRAPH}{body}"
    return _send_text(context, chain, say, (body, language), shown, field=field.name)


_PARAGRAPH = "\n\n"


def _send_text(
    context: DecisionContext,
    chain: Chain,
    say: str,
    text: tuple[str, str],
    buttons: Mapping[str, str],
    *,
    field: str | None = None,
) -> Chain:
    """Send a text, with its language, of the form that has no template; ``buttons`` are the titles of its answers."""
    body, language = text
    titles = {BUTTON_TITLE_PREFIX + name: title for name, title in buttons.items()}
    words = {BODY_VALUE: body, LANGUAGE_VALUE: language, **titles}
    if STOP_ALL in buttons:
        chain = chain.replace(form=_form_state(chain).replace(stop_offered=True))
    return _send(context, chain, say, field=field, buttons=tuple(buttons), words=words)


def _summary(context: DecisionContext, chain: Chain, form: Form) -> Chain:
    state = _form_state(chain).replace(asking=None, phase=FormPhase.SUMMARY)
    chain = chain.replace(form=state)
    shown = {m.message_id for m in chain.messages if m.say == form.confirm and not m.closed}
    chain = _send(context, chain, form.confirm, buttons=SUMMARY, words=_display_values(context, chain, form))
    return _keep_open(chain, shown)


def _keep_open(chain: Chain, summaries: Collection[MessageId]) -> Chain:
    """Leave earlier summaries open that equal the newest: a tap on either means the same."""
    newest = chain.messages[-1]
    for message in chain.messages:
        if message.message_id in summaries and newest.rendered and message.rendered == newest.rendered:
            chain = chain.with_message(message.replace(closed=False))
    return chain


def _display_values(context: DecisionContext, chain: Chain, form: Form) -> dict[str, str]:
    words = _field_wordings(context, chain, form)
    values = _form_state(chain).values
    texts = {f.name: values.get(f.name) or "—" for f in form.fields}
    options = {f.name: words[f.name].options.get(texts[f.name], texts[f.name]) for f in form.fields if f.choose}
    place = _place_of(context, _person_of(context, chain))
    typed = {f.name: display_value(f.kind, values[f.name], place) for f in form.fields if values.get(f.name)}
    return {**texts, **typed, **options, "reference": _form_state(chain).reference}


def _send(
    context: DecisionContext,
    chain: Chain,
    say: str,
    *,
    field: str | None = None,
    buttons: tuple[str, ...] = (),
    words: dict[str, str] | None = None,
) -> Chain:
    state = _form_state(chain)
    reply = context.now - state.last_at <= AWAITED_FOR
    draft = MessageDraft(
        Verb.COLLECT, say, state.step, field or "form", str(state.prompts), 0, buttons, reply=reply, words=words or {}
    )
    chain = _close_prompts(context, chain.replace(form=state.replace(prompts=state.prompts + 1)))
    return send_to_recipient(context, chain, Recipient(_person_of(context, chain), "sender"), draft)


def _close_prompts(context: DecisionContext, chain: Chain) -> Chain:
    """Close the earlier prompts, also one that waits for its person's morning: the newest takes their place."""
    for message in chain.messages:
        if message.verb is not Verb.COLLECT:
            continue
        if message.delivery is DeliveryState.HELD and message.message_id not in context.drafted:
            chain = chain.with_message(message.replace(delivery=DeliveryState.WITHDRAWN, closed=True))
        elif message.is_question and not message.closed:
            chain = chain.with_message(message.replace(closed=True))
    return chain


def _submit(context: DecisionContext, chain: Chain, form: Form, message: MessageReceived) -> Chain:
    """The form is sent: request its record, once for all events, and give the person the reference to quote."""
    state = _form_state(chain).replace(phase=FormPhase.SENT)
    chain = chain.replace(form=state)
    summary = next(m for m in reversed(chain.messages) if m.say == form.confirm)
    given = GivenAnswer.of(summary, message, "send", final=True)
    chain = chain.replace(answers=(*chain.answers, given))
    origin = writes.WriteOrigin(state.step, "form", (given,))
    chain = writes.request_write_of(context, chain, WriteAction(form.record, {}), origin, None)
    context.facts.set_acquisition(state.person_id, state.reference)
    chain = _send(context, chain, form.done, words=_display_values(context, chain, form))
    return _complete(context, chain)


def _cancel(context: DecisionContext, chain: Chain, form: Form, _message: MessageReceived) -> Chain:
    """The form is cancelled. Where others were asked the same question, it stays open to all, this person included."""
    state = _form_state(chain).replace(phase=FormPhase.CANCELLED)
    say = FORM_CANCELLED if FORM_CANCELLED in context.rulebook.templates else "noted"
    chain = _send(context, chain.replace(form=state), say, words=_display_values(context, chain, form))
    of_answer = context.rule_of(chain).steps[state.step].verb is not Verb.COLLECT
    asked = {m.person_id for m in chain.messages if is_question_of_rule(m) and m.delivery not in LOST and not m.closed}
    answered = {given.person_id for given in chain.answers if given.final}
    return chain if of_answer and (asked | answered) - {state.person_id} else _complete(context, chain)


def _complete(context: DecisionContext, chain: Chain) -> Chain:
    chain = chain.complete_step(_form_state(chain).step)
    return close_chain(context, chain, Ending.ANSWERED)


def _change(context: DecisionContext, chain: Chain, form: Form, _message: MessageReceived) -> Chain:
    state = _form_state(chain).replace(phase=FormPhase.CHANGING)
    words = _field_wordings(context, chain, form)
    choices = rendering.numbered_line([words[f.name].ask for f in form.fields], "; ")
    return _send(context, chain.replace(form=state), "form_change", words={"choices": choices})


def _choose_change(context: DecisionContext, chain: Chain, form: Form, text: str, refusal: Refusal | None) -> Chain:
    """``refusal`` is that of a file that came in place of a choice, or with it."""
    field, before = _chosen(form, text), _reason(context, chain, refusal)
    if field is None:
        return _ask_next(context, chain, form, before=before)
    return _ask(context, chain, form, field, before=before)


def _chosen(form: Form, text: str) -> FormField | None:
    chosen = text.strip().rstrip(".").casefold()
    return next((f for n, f in enumerate(form.fields, start=1) if chosen in {str(n), f.name}), None)


_SUMMARY = {"send": _submit, "change": _change, "cancel": _cancel}
