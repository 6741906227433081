"""Checks of events that join a chain: their subject, the people they concern, and their number in templates."""

from collections.abc import Collection, Iterator, Sequence

from services.rules.rulebook.addressee_validation import SENDER, TOLD, UNANSWERED
from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES, TYPED_FIELDS
from services.rules.rulebook.catalogue import MESSAGE_RECEIVED, STAFF_ROLES, party_fields, resolve
from services.rules.rulebook.model import Addressees, Location, OnRepeat, Rule, Step, Team, Template, Verb
from services.rules.rulebook.rule_folder import RULE
from services.rules.rulebook.template_uses import uses_of
from services.rules.rulebook.template_validation import parameters_of
from services.rules.rulebook.validation_context import ValidationContext

_SENDING = frozenset(Verb) - {Verb.RECORD, Verb.GIVE_UP}


def check_joining(context: ValidationContext, rule: Rule) -> None:
    """Events can join: they have a subject, the first message waits for them, and all concern the same people."""
    where = context.location(rule, "on_repeat")
    if not rule.about:
        context.report.add(where, "“join” gathers the events about one subject: say which by “about”")
        return
    first = next((step for step in rule.steps if step.verb in _SENDING), None)
    at_once = first is not None and all(step.timing is None for step in rule.steps[: first.index + 1])
    if first is not None and at_once and not context.report.has_fault_on(first.location):
        sentence = "no event can join: the first message goes at once; give its step a time, like “after: 1 minute”"
        context.report.add(first.location, sentence)
    for step in rule.steps:
        for who, path in _addressed(step):
            for name, location in zip(who, context.locations(rule, len(who), *path), strict=True):
                _check_same_person(context, rule, name, location)
    for until in rule.until:
        if until.same is not None and until.same not in rule.about:
            sentence = (
                f"the events that join need not have the same “{until.same}”; end the chain by what “about” names"
            )
            context.report.add(until.location, sentence)


def _addressed(step: Step) -> Iterator[tuple[Addressees, tuple[str | int, ...]]]:
    if step.verb not in (Verb.RECORD, Verb.GIVE_UP):
        yield step.who, ("steps", step.index, step.verb)
    if step.tell is not None:
        yield step.tell.who, ("steps", step.index, "tell")
    for answer in step.answers.values():
        path = ("steps", step.index, "answers", answer.name)
        for verb, action in (("tell", answer.tell), ("hand_over", answer.hand_over)):
            if action is not None:
                yield action.who, (*path, verb)


def _check_same_person(context: ValidationContext, rule: Rule, name: str | Team, location: Location) -> None:
    """A party of the event, or a person who works on the title, must be the same for all events that join."""
    if isinstance(name, Team) or name in (UNANSWERED, TOLD) or not _are_known(rule):
        return
    if name == SENDER:
        if set(rule.events) == {MESSAGE_RECEIVED} and not _is_about(rule, "sender"):
            context.report.add(location, _of_another("sender", "sender.person_id"))
    elif any(name in party_fields(event) for event in rule.events):
        if not _is_about(rule, name):
            context.report.add(location, _of_another(name, f"{name}.person_id"))
    elif not context.reads_whole("people.yaml"):
        return  # a team may have the role
    elif name in context.roles - context.staffed - STAFF_ROLES and not _is_about(rule, "work"):
        context.report.add(location, _of_another(name, "work.work_id"))


def _are_known(rule: Rule) -> bool:
    """Whether there are all fields of “about”; what is not there is reported, and may be the one that is missed."""
    return all(resolve(rule.events, path) is not None for path in rule.about)


def _is_about(rule: Rule, party: str) -> bool:
    return any(field.partition(".")[0] == party for field in rule.about)


def _of_another(name: str, field: str) -> str:
    return f"the events that join may each have another “{name}”; name “{field}” in “about”"


# ------------------------------------------------------------------ their number

_COUNT = "count"


def check_counts(context: ValidationContext, rules: Collection[Rule]) -> None:
    """A template says how many events have joined only where a rule says it that gathers them."""
    counting = {name: each for name, each in context.book.templates.items() if _says_count(each)}
    if not counting or context.loaded.unread(RULE):
        return
    saying: dict[str, list[Rule]] = {name: [] for name in counting}
    for rule in rules:
        for name in {
            name for use in uses_of(context, rule) for name in _template_and_fallback(context, use.template)
        } & saying.keys():
            saying[name].append(rule)
    lonely = {name: found for name, found in saying.items() if found and not any(_may_join(context, r) for r in found)}
    common = [rule for rule in rules if lonely and all(rule in found for found in lonely.values())]
    if len(lonely) > 1 and len(common) == 1:
        context.report.refuse(_place_of_joining(context, common[0]), _joins_no_more(common[0], sorted(lonely)))
        return
    for name, found in lonely.items():
        context.report.refuse(_place_of_count(context, counting[name]), _always_one(name, found))


def _joins_no_more(rule: Rule, templates: Sequence[str]) -> str:
    """The fault of one rule that says several templates: more likely its own key is missing than all of them wrong."""
    named = " and ".join(f"“{name}”" for name in templates)
    return (
        f"{named} say {{{_COUNT}}}, which is always 1: write “on_repeat: join”, by which “{rule.name}” gathers events, "
        f"or say them without {{{_COUNT}}}"
    )


def _always_one(name: str, found: Sequence[Rule]) -> str:
    if len(found) > 1:
        return f"{{{_COUNT}}} is always 1: no rule that says “{name}” gathers events, by “on_repeat: join”"
    return (
        f"{{{_COUNT}}} is always 1: the rule “{found[0].name}” says “{name}” and gathers no events; write “on_repeat: "
        f"join” there, or say the text without {{{_COUNT}}}"
    )


def _place_of_joining(context: ValidationContext, rule: Rule) -> Location:
    return context.location(rule, "on_repeat") if context.is_written(rule, "on_repeat") else rule.location


def _says_count(template: Template) -> bool:
    """Whether it says the number itself, and the service does not say it in chains of any rule."""
    of_the_house = template.name in BUILT_IN_TEMPLATES or template.name in TYPED_FIELDS.values()
    is_said = any(_COUNT in parameters_of(text) for text in template.languages.values())
    return is_said and not of_the_house and _COUNT not in template.fields


def _template_and_fallback(context: ValidationContext, name: str) -> Iterator[str]:
    """A template, and the one that stands in for it."""
    yield name
    template = context.book.templates.get(name)
    if template is not None and template.fallback:
        yield template.fallback


def _may_join(context: ValidationContext, rule: Rule) -> bool:
    """Whether events may join a chain of the rule; also where a key of the rule could not be read, which may be the
    one.
    """
    return rule.on_repeat is OnRepeat.JOIN or rule.location.file in context.loaded.faulty


def _place_of_count(context: ValidationContext, template: Template) -> Location:
    language = next(code for code, text in template.languages.items() if _COUNT in parameters_of(text))
    body = context.loaded.location(template.location.file, "languages", language, "body")
    return context.loaded.place_in_text(body, f"{{{_COUNT}}}")
