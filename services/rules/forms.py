"""A short form filled in chat: one question at a time, a summary, then Send, Change or Cancel.

What the first message already says answers the field whose default it is, and is corrected at the summary.
"""

from collections.abc import Mapping

from msgspec import Struct

from services.rules import filling, record
from services.rules.chain import Chain, Ending, FormPhase, FormState, Given, Outgoing, StepStatus
from services.rules.desk import Desk
from services.rules.ending import close
from services.rules.form_answers import AGAIN, Refusal, file_field, kinds_of, read_answer, refused_file, too_long
from services.rules.recipients import Recipient
from services.rules.rulebook import FieldWording, Form, FormField, Record, Verb
from services.rules.speak import BODY, TITLE, Speech, house_body, say_to, template_of
from services.rules.world import Person
from shared.contracts.ids import Wamid
from shared.contracts.intents import Intent, classify
from shared.contracts.whatsapp import Media, MessageReceived

SUMMARY = ("send", "change", "cancel")
_MOST_BUTTONS = 3
_RETRIES = 1


class _File(Struct, frozen=True):
    """Whether a file came with the message, and why it was not taken."""

    came: bool
    refusal: Refusal | None


def begin(desk: Desk, chain: Chain, name: str, step: int, *, source: MessageReceived | None = None) -> Chain:
    """Welcome, then the first question; ``source`` is the message that asked for it where that is not the first."""
    form = desk.book_of(chain).forms[name]
    document = desk.document(chain)
    sender = source.person_id if source else document.sender
    if sender is None or sender not in desk.world.people:
        return chain
    defaults = {f.name: document.get(f.default.name) for f in form.fields if f.default and source is None}
    media = source.media if source else document.get("media")
    wamid = source.message_id if source else document.get("message_id")
    state = FormState(
        form=name, person_id=sender, step=step, reference=filling.reference_of(chain.chain_id), last_at=desk.now,
        values=_fitting(form, defaults),
        sources=(Wamid(wamid),) if wamid else (),
        prompts=len([m for m in chain.outgoing if m.verb is Verb.COLLECT]),
    )  # fmt: skip
    state, refusal = _take_document(form, state, media)
    chain = _say(desk, chain.replace(form=state), form.welcome)
    return _next(desk, chain, form, before=_reason(desk, chain, refusal))


def _fitting(form: Form, defaults: Mapping[str, object]) -> dict[str, str]:
    said = {field: str(defaults.get(field.name) or "").strip() for field in form.fields}
    return {field.name: value for field, value in said.items() if read_answer(field, value, None) is not None}


def fill(desk: Desk, chain: Chain, message: MessageReceived, button: str | None) -> Chain:
    """One more message of the person filling it: an answer to the field asked, a document, or a summary button."""
    form = _form(desk, chain)
    state = _state(chain)
    sources = (*state.sources, message.message_id)
    state, refusal = _take_document(form, state.replace(sources=sources, last_at=desk.now), message.media)
    chain = chain.replace(form=state, base_at=max(chain.base_at, desk.now))
    if state.phase is FormPhase.SUMMARY and button is None and _says_cancel(desk, chain, (message.text or "").strip()):
        button = "cancel"
    if state.phase is FormPhase.SUMMARY and button in SUMMARY:
        return _SUMMARY[button](desk, chain, form, message)
    if state.phase is FormPhase.CHANGING:
        return _choose_change(desk, chain, form, message.text or "")
    file = _File(came=message.media is not None, refusal=refusal)
    return _answer(desk, chain, form, button or (message.text or "").strip(), file)


def takes(desk: Desk, chain: Chain, message: MessageReceived) -> bool:
    """Whether the form waits for a text of the person's own, or the text is one of the choices it offers."""
    form, state, said = _form(desk, chain), _state(chain), (message.text or "").strip()
    if state.phase is FormPhase.SUMMARY:
        return _says_cancel(desk, chain, said)
    field = _asked_field(form, state)
    if field is None or field.document or state.phase is not FormPhase.ASKING:
        return False
    return not field.choose or read_answer(field, said, _wordings(desk, chain, form).get(field.name)) is not None


def goes_on(desk: Desk, chain: Chain, message: MessageReceived) -> bool:
    """Whether the message takes the form on; any other only makes it ask the same again."""
    form, state, said = _form(desk, chain), _state(chain), (message.text or "").strip()
    if _take_document(form, state, message.media)[0] is not state:
        return True
    if state.phase is FormPhase.SUMMARY:
        return _says_cancel(desk, chain, said)
    if state.phase is FormPhase.CHANGING:
        return _chosen(form, said) is not None
    field = _asked_field(form, state)
    if field is None or not said:
        return field is None
    fits = read_answer(field, said, _wordings(desk, chain, form).get(field.name)) is not None
    return fits or _insists(chain, form, field, said) is None


def _asked_field(form: Form, state: FormState) -> FormField | None:
    return next((f for f in form.fields if f.name == state.asking), None)


