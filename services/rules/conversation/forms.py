"""What a form takes for an answer, and the sentence that says what would do where it takes none.

A short form filled in chat: one question at a time, a summary, then Send, Change or Cancel.

What the first message already says answers the field whose default it is, and is corrected at the summary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from services.rules.conversation import rendering, writes
from services.rules.conversation.chain import Chain, ChainMessage, Ending, FormPhase, FormState, GivenAnswer, StepStatus
from services.rules.conversation.completion import close_chain
from services.rules.conversation.context import DecisionContext
from services.rules.conversation.facts import PersonFacts
from services.rules.conversation.outbound import (
    BODY_VALUE,
    BUTTON_TITLE_PREFIX,
    MessageDraft,
    notice_text,
    send_to_recipient,
    template_of,
)
from services.rules.conversation.recipients import Recipient
from services.rules.rulebook.model import FieldText, Form, FormField, Verb, WriteAction
from shared.clients.whatsapp_limits import BUTTONS
from shared.contracts.ids import Wamid
from shared.contracts.intents import ReplyIntent, classify, has_words
from shared.contracts.whatsapp import Media, MessageReceived

CONTENT_TYPES: Mapping[str, frozenset[str]] = {
    "pdf": frozenset({"application/pdf", "application/x-pdf"}),
    "doc": frozenset({"application/msword"}),
    "docx": frozenset({"application/vnd.openxmlformats-officedocument.wordprocessingml.document"}),
    "odt": frozenset({"application/vnd.oasis.opendocument.text"}),
    "rtf": frozenset({"application/rtf", "application/x-rtf", "text/rtf", "text/richtext"}),
    "txt": frozenset({"text/plain"}),
    "md": frozenset({"text/markdown", "text/x-markdown"}),
    "html": frozenset({"text/html"}),
    "epub": frozenset({"application/epub+zip"}),
    "xls": frozenset({"application/vnd.ms-excel"}),
    "xlsx": frozenset({"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}),
    "csv": frozenset({"text/csv"}),
    "ppt": frozenset({"application/vnd.ms-powerpoint"}),
    "pptx": frozenset({"application/vnd.openxmlformats-officedocument.presentationml.presentation"}),
    "jpg": frozenset({"image/jpeg", "image/jpg"}),
    "jpeg": frozenset({"image/jpeg", "image/jpg"}),
    "png": frozenset({"image/png"}),
    "tif": frozenset({"image/tiff"}),
    "tiff": frozenset({"image/tiff"}),
    "mp3": frozenset({"audio/mpeg", "audio/mp3"}),
    "mp4": frozenset({"video/mp4"}),
    "zip": frozenset({"application/zip", "application/x-zip-compressed"}),
}
"""Extension → what senders and WhatsApp call such a file: https://www.iana.org/assignments/media-types"""
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """``say`` is the house template that tells the person what would do."""

    say: str
    words: Mapping[str, str] = field(default_factory=dict)


ASK_AGAIN = Refusal("")
"""The question itself says what would do."""


def read_answer(asked: FormField, said: str, words: FieldText | None) -> str | None:
    """The value a text stands for; None where it does not fit the field, as emoji alone never do.

    Options answer by button, number or name.
    """
    if not has_words(said) or length_refusal(asked, said) is not None:
        return None
    if not asked.choose:
        return None if asked.document else said
    titles = words.options if words else {}
    spoken = {name: titles.get(name, name).casefold() for name in asked.choose}
    by_number = {str(n): name for n, name in enumerate(asked.choose, start=1)}
    matches = (n for n in asked.choose if said == n or said.casefold() == spoken[n])
    return by_number.get(said.rstrip(".")) or next(matches, None)


def length_refusal(asked: FormField, said: str) -> Refusal | None:
    if asked.longest is None or len(said) <= asked.longest:
        return None
    return Refusal("form_too_long", {"length": str(len(said)), "most": str(asked.longest)})


def file_field(form: Form) -> FormField | None:
    """A form has one field for files at most; the checker sees to it."""
    return next((each for each in form.fields if each.document), None)


def file_refusal(form: Form, media: Media) -> Refusal | None:
    """Why the form cannot take this file: it takes none, or none of this kind or size."""
    asked = file_field(form)
    if asked is None:
        return Refusal("form_no_file")
    if not _is_one_of(asked.document, media):
        return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)})
    if asked.max_mb is not None and media.size is not None and media.size > asked.max_mb * _MEGABYTE:
        return Refusal("form_large_file", {"most": str(asked.max_mb)})
    return None


