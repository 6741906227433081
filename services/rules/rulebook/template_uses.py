"""The uses of templates: where the rules, forms and the service itself send one, and what is known there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from services.rules.rulebook.built_in import (
    ANSWERED,
    BUILT_IN_TEMPLATES,
    FIELD_REFUSED,
    IN_A_CHAIN,
    SUMMARY,
    TAKE,
    TYPED_FIELDS,
)
from services.rules.rulebook.field_validation import present_if, present_unless
from services.rules.rulebook.model import (
    RECEIVED,
    AnswerAction,
    AttachAction,
    Form,
    Location,
    Notification,
    Rule,
    Step,
    Verb,
)
from services.rules.rulebook.validation_context import ValidationContext, forms_of_step


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """One use of a template. ``present`` fields are there although the events may lack them; ``words`` are the
    parameters that the service fills in here; ``may_offer`` are buttons that it may have beside ``buttons``.
    """

    template: str
    location: Location
    events: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()
    buttons: tuple[str, ...] = ()
    words: frozenset[str] = IN_A_CHAIN
    may_offer: tuple[str, ...] = ()
    attach: AttachAction | None = None
    asked_at: tuple[str | int, ...] = ()
    """The path of the question whose answers the buttons are."""
    is_unread: bool = False
    """Whether the answers could not be read, which is reported."""

    def of_answers(self, asked_at: tuple[str | int, ...], answers: Iterable[str]) -> "TemplateUse":
        """The same use with a button for each answer."""
        return replace(self, buttons=tuple(answers), asked_at=asked_at)


def uses_of(context: ValidationContext, rule: Rule) -> Iterator[TemplateUse]:
    present = present_if(rule.condition)
    for step in rule.steps:
        yield from _of_step(context, rule, step, present | present_unless(step.unless))
    for until in rule.until:
        if until.tell is not None:
            location = context.location(rule, *context.until_path(rule, until), "say")
            yield TemplateUse(until.tell.say, location, rule.events, present)


def built_in_uses(context: ValidationContext) -> Iterator[TemplateUse]:
    """The uses by the service itself: these templates must exist, except the optional ones."""
    for name, built_in in BUILT_IN_TEMPLATES.items():
        words = built_in.words | (IN_A_CHAIN if built_in.chain else frozenset())
        found = context.book.templates.get(name)
        if found is None and built_in.optional:
            continue
        location = found.location if found else Location(f"{name}.template.yaml", 1, 1)
        yield TemplateUse(
            name, location, ("message.received",), frozenset({"text"}), built_in.buttons, words, built_in.may_offer
        )
    yield from _typed_field_uses(context)


def _typed_field_uses(context: ValidationContext) -> Iterator[TemplateUse]:
    """A form with a typed field needs the house's sentence for what does not fit."""
    for form in context.book.forms.values():
        for field in form.fields:
            name = None if context.lacks_built_in else TYPED_FIELDS.get(field.kind)
            if name is not None and not (field.choose or field.document):
                location = context.loaded.location(form.location.file, "fields", field.name)
                words = IN_A_CHAIN | FIELD_REFUSED.words
                yield TemplateUse(name, location, ("message.received",), frozenset({"text"}), words=words)


def _form_uses(context: ValidationContext, rule: Rule, form: Form, present: frozenset[str]) -> Iterator[TemplateUse]:
    asked = (name for texts in form.languages.values() for name in texts)  # one that is no field is reported there
    words = IN_A_CHAIN.union((field.name for field in form.fields), asked)
    plain = TemplateUse("", form.location, rule.events, present, words=words)
    templates = {"welcome": (form.welcome, ()), "confirm": (form.confirm, SUMMARY), "done": (form.done, ())}
    for key, (template, buttons) in templates.items():
        location = context.loaded.location(form.location.file, key)
        yield replace(plain, template=template, location=location, buttons=buttons)


def _of_step(context: ValidationContext, rule: Rule, step: Step, present: frozenset[str]) -> Iterator[TemplateUse]:
    location = context.location(rule, "steps", step.index, "say")
    verbs = [verb for verb in RECEIVED if context.loaded.has(rule.location.file, "steps", step.index, verb)]
    is_unread = len(verbs) > 1
    use = TemplateUse(step.say or "", location, rule.events, present, is_unread=is_unread)
    yield from _by_verb(context, rule, step, use)
    yield from _of_answers(context, rule, step.answers, use, ("steps", step.index))
    for name in forms_of_step(step):
        if (form := context.book.forms.get(name)) is not None:
            yield from _form_uses(context, rule, form, present)


def _of_answers(
    context: ValidationContext,
    rule: Rule,
    answers: Mapping[str, AnswerAction],
    use: TemplateUse,
    path: tuple[str | int, ...],
) -> Iterator[TemplateUse]:
    """The uses of the answers to one question, and of the questions they ask; ``path`` leads to the question."""
    for answer in answers.values():
        inner = (*path, "answers", answer.name)
        at = replace(use, location=context.location(rule, *inner, "say"))
        yield from _of_answer(answer, at)
        if answer.ask is not None:
            yield replace(at, template=answer.ask.say).of_answers(inner, answer.ask.answers)
            yield from _of_answers(context, rule, answer.ask.answers, use, inner)


def _by_verb(context: ValidationContext, rule: Rule, step: Step, use: TemplateUse) -> Iterator[TemplateUse]:
    match step.verb:
        case Verb.TELL:
            yield replace(use, attach=step.attach)
        case Verb.ASK:
            asking = use.of_answers(("steps", step.index), step.answers)
            is_read = context.loaded.has_mapping(rule.location.file, "steps", step.index, "answers")
            yield replace(asking, attach=step.attach, is_unread=use.is_unread or not is_read)
        case Verb.REMIND:
            asked = _last_question(rule, step)
            answers = {} if asked is None else asked.answers
            path = ("steps", asked.index if asked else step.index)
            reminding = use.of_answers(path, answers)
            is_unread = (
                use.is_unread
                or asked is None
                or not (asked.verb is Verb.COLLECT or context.loaded.has_mapping(rule.location.file, *path, "answers"))
            )
            yield replace(reminding, attach=step.attach, is_unread=is_unread)
        case Verb.HAND_OVER:
            yield replace(use, template=step.say or "to_take", buttons=TAKE, words=_take_words(step.say))
        case Verb.RECORD | Verb.GIVE_UP | Verb.COLLECT:
            yield from _of_notification(step.tell, use)


def _of_notification(tell: Notification | None, use: TemplateUse) -> Iterator[TemplateUse]:
    if tell is not None:
        yield replace(use, template=tell.say, attach=tell.attach)


def _of_answer(answer: AnswerAction, use: TemplateUse) -> Iterator[TemplateUse]:
    yield from _of_notification(answer.tell, use)
    if answer.hand_over is not None:
        say = answer.hand_over.say
        yield replace(use, template=say or "to_take", buttons=TAKE, words=IN_A_CHAIN | ANSWERED)


def _take_words(say: str | None) -> frozenset[str]:
    return IN_A_CHAIN if say else IN_A_CHAIN | ANSWERED


def _last_question(rule: Rule, step: Step) -> Step | None:
    """The question a reminder repeats: the last one asked before it, or the form that is collected."""
    before = [each for each in rule.steps if each.index < step.index and each.verb in (Verb.ASK, Verb.COLLECT)]
    return before[-1] if before else None
