"""Where templates are said: each use decides which buttons a template must offer and what it may name."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.rules.check.guards import present_if, present_unless
from services.rules.check.house_words import HOUSE_TEMPLATES, IN_A_CHAIN, SAID, SUMMARY, TAKE
from services.rules.check.scope import Scope
from services.rules.rulebook import Answer, Form, Rule, Step, Tell, Verb
from services.rules.terms import Place


@dataclass(frozen=True, slots=True)
class Use:
    """``sure`` fields are there although the events may lack them; ``words`` are those beside the house's own."""

    template: str
    place: Place
    events: tuple[str, ...] = ()
    sure: frozenset[str] = frozenset()
    buttons: tuple[str, ...] = ()
    words: frozenset[str] = IN_A_CHAIN


def uses_of(scope: Scope, rule: Rule) -> Iterator[Use]:
    sure = present_if(rule.condition)
    for step in rule.steps:
        yield from _of_step(scope, rule, step, sure | present_unless(step.unless))
    for until in rule.until:
        if until.tell is not None:
            yield Use(until.tell.say, until.place, rule.events, sure)


def house_uses(scope: Scope) -> Iterator[Use]:
    """What must be there though no rule says it."""
    for name, house in HOUSE_TEMPLATES.items():
        words = house.words | (IN_A_CHAIN if house.chain else frozenset())
        found = scope.book.templates.get(name)
        place = found.place if found else Place(f"{name}.template.yaml", 1, 1)
        yield Use(name, place, ("message.received",), frozenset({"text"}), house.buttons, words)


def form_uses(scope: Scope, rule: Rule, form: Form, sure: frozenset[str]) -> Iterator[Use]:
    words = IN_A_CHAIN | {field.name for field in form.fields}
    plain = Use("", form.place, rule.events, sure, words=words)
    said = {"welcome": (form.welcome, ()), "confirm": (form.confirm, SUMMARY), "done": (form.done, ())}
    for key, (template, buttons) in said.items():
        place = scope.loaded.place(form.place.file, key)
        yield replace(plain, template=template, place=place, buttons=buttons)


def _of_step(scope: Scope, rule: Rule, step: Step, sure: frozenset[str]) -> Iterator[Use]:
    place = scope.place(rule, "steps", step.index, "say")
    said = Use(step.say or "", place, rule.events, sure)
    yield from _by_verb(rule, step, said)
    for answer in step.answers.values():
        at = replace(said, place=scope.place(rule, "steps", step.index, "answers", answer.name, "say"))
        yield from _of_answer(answer, at)
    for name in begun_by(step):
        if (form := scope.book.forms.get(name)) is not None:
            yield from form_uses(scope, rule, form, sure)


def _by_verb(rule: Rule, step: Step, said: Use) -> Iterator[Use]:
    match step.verb:
        case Verb.TELL:
            yield said
        case Verb.ASK:
            yield replace(said, buttons=tuple(step.answers))
        case Verb.REMIND:
            yield replace(said, buttons=reminded(rule, step))
        case Verb.HAND_OVER:
            yield replace(said, template=step.say or "to_take", buttons=TAKE, words=_taking(step.say))
        case Verb.RECORD | Verb.GIVE_UP | Verb.COLLECT:
            yield from _of_tell(step.tell, said)


def _of_tell(tell: Tell | None, said: Use) -> Iterator[Use]:
    if tell is not None:
        yield replace(said, template=tell.say)


def _of_answer(answer: Answer, said: Use) -> Iterator[Use]:
    yield from _of_tell(answer.tell, said)
    if answer.hand_over is not None:
        say = answer.hand_over.say
        yield replace(said, template=say or "to_take", buttons=TAKE, words=IN_A_CHAIN | SAID)


def _taking(say: str | None) -> frozenset[str]:
    return IN_A_CHAIN if say else IN_A_CHAIN | SAID


def begun_by(step: Step) -> Iterator[str]:
    """Forms begun by the step itself or by an answer to it."""
    yield from (name for name in (step.form, *(answer.form for answer in step.answers.values())) if name)


def reminded(rule: Rule, step: Step) -> tuple[str, ...]:
    """The answers of the question a reminder repeats: the last one asked before it; none where a form is collected."""
    before = [each for each in rule.steps if each.index < step.index and each.verb in (Verb.ASK, Verb.COLLECT)]
    return tuple(before[-1].answers) if before else ()