def _says_cancel(desk: Desk, chain: Chain, said: str) -> bool:
    """Whether the title of the summary's Cancel button was written instead of tapped."""
    template = template_of(desk, chain, _form(desk, chain).confirm)
    titles = {words.buttons.get("cancel", "").casefold() for words in template.languages.values()}
    return said.casefold() in {"cancel", *titles} if said else False


def abandon(chain: Chain) -> Chain:
    """Whoever was filling it is gone: nobody is waited for any more."""
    state = _state(chain)
    if state.over:
        return chain
    return chain.replace(form=state.replace(phase=FormPhase.CANCELLED))


def remind(desk: Desk, chain: Chain, speech: Speech) -> Chain:
    """The reminder, then the question that is open, again."""
    person = desk.world.people.get(_state(chain).person_id)
    return chain if person is None else say_to(desk, chain, Recipient(person, "unanswered"), speech)


def _state(chain: Chain) -> FormState:
    if chain.form is None:
        raise ValueError("no form is open on this chain")
    return chain.form


def _form(desk: Desk, chain: Chain) -> Form:
    return desk.book_of(chain).forms[_state(chain).form]


def _person(desk: Desk, chain: Chain) -> Person:
    return desk.world.people[_state(chain).person_id]


def _wordings(desk: Desk, chain: Chain, form: Form) -> dict[str, FieldWording]:
    wanted = filling.language_of(desk, _person(desk, chain))
    house = form.languages.get(desk.book.tenant.language) or next(iter(form.languages.values()))
    return dict(form.languages.get(wanted) or form.languages.get(wanted.partition("_")[0]) or house)


def _take_document(form: Form, state: FormState, media: Media | None) -> tuple[FormState, Refusal | None]:
    """A document answers the form's document field whenever it arrives, asked or not; no other file does."""
    if media is None:
        return state, None
    refusal, field = refused_file(form, media), file_field(form)
    if refusal is not None or field is None:
        return state, refusal
    values = {**state.values, field.name: media.filename or "1"}
    asking = None if state.asking == field.name else state.asking
    return state.replace(values=values, attachments=(*state.attachments, media), asking=asking), None


def _answer(desk: Desk, chain: Chain, form: Form, said: str, file: _File) -> Chain:
    state = _state(chain)
    field = _asked_field(form, state)
    if field is None:
        return _next(desk, chain, form, before=_reason(desk, chain, file.refusal))
    if file.came and (not said or (field.document and file.refusal is not None)):
        return _ask(desk, chain, form, field, before=_reason(desk, chain, file.refusal))
    value = read_answer(field, said, _wordings(desk, chain, form).get(field.name))
    if value is None and (refusal := _insists(chain, form, field, said)) is not None:
        return _ask(desk, chain, form, field, before=_reason(desk, chain, refusal))
    chain = chain.replace(form=state.replace(values={**state.values, field.name: value or ""}))
    stop = Refusal("taken_as_answer", {"said": value}) if value is not None and classify(said) is Intent.STOP else None
    return _next(desk, chain, form, before=_reason(desk, chain, file.refusal or stop))


def _insists(chain: Chain, form: Form, field: FormField, said: str) -> Refusal | None:
    """Why the same is asked again, if it is; ``again`` alone where the question itself says what would do."""
    if (long := too_long(field, said)) is not None:
        return long
    if field.document:
        return Refusal("form_wrong_file", {"kinds": kinds_of(form)}) if field.required else None
    return AGAIN if field.required or _asked_times(chain, field) <= _RETRIES else None


def _reason(desk: Desk, chain: Chain, refusal: Refusal | None) -> str | None:
    """What is said before the next question, in the person's language."""
    if refusal is None or not refusal.say:
        return None
    return house_body(desk, _person(desk, chain), refusal.say, **refusal.words)


def _asked_times(chain: Chain, field: FormField) -> int:
    return sum(1 for m in chain.outgoing if m.verb is Verb.COLLECT and m.answer == field.name)


def _next(desk: Desk, chain: Chain, form: Form, *, before: str | None = None) -> Chain:
    """``before`` stands before the next question: why something was not taken, or that STOP was taken for an answer."""
    missing = next((f for f in form.fields if f.name not in _state(chain).values), None)
    if missing is not None:
        before = before or _reason(desk, chain, _long_default(desk, chain, missing))
        return _ask(desk, chain, form, missing, before=before)
    chain = chain if before is None else _say(desk, chain, f"{form.name}.{form.confirm}", words={BODY: before})
    return _summary(desk, chain, form)


def _long_default(desk: Desk, chain: Chain, field: FormField) -> Refusal | None:
    """What the first message already said was too long for the field it would have answered."""
    if field.default is None or _asked_times(chain, field):
        return None
    return too_long(field, str(desk.document(chain).get(field.default.name) or ""))


