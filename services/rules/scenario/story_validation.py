"""Checks of what stories name, without playing them: people, templates, buttons, fields, facts, reasons and times.

Playing a story would find each of these mistakes too. But stories are played only where no file has a fault, and only
up to the first step that fails.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache, cached_property
from typing import TypeGuard, get_args

from services.rules.conversation.context import ExclusionReason
from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES, SHOW, STOP_ALL, SUMMARY, TYPED_FIELDS
from services.rules.rulebook.catalogue import FieldSpec, FieldType, fields_of_model
from services.rules.rulebook.faults import FaultReport, nearest_word
from services.rules.rulebook.field_validation import is_code_of_key, name_for_code
from services.rules.rulebook.model import Location, Rulebook, answers_of, questions_of
from services.rules.rulebook.rule_folder import FORM, RULE, TEMPLATE
from services.rules.rulebook.validation import Validation, names_of_addressees
from services.rules.rulebook.validation_context import known_roles, names_missing_form
from services.rules.rulebook.yaml_nodes import Faulty, MappingNode, Node, ScalarNode, SequenceNode
from services.rules.scenario.story_file import (
    EventStep,
    ExpectedEffect,
    ExpectStep,
    FactsStep,
    FailureStep,
    FileStep,
    ReadStep,
    Reply,
    ReplyStep,
    Story,
    StoryStep,
    UnplayableStep,
    WaitStep,
    WaitUntilStep,
)
from services.rules.scenario.story_world import StoryPeople, event_data, golden_data, known_facts, refuse_fact
from shared.contracts import consonance
from shared.contracts.ids import ContactId
from shared.contracts.values import Value
from shared.contracts.writes import WriteInput, WriteOperation

_INPUTS = {model.operation: model for model in get_args(WriteInput)}


class StoryValidation:
    """Checks stories against the rules they play. A name is looked up where all files that declare such names are
    without faults.
    """

    def __init__(self, validation: Validation, report: FaultReport) -> None:
        self._book = validation.rulebook
        self._report = report
        self.lines: list[tuple[str, Location]] = []
        """The numbers that are named, each with its place."""
        self._unread_rules = validation.unread_rules
        self._is_of_no_rule = False
        """Whether the rule of the story that is being checked is not there, so that what it says is not known."""
        self._templates = validation.rulebook.templates.keys() | validation.unread_templates
        self._faulty = {
            suffix
            for fault in validation.faults
            for suffix in (RULE, TEMPLATE, FORM)
            if fault.location.file.endswith(suffix)
        }
        if validation.unread_rules:
            self._faulty.add(RULE)
        if self._templates.isdisjoint(BUILT_IN_TEMPLATES):
            self._faulty.add(TEMPLATE)
        if names_missing_form(validation.rulebook, validation.rulebook.forms):
            self._faulty.add(FORM)

    def check(self, story: Story) -> None:
        self._is_of_no_rule = story.rule not in self._book.rules
        named = _contacts_of_events(story)
        for contact, person in story.people.items():
            for absent in person.stands_in_for:
                self._check_contact(story, absent, person.value_location("stands_in_for"), named | {contact})
        earliest = story.start
        for step in story.steps:
            self._check_step(story, step, named)
            earliest = self._check_time(step, earliest)

    def _check_step(self, story: Story, step: StoryStep, named: frozenset[ContactId]) -> None:
        match step:
            case EventStep():
                self._check_event(step)
            case FactsStep():
                self._check_facts(step, story.start)
            case ReplyStep(reply=reply):
                self._check_reply(reply)
            case ExpectStep():
                self.lines += [(each.line, each.value_location("line")) for each in step.effects if each.line]
                for effect in step.effects:
                    self._check_effect(story, effect, named)
            case _:
                pass
        if (acting := _acting_person(step)) is not None:
            self._check_contact(story, *acting)

    # -------------------------------------------------------------- people and times

    def _check_contact(
        self, story: Story, contact: ContactId, location: Location, named: frozenset[ContactId] = frozenset()
    ) -> None:
        """The contact is among the people of the story, or among those whom its events name."""
        people = story.written.get("people")
        if not isinstance(people, MappingNode) or any(map(self._report.has_fault_on, people.places)):
            return  # the people could not be read, which is reported
        if any(map(str.isdecimal, story.written)):
            return  # a person stands beside the people, which is reported
        if contact and contact not in story.people and contact not in named:
            known = map(str, story.people)
            self._report.unknown(location, f"{contact} is not among the people of this story", str(contact), known)

    def _check_time(self, step: StoryStep, earliest: datetime) -> datetime:
        """The earliest time at which the next step can begin; working time passes by a calendar and counts as none."""
        match step:
            case WaitStep(wait=wait):
                return earliest + (wait.fixed_length or _NO_TIME)
            case WaitUntilStep(instant=instant) if instant < earliest:
                location = step.value_location("wait until")
                if not self._report.has_fault_on(location):  # else it could not be read
                    self._report.add(location, f"this is in the past: it is {earliest:%Y-%m-%dT%H:%M:%SZ} already")
                return earliest
            case WaitUntilStep(instant=instant):
                return max(instant, earliest)
            case _:
                return earliest

    # -------------------------------------------------------------- what happens

    def _check_event(self, step: EventStep) -> None:
        kind = consonance.KINDS.get(consonance.kind_of(step.event))
        values = step.written.get("with")
        if kind is None or not isinstance(values, MappingNode):
            return
        before, known = len(self._report.faults), _fields_of(kind)
        odd = [(path, place) for path, place, _ in _paths_of(values) if _is_unknown(path, known)]
        if len(odd) > 1 and not any(nearest_word(path, known) for path, _ in odd):
            names = ", ".join(f"“{path}”" for path, _ in odd)
            self._report.add(odd[0][1], f"{step.event} has none of {names}; they are fields of another event")
            return
        self._check_values(values, known, f"{step.event} has no")
        if len(self._report.faults) == before:
            self._try_event(step, values)

    def _try_event(self, step: EventStep, values: MappingNode) -> None:
        """Reports values that no event can have, at the key of the wrong value where it is one alone."""
        no_people = StoryPeople(self._book, {}, {}, ())
        try:
            event_data(step.event, step.values, no_people)
        except UnplayableStep as error:
            self._report.add(_first_unplayable(step, values, no_people) or step.location, str(error))
        except (ValueError, TypeError, ArithmeticError, LookupError) as error:
            self._report.add(step.location, f"there is no such event: {error}")

    def _check_facts(self, step: FactsStep, now: datetime) -> None:
        values = step.written.get("facts")
        known = known_facts()
        for (path, node), place in _entries(values) if isinstance(values, MappingNode) else ():
            if path not in known:
                self._report.unknown(place, f"“{path}” is no fact that a story can set", path, known)
            elif _is_none_of(node, known[path]):
                sentence = f"“{path}” is never “{node.text}”"
                self._report.unknown(node.location, sentence, node.text, known[path], listed=True)
            elif isinstance(node, ScalarNode) and is_code_of_key(node.text, known.get(f"{path}_key", ())):
                self._report.add(place, name_for_code(path, node.text))
            else:
                self._try_fact(path, step.facts[path], node, place, now)

    def _try_fact(self, path: str, value: object, node: Node, place: Location, now: datetime) -> None:
        try:
            refuse_fact(path, value, self._book, now)
        except UnplayableStep as error:
            self._report.add(node.location if isinstance(node, ScalarNode) else place, str(error))

    def _check_reply(self, reply: Reply) -> None:
        self._check_template(reply.to, reply.value_location("to"))
        self._check_rule(reply)
        lines = self._book.tenant.lines
        if reply.line:
            self.lines.append((reply.line, reply.value_location("line")))
        if reply.line and lines and reply.line not in lines:
            sentence = f"house.yaml lists no line “{reply.line}”"
            self._report.unknown(reply.value_location("line"), sentence, reply.line, lines)
        if reply.button is None or TEMPLATE in self._faulty or FORM in self._faulty:
            return
        known = self._buttons if reply.to is None else self._buttons_of(reply.to)
        if reply.button and reply.button not in known:
            of = f"the template “{reply.to}”" if reply.to is not None else "no template"
            sentence = f"{of} has {'no' if reply.to is not None else 'a'} button “{reply.button}”"
            self._report.unknown(reply.value_location("button"), sentence, reply.button, known)

    def _check_rule(self, reply: Reply) -> None:
        name = reply.rule
        if name and name not in self._book.rules and name not in self._unread_rules:
            sentence = f"there is no rule “{name}”"
            self._report.unknown(reply.value_location("rule"), sentence, name, self._book.rules)

    # -------------------------------------------------------------- what is expected

    def _check_effect(self, story: Story, effect: ExpectedEffect, named: frozenset[ContactId]) -> None:
        for key in effect.written:
            if key in _KEYS_OF_CONTACTS:
                for contact in _contacts(getattr(effect, _KEYS_OF_CONTACTS[key])):
                    self._check_contact(story, contact, effect.value_location(key), named)
            elif key == "say":
                self._check_template(effect.template, effect.value_location(key))
            elif key == "language":
                self._check_language(effect)
            elif key == "left_out":
                self._check_left_out(story, effect, named)
            elif key == "with":
                self._check_write(effect)

    def _check_template(self, name: str | None, location: Location) -> None:
        if not name or name in self._sent_templates:
            return
        if name not in self._templates:
            if not (FORM in self._faulty and "." in name):
                known = self._templates | self._sent_templates
                self._report.unknown(location, f"there is no template “{name}”", name, known)
        elif not self._faulty & {RULE, FORM} and not self._is_of_no_rule:
            self._report.repeated(location, f"no rule says “{name}”, so it is never sent")

    def _check_language(self, effect: ExpectedEffect) -> None:
        if TEMPLATE in self._faulty or not effect.language:
            return
        template = self._book.templates.get(effect.template or "")
        if template is None:
            known = {language for each in self._book.templates.values() for language in each.languages}
            if not effect.template and effect.language not in known:
                sentence = f"no template has a text in “{effect.language}”"
                self._report.unknown(effect.value_location("language"), sentence, effect.language, known, listed=True)
        elif effect.language not in template.languages:
            sentence = f"the template “{template.name}” has no text in “{effect.language}”"
            languages = template.languages
            self._report.unknown(effect.value_location("language"), sentence, effect.language, languages, listed=True)

    def _check_left_out(self, story: Story, effect: ExpectedEffect, named: frozenset[ContactId]) -> None:
        node = effect.written["left_out"]
        if not isinstance(node, MappingNode):
            return
        for (name, reason), place in _entries(node):
            if name.isdecimal():
                self._check_contact(story, ContactId(int(name)), place, named)
            elif name not in self._addressees and RULE not in self._faulty:
                self._report.unknown(place, f"there is no role “{name}”", name, self._addressees)
            if isinstance(reason, ScalarNode) and reason.text and reason.text not in _REASONS:
                sentence = f"“{reason.text}” is no reason to leave a person out"
                self._report.unknown(reason.location, sentence, reason.text, _REASONS)

    def _check_write(self, effect: ExpectedEffect) -> None:
        node = effect.written["with"]
        written = effect.written.get("record")
        is_known = isinstance(written, ScalarNode) and written.text == effect.record
        if effect.record is None or not isinstance(node, MappingNode) or not is_known:
            return
        known = dict(_fields_of(_INPUTS[effect.record]))
        if effect.record is WriteOperation.CREATE_ACQUISITION:
            if FORM in self._faulty:
                return
            known |= self._answers_of_forms
        self._check_values(node, known, f"{effect.record} has no")

    # -------------------------------------------------------------- fields and their values

    def _check_values(self, values: MappingNode, known: Mapping[str, FieldSpec], sentence: str) -> None:
        for path, place, node in _paths_of(values):
            spec = known.get(path)
            if _is_unknown(path, known):
                self._report.unknown(place, f"{sentence} “{path}”", path, known)
            elif spec is not None and _is_none_of(node, spec.values):
                self._report.unknown(
                    node.location, f"“{path}” is never “{node.text}”", node.text, spec.values, listed=True
                )

    # -------------------------------------------------------------- names

    @cached_property
    def _sent_templates(self) -> frozenset[str]:
        """The templates that the rules and the service itself use, and the questions of forms."""
        forms = self._book.forms.values()
        questions = (f"{form.name}.{field.name}" for form in forms for field in form.fields)
        own = (name for form in forms for name in (form.welcome, form.confirm, form.done))
        of_rules = filter(None, _templates_of_rules(self._book))
        return frozenset({*BUILT_IN_TEMPLATES, *TYPED_FIELDS.values(), *questions, *own, *of_rules})

    @cached_property
    def _buttons(self) -> frozenset[str]:
        return frozenset(
            name
            for template in self._book.templates.values()
            for text in template.languages.values()
            for name in text.buttons
        ).union(self._buttons_of_forms, self._answers)

    @cached_property
    def _answers_of_forms(self) -> Mapping[str, FieldSpec]:
        """The fields of all forms, with their options."""
        found: dict[str, FieldSpec] = {}
        for field in (field for form in self._book.forms.values() for field in form.fields):
            known = found.get(field.name)
            is_free = not field.choose or (known is not None and not known.values)
            options = () if is_free else (*(known.values if known is not None else ()), *field.choose)
            found[field.name] = FieldSpec(field.name, FieldType.TEXT, values=options)
        return found

    @cached_property
    def _answers(self) -> frozenset[str]:
        """One that its template has not is reported in the rule."""
        rules = self._book.rules.values()
        return frozenset(answer.name for rule in rules for step in rule.steps for answer in answers_of(step))

    @cached_property
    def _buttons_of_forms(self) -> frozenset[str]:
        options = (name for form in self._book.forms.values() for field in form.fields for name in field.choose)
        return frozenset({*options, *SUMMARY, STOP_ALL, SHOW})

    def _buttons_of(self, template: str) -> frozenset[str]:
        found = self._book.templates.get(template)
        if found is None:
            return self._buttons
        return frozenset(name for text in found.languages.values() for name in text.buttons) | self._buttons_of_forms

    @cached_property
    def _addressees(self) -> frozenset[str]:
        return known_roles(self._book) | names_of_addressees(self._book)


_KEYS_OF_CONTACTS = {
    **{key: key for key in ("tell", "ask", "remind", "collect", "hand_over", "withdraw")},
    "for": "on_behalf_of",
}
"""The keys of an effect that name contacts, and their fields."""
_NO_TIME = timedelta()
_REASONS = frozenset(map(str, ExclusionReason))


@cache
def _fields_of(model: type[Value]) -> Mapping[str, FieldSpec]:
    return {spec.path: spec for spec in fields_of_model(model)}


def _entries(node: MappingNode) -> Iterator[tuple[tuple[str, Node], Location]]:
    """Keys and values, each with the place of its key."""
    return zip(node.nodes.items(), node.places, strict=True)


def _is_unknown(path: str, known: Mapping[str, FieldSpec]) -> bool:
    return path not in known and not _is_within_record(path, known)


def _is_within_record(path: str, known: Mapping[str, FieldSpec]) -> bool:
    """Whether it is a part of a field whose parts have names of their own, which no contract knows."""
    above = path.rpartition(".")[0]
    if not above:
        return False
    spec = known.get(above)
    if spec is None:
        return _is_within_record(above, known)
    is_open = FieldType.RECORD in (spec.type, spec.item)
    return is_open and not any(other.startswith(f"{above}.") for other in known)


def _paths_of(values: MappingNode, above: str = "") -> Iterator[tuple[str, Location, Node]]:
    """Every value by its path without the indexes of lists, with the place of its key, and itself."""
    for (key, node), place in _entries(values):
        path = ".".join(part for part in f"{above}{key}".split(".") if not part.isdecimal())
        yield path, place, node
        for each in node.nodes if isinstance(node, SequenceNode) else (node,):
            if isinstance(each, MappingNode):
                yield from _paths_of(each, f"{path}.")


def _first_unplayable(step: EventStep, values: MappingNode, people: StoryPeople) -> Location | None:
    """The key whose value alone makes the event impossible."""
    for (path, node), place in _entries(values):
        try:
            event_data(step.event, {path: step.values[path]}, people)
        except UnplayableStep:
            return place if isinstance(node, MappingNode | SequenceNode) else node.location
    return None


@cache
def _contacts_of_example(event: str) -> frozenset[ContactId]:
    """The contacts of the golden event; a story's event has them unless the story names others."""
    kind = consonance.kind_of(event)
    return frozenset(_numbers(golden_data(kind))) if kind in consonance.KINDS else frozenset()