def accepted_kinds(form: Form) -> str:
    asked = file_field(form)
    return ", ".join(kind.upper() for kind in asked.document) if asked else ""


def _is_one_of(kinds: tuple[str, ...], media: Media) -> bool:
    """By its name or by its content type: many devices send a name without extension."""
    _, dot, extension = (media.filename or "").strip().lower().rpartition(".")
    content = (media.mime or "").partition(";")[0].strip().lower()
    return (bool(dot) and extension in kinds) or any(content in CONTENT_TYPES.get(kind, frozenset()) for kind in kinds)


SUMMARY = ("send", "change", "cancel")
_RETRIES = 1


class _File(Struct, frozen=True):
    """Whether a file came with the message, and why it was not taken."""

    came: bool
    refusal: Refusal | None


def begin_form(
    context: DecisionContext, chain: Chain, name: str, step: int, *, source: MessageReceived | None = None
) -> Chain:
    """Welcome, then the first question; ``source`` is the message that asked for it where that is not the first."""
    form = context.rulebook_of(chain).forms[name]
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
        values=_fitting(form, defaults),
        sources=(Wamid(wamid),) if wamid else (),
        prompts=len([m for m in chain.messages if m.verb is Verb.COLLECT]),
    )
    state, refusal = _take_document(form, state, media)
    chain = _send(context, chain.replace(form=state), form.welcome)
    return _ask_next(context, chain, form, before=_reason(context, chain, refusal))


def _fitting(form: Form, defaults: Mapping[str, object]) -> dict[str, str]:
    said = {field: str(defaults.get(field.name) or "").strip() for field in form.fields}
    return {field.name: value for field, value in said.items() if read_answer(field, value, None) is not None}


def fill_form(context: DecisionContext, chain: Chain, message: MessageReceived, button: str | None) -> Chain:
    """One more message of the person filling it: an answer to the field asked, a document, or a summary button."""
    form = _form_of(context, chain)
    state = _form_state(chain)
    sources = (*state.sources, message.message_id)
    state, refusal = _take_document(form, state.replace(sources=sources, last_at=context.now), message.media)
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
        return _choose_change(context, chain, form, message.text or "")
    file = _File(came=message.media is not None, refusal=refusal)
    return _take_answer(context, chain, form, button or (message.text or "").strip(), file)


def accepts_text(context: DecisionContext, chain: Chain, message: MessageReceived) -> bool:
    """Whether the form waits for a text of the person's own, or the text is one of the choices it offers."""
    form, state, said = _form_of(context, chain), _form_state(chain), (message.text or "").strip()
    if state.phase is FormPhase.SUMMARY:
        return _is_cancel_text(context, chain, said)
    field = _asked_field(form, state)
    if field is None or field.document or state.phase is not FormPhase.ASKING:
        return False
    return (
        not field.choose or read_answer(field, said, _field_wordings(context, chain, form).get(field.name)) is not None
    )


def advances_form(context: DecisionContext, chain: Chain, message: MessageReceived) -> bool:
    """Whether the message takes the form on; any other only makes it ask the same again."""
    form, state, said = _form_of(context, chain), _form_state(chain), (message.text or "").strip()
    if _take_document(form, state, message.media)[0] is not state:
        return True
    if state.phase is FormPhase.SUMMARY:
        return _is_cancel_text(context, chain, said)
    if state.phase is FormPhase.CHANGING:
        return _chosen(form, said) is not None
    field = _asked_field(form, state)
    if field is None or not said:
        return field is None
    fits = read_answer(field, said, _field_wordings(context, chain, form).get(field.name)) is not None
    return fits or _refusal_of(chain, form, field, said) is None


def _asked_field(form: Form, state: FormState) -> FormField | None:
    return next((f for f in form.fields if f.name == state.asking), None)


def _is_cancel_text(context: DecisionContext, chain: Chain, said: str) -> bool:
    """Whether the title of the summary's Cancel button was written instead of tapped."""
    template = template_of(context, chain, _form_of(context, chain).confirm)
    titles = {words.buttons.get("cancel", "").casefold() for words in template.languages.values()}
    return said.casefold() in {"cancel", *titles} if said else False


def abandon_form(chain: Chain) -> Chain:
    """Whoever was filling it is gone: nobody is waited for any more."""
    state = _form_state(chain)
    if state.over:
        return chain
    return chain.replace(form=state.replace(phase=FormPhase.CANCELLED))


def remind_form(context: DecisionContext, chain: Chain, draft: MessageDraft) -> Chain:
    """The reminder, then the question that is open, again."""
    person = context.facts.people.get(_form_state(chain).person_id)
    return chain if person is None else send_to_recipient(context, chain, Recipient(person, "unanswered"), draft)