def _ask(desk: Desk, chain: Chain, form: Form, field: FormField, *, before: str | None = None) -> Chain:
    words = _wordings(desk, chain, form)[field.name]
    state = _state(chain).replace(asking=field.name, phase=FormPhase.ASKING)
    titles = [words.options.get(name, name) for name in field.choose]
    few = len(titles) <= _MOST_BUTTONS
    body = words.ask if few else "\n".join([words.ask, *(f"{n}. {t}" for n, t in enumerate(titles, start=1))])
    if before is not None:
        body = f"{before}\n\n{body}"
    shown = dict(zip(field.choose, titles, strict=True)) if few else {}
    said = {BODY: body, **{TITLE + name: title for name, title in shown.items()}}
    chain = chain.replace(form=state)
    return _say(desk, chain, f"{form.name}.{field.name}", field=field.name, buttons=tuple(shown), words=said)


def _summary(desk: Desk, chain: Chain, form: Form) -> Chain:
    state = _state(chain).replace(asking=None, phase=FormPhase.SUMMARY)
    chain = chain.replace(form=state)
    return _say(desk, chain, form.confirm, buttons=SUMMARY, words=_spoken_values(desk, chain, form))


def _spoken_values(desk: Desk, chain: Chain, form: Form) -> dict[str, str]:
    words = _wordings(desk, chain, form)
    values = _state(chain).values
    spoken = {f.name: values.get(f.name) or "—" for f in form.fields}
    options = {f.name: words[f.name].options.get(spoken[f.name], spoken[f.name]) for f in form.fields if f.choose}
    return {**spoken, **options, "reference": _state(chain).reference}


def _say(
    desk: Desk, chain: Chain, say: str, *, field: str | None = None, buttons: tuple[str, ...] = (),
    words: dict[str, str] | None = None,
) -> Chain:  # fmt: skip
    state = _state(chain)
    speech = Speech(
        Verb.COLLECT, say, state.step, field or "form", str(state.prompts), 0, buttons, reply=True, words=words or {}
    )
    chain = chain.replace(form=state.replace(prompts=state.prompts + 1))
    return say_to(desk, _close_prompts(chain), Recipient(_person(desk, chain), "sender"), speech)


def _close_prompts(chain: Chain) -> Chain:
    for outgoing in chain.outgoing:
        if outgoing.verb is Verb.COLLECT and outgoing.is_question and not outgoing.closed:
            chain = chain.with_message(outgoing.replace(closed=True))
    return chain


def _send(desk: Desk, chain: Chain, form: Form, message: MessageReceived) -> Chain:
    """Sent: the record is asked for, and the person has a reference to quote from now on."""
    state = _state(chain).replace(phase=FormPhase.SENT)
    chain = chain.replace(form=state)
    summary = next(m for m in reversed(chain.outgoing) if m.say == form.confirm)
    given = _given(desk, summary, message, "send")
    chain = chain.replace(given=(*chain.given, given))
    chain = record.ask(desk, chain, Record(form.record, {}), record.Origin(state.step, "form", (given,)))
    desk.world.keep_acquisition(state.person_id, state.reference)
    chain = _say(desk, chain, form.done, words=_spoken_values(desk, chain, form))
    return _over(desk, chain)


def _cancel(desk: Desk, chain: Chain, form: Form, _message: MessageReceived) -> Chain:
    state = _state(chain).replace(phase=FormPhase.CANCELLED)
    chain = _say(desk, chain.replace(form=state), "noted", words=_spoken_values(desk, chain, form))
    return _over(desk, chain)


def _over(desk: Desk, chain: Chain) -> Chain:
    chain = chain.with_step(_state(chain).step, status=StepStatus.DONE)
    return close(desk, chain, Ending.ANSWERED)


def _given(desk: Desk, question: Outgoing, message: MessageReceived, answer: str) -> Given:
    return Given(
        person_id=message.person_id, answer=answer, final=True, at=message.at or desk.now,
        message_id=question.message_id, wamid=message.message_id, reply=answer,
    )  # fmt: skip


def _change(desk: Desk, chain: Chain, form: Form, _message: MessageReceived) -> Chain:
    state = _state(chain).replace(phase=FormPhase.CHANGING)
    words = _wordings(desk, chain, form)
    choices = "; ".join(f"{n}. {words[f.name].ask}" for n, f in enumerate(form.fields, start=1))
    return _say(desk, chain.replace(form=state), "form_change", words={"choices": choices})


def _choose_change(desk: Desk, chain: Chain, form: Form, said: str) -> Chain:
    field = _chosen(form, said)
    return _summary(desk, chain, form) if field is None else _ask(desk, chain, form, field)


def _chosen(form: Form, said: str) -> FormField | None:
    chosen = said.strip().rstrip(".").casefold()
    return next((f for n, f in enumerate(form.fields, start=1) if chosen in {str(n), f.name}), None)


_SUMMARY = {"send": _send, "change": _change, "cancel": _cancel}