def _contacts_of_events(story: Story) -> frozenset[ContactId]:
    """Any number of an event may be a contact; one that is none only lets a wrong contact pass until it is played."""
    events = [step for step in story.steps if isinstance(step, EventStep)]
    return frozenset(
        number for step in events for number in (*_numbers(step.values), *_contacts_of_example(step.event))
    )


def _numbers(value: object) -> Iterator[ContactId]:
    match value:
        case bool():
            pass
        case int():
            yield ContactId(value)
        case Mapping():
            for each in value.values():
                yield from _numbers(each)
        case list() | tuple():
            for each in value:
                yield from _numbers(each)
        case _:
            pass


def _acting_person(step: StoryStep) -> tuple[ContactId, Location] | None:
    """The person who writes or reads, or whose message or file it is."""
    match step:
        case ReplyStep(reply=reply):
            return reply.sender, reply.value_location("from")
        case FileStep(file=file):
            return file.sender, file.value_location("from")
        case ReadStep():
            return step.person, step.value_location("read")
        case FailureStep(failed=failed):
            return failed.to, failed.value_location("to")
        case _:
            return None


def _contacts(found: ContactId | tuple[ContactId, ...] | None) -> tuple[ContactId, ...]:
    return found if isinstance(found, tuple) else () if found is None else (found,)


def _is_none_of(node: Node, values: tuple[str, ...]) -> TypeGuard[ScalarNode]:
    """Whether a closed set of words has not the one that is written."""
    is_word = isinstance(node, ScalarNode) and bool(node.text) and not isinstance(node.value, Faulty)
    return bool(values) and is_word and isinstance(node, ScalarNode) and node.text not in values


def _templates_of_rules(book: Rulebook) -> Iterator[str | None]:
    for rule in book.rules.values():
        yield from (until.tell.say for until in rule.until if until.tell is not None)
        for step in rule.steps:
            yield from (step.say, step.tell.say if step.tell is not None else None)
            yield from (question.say for question in questions_of(step))
            for answer in answers_of(step):
                yield answer.tell.say if answer.tell is not None else None
                yield answer.hand_over.say if answer.hand_over is not None else None