def _form_state(chain: Chain) -> FormState:
    if chain.form is None:
        raise ValueError("no form is open on this chain")
    return chain.form


def _form_of(context: DecisionContext, chain: Chain) -> Form:
    return context.rulebook_of(chain).forms[_form_state(chain).form]


def _filler(context: DecisionContext, chain: Chain) -> PersonFacts:
    return context.facts.people[_form_state(chain).person_id]


def _field_wordings(context: DecisionContext, chain: Chain, form: Form) -> dict[str, FieldText]:
    wanted = rendering.language_of(context, _filler(context, chain))
    house = form.languages.get(context.rulebook.tenant.language) or next(iter(form.languages.values()))
    return dict(form.languages.get(wanted) or form.languages.get(wanted.partition("_")[0]) or house)


def _take_document(form: Form, state: FormState, media: Media | None) -> tuple[FormState, Refusal | None]:
    """A document answers the form's document field whenever it arrives, asked or not; no other file does."""
    if media is None:
        return state, None
    refusal, field = file_refusal(form, media), file_field(form)
    if refusal is not None or field is None:
        return state, refusal
    values = {**state.values, field.name: media.filename or "1"}
    asking = None if state.asking == field.name else state.asking
    return state.replace(values=values, attachments=(*state.attachments, media), asking=asking), None


def _take_answer(context: DecisionContext, chain: Chain, form: Form, said: str, file: _File) -> Chain:
    state = _form_state(chain)
    field = _asked_field(form, state)
    if field is None:
        return _ask_next(context, chain, form, before=_reason(context, chain, file.refusal))
    if file.came and (not said or (field.document and file.refusal is not None)):
        return _ask(context, chain, form, field, before=_reason(context, chain, file.refusal))
    value = read_answer(field, said, _field_wordings(context, chain, form).get(field.name))
    if value is None and (refusal := _refusal_of(chain, form, field, said)) is not None:
        return _ask(context, chain, form, field, before=_reason(context, chain, refusal))
    chain = chain.replace(form=state.replace(values={**state.values, field.name: value or ""}))
    stop = (
        Refusal("taken_as_answer", {"said": value})
        if value is not None and classify(said) is ReplyIntent.STOP
        else None
    )
    return _ask_next(context, chain, form, before=_reason(context, chain, file.refusal or stop))


def _refusal_of(chain: Chain, form: Form, field: FormField, said: str) -> Refusal | None:
    """Why the same is asked again, if it is; ``again`` alone where the question itself says what would do."""
    if (long := length_refusal(field, said)) is not None:
        return long
    if field.document:
        return Refusal("form_wrong_file", {"kinds": accepted_kinds(form)}) if field.required else None
    return ASK_AGAIN if field.required or _asked_times(chain, field) <= _RETRIES else None


def _reason(context: DecisionContext, chain: Chain, refusal: Refusal | None) -> str | None:
    """What is said before the next question, in the person's language."""
    if refusal is None or not refusal.say:
        return None
    return notice_text(context, _filler(context, chain), refusal.say, **refusal.words)


def _asked_times(chain: Chain, field: FormField) -> int:
    return sum(1 for m in chain.messages if m.verb is Verb.COLLECT and m.answer == field.name)


def _ask_next(context: DecisionContext, chain: Chain, form: Form, *, before: str | None = None) -> Chain:
    """``before`` stands before the next question: why something was not taken, or that STOP was taken for an answer."""
    missing = next((f for f in form.fields if f.name not in _form_state(chain).values), None)
    if missing is not None:
        before = before or _reason(context, chain, _long_default(context, chain, missing))
        return _ask(context, chain, form, missing, before=before)
    chain = (
        chain if before is None else _send(context, chain, f"{form.name}.{form.confirm}", words={BODY_VALUE: before})
    )
    return _summary(context, chain, form)


def _long_default(context: DecisionContext, chain: Chain, field: FormField) -> Refusal | None:
    """What the first message already said was too long for the field it would have answered."""
    if field.default is None or _asked_times(chain, field):
        return None
    return length_refusal(field, str(context.document(chain).get(field.default.name) or ""))


