"""Checks of a rule with ``on_repeat: join``: its events can be gathered, and concern the same people."""

from collections.abc import Iterator

from services.rules.rulebook.addressee_validation import SENDER, TOLD, UNANSWERED
from services.rules.rulebook.catalogue import MESSAGE_RECEIVED, STAFF_ROLES, party_fields, resolve
from services.rules.rulebook.model import Addressees, Location, Rule, Step, Team, Verb
from services.rules.rulebook.validation_context import ValidationContext

_SENDING = frozenset(Verb) - {Verb.RECORD, Verb.GIVE_UP}


def check_joining(context: ValidationContext, rule: Rule) -> None:
    """Events can join: they have a subject, the first message waits for them, and all concern the same people."""
    where = context.location(rule, "on_repeat")
    if not rule.about:
        context.report.add(where, "“join” gathers the events about one subject: say which by “about”")
        return
    first = next((step for step in rule.steps if step.verb in _SENDING), None)
    if first is not None and all(step.timing is None for step in rule.steps[: first.index + 1]):
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
    elif name in context.roles - context.staffed - STAFF_ROLES and not _is_about(rule, "work"):
        context.report.add(location, _of_another(name, "work.work_id"))


def _are_known(rule: Rule) -> bool:
    """Whether there are all fields of “about”; what is not there is reported, and may be the one that is missed."""
    return all(resolve(rule.events, path) is not None for path in rule.about)


def _is_about(rule: Rule, party: str) -> bool:
    return any(field.partition(".")[0] == party for field in rule.about)


def _of_another(name: str, field: str) -> str:
    return f"the events that join may each have another “{name}”; name “{field}” in “about”"