def _ask(context: DecisionContext, chain: Chain, form: Form, field: FormField, *, before: str | None = None) -> Chain:
    words = _field_wordings(context, chain, form)[field.name]
    state = _form_state(chain).replace(asking=field.name, phase=FormPhase.ASKING)
    titles = [words.options.get(name, name) for name in field.choose]
    few = len(titles) <= BUTTONS
    body = words.ask if few else "\n".join([words.ask, *(f"{n}. {t}" for n, t in enumerate(titles, start=1))])
    if before is not None:
        body = f"{before}\n\n{body}"
    shown = dict(zip(field.choose, titles, strict=True)) if few else {}
    said = {BODY_VALUE: body, **{BUTTON_TITLE_PREFIX + name: title for name, title in shown.items()}}
    chain = chain.replace(form=state)
    return _send(context, chain, f"{form.name}.{field.name}", field=field.name, buttons=tuple(shown), words=said)


def _summary(context: DecisionContext, chain: Chain, form: Form) -> Chain:
    state = _form_state(chain).replace(asking=None, phase=FormPhase.SUMMARY)
    chain = chain.replace(form=state)
    return _send(context, chain, form.confirm, buttons=SUMMARY, words=_spoken_values(context, chain, form))


def _spoken_values(context: DecisionContext, chain: Chain, form: Form) -> dict[str, str]:
    words = _field_wordings(context, chain, form)
    values = _form_state(chain).values
    spoken = {f.name: values.get(f.name) or "—" for f in form.fields}
    options = {f.name: words[f.name].options.get(spoken[f.name], spoken[f.name]) for f in form.fields if f.choose}
    return {**spoken, **options, "reference": _form_state(chain).reference}


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
    draft = MessageDraft(
        Verb.COLLECT, say, state.step, field or "form", str(state.prompts), 0, buttons, reply=True, words=words or {}
    )
    chain = chain.replace(form=state.replace(prompts=state.prompts + 1))
    return send_to_recipient(context, _close_prompts(chain), Recipient(_filler(context, chain), "sender"), draft)


def _close_prompts(chain: Chain) -> Chain:
    for outgoing in chain.messages:
        if outgoing.verb is Verb.COLLECT and outgoing.is_question and not outgoing.closed:
            chain = chain.with_message(outgoing.replace(closed=True))
    return chain


def _submit(context: DecisionContext, chain: Chain, form: Form, message: MessageReceived) -> Chain:
    """Sent: the record is asked for, and the person has a reference to quote from now on."""
    state = _form_state(chain).replace(phase=FormPhase.SENT)
    chain = chain.replace(form=state)
    summary = next(m for m in reversed(chain.messages) if m.say == form.confirm)
    given = _given_by_form(context, summary, message, "send")
    chain = chain.replace(answers=(*chain.answers, given))
    chain = writes.request_write(
        context, chain, WriteAction(form.record, {}), writes.WriteOrigin(state.step, "form", (given,))
    )
    context.facts.set_acquisition(state.person_id, state.reference)
    chain = _send(context, chain, form.done, words=_spoken_values(context, chain, form))
    return _complete(context, chain)


def _cancel(context: DecisionContext, chain: Chain, form: Form, _message: MessageReceived) -> Chain:
    state = _form_state(chain).replace(phase=FormPhase.CANCELLED)
    chain = _send(context, chain.replace(form=state), "noted", words=_spoken_values(context, chain, form))
    return _complete(context, chain)


def _complete(context: DecisionContext, chain: Chain) -> Chain:
    chain = chain.with_step(_form_state(chain).step, status=StepStatus.DONE)
    return close_chain(context, chain, Ending.ANSWERED)


def _given_by_form(
    context: DecisionContext, question: ChainMessage, message: MessageReceived, answer: str
) -> GivenAnswer:
    return GivenAnswer(
        person_id=message.person_id,
        answer=answer,
        final=True,
        at=message.at or context.now,
        message_id=question.message_id,
        wamid=message.message_id,
        reply=answer,
    )


def _change(context: DecisionContext, chain: Chain, form: Form, _message: MessageReceived) -> Chain:
    state = _form_state(chain).replace(phase=FormPhase.CHANGING)
    words = _field_wordings(context, chain, form)
    choices = "; ".join(f"{n}. {words[f.name].ask}" for n, f in enumerate(form.fields, start=1))
    return _send(context, chain.replace(form=state), "form_change", words={"choices": choices})


def _choose_change(context: DecisionContext, chain: Chain, form: Form, said: str) -> Chain:
    field = _chosen(form, said)
    return _summary(context, chain, form) if field is None else _ask(context, chain, form, field)


def _chosen(form: Form, said: str) -> FormField | None:
    chosen = said.strip().rstrip(".").casefold()
    return next((f for n, f in enumerate(form.fields, start=1) if chosen in {str(n), f.name}), None)


_SUMMARY = {"send": _submit, "change": _change, "cancel": _cancel}
