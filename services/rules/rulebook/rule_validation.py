"""Checks of one rule: its events, subject, conditions, people, steps, writes, and the events that end it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.rules.rulebook.attachments import check_attachments
from services.rules.rulebook.built_in import RESERVED_PREFIX
from services.rules.rulebook.catalogue import (
    CHAIN,
    EVENTS,
    MESSAGE_RECEIVED,
    STAFF_ROLES,
    FieldSpec,
    FieldType,
    party_fields,
    resolve,
)
from services.rules.rulebook.contradictions import check_contradictions, check_never_done, check_order
from services.rules.rulebook.faults import nearest_word
from services.rules.rulebook.field_validation import (
    FieldScope,
    ValidationContext,
    check_condition,
    check_literal,
    present_if,
    present_unless,
    staffed_roles,
)
from services.rules.rulebook.model import (
    Addressees,
    AnswerAction,
    At,
    Field,
    Literal,
    Location,
    OnRepeat,
    Question,
    Quorum,
    Rule,
    Severity,
    Step,
    Team,
    Until,
    Verb,
    WriteAction,
)
from services.rules.rulebook.periods import PERIODS
from services.rules.rulebook.template_validation import check_languages, check_use, uses_of
from services.rules.rulebook.times import WHOLE_DAYS
from shared.clients.whatsapp_limits import BUTTONS
from shared.contracts.consonance import RightsStatus
from shared.contracts.vocabulary import Role
from shared.contracts.writes import AcknowledgementKind, RightsDecision, WriteOperation

_SENDER, _UNANSWERED, _TOLD, _AWAITED = "sender", "unanswered", "told", "awaited"
_ANSWERING = frozenset({_SENDER, _UNANSWERED, _TOLD, _AWAITED})


# ------------------------------------------------------------------ people


def check_addressees(
    context: ValidationContext, rule: Rule, who: Addressees, *path: str | int, answered: bool = False
) -> None:
    """``answered``: a person tapped or wrote, so there is a sender whatever the event."""
    locations = context.locations(rule, len(who), *path)
    check_each_addressee(context, rule, who, locations, answered=answered)
    if not who:
        context.report.add(context.location(rule, *path), "this names nobody")


def check_each_addressee(
    context: ValidationContext, rule: Rule, who: Addressees, locations: Sequence[Location], *, answered: bool = False
) -> None:
    for name, location in zip(who, locations, strict=True):
        if isinstance(name, Team):
            check_team(context, name.name, location)
        elif name == _SENDER:
            _check_sender(context, rule, location, answered=answered)
        elif name == _AWAITED and not (rule.listing and rule.listing.each):
            context.report.add(location, "“awaited” is the person of “list: {each: person}”, which this rule lacks")
        elif name not in _ANSWERING and name:
            _check_name(context, rule, name, location)


def check_team(context: ValidationContext, team: str, location: Location) -> None:
    teams = context.book.people.teams
    if team and team not in teams and context.reads("people.yaml"):
        context.report.unknown(location, f"people.yaml has no team “{team}”", team, teams)


def _check_sender(context: ValidationContext, rule: Rule, location: Location, *, answered: bool) -> None:
    if not answered and set(rule.events) != {MESSAGE_RECEIVED}:
        context.report.add(location, f"nobody wrote, so there is no sender: {' or '.join(rule.events)} is no message")


def _check_name(context: ValidationContext, rule: Rule, name: str, location: Location) -> None:
    parties = frozenset(party for event in rule.events for party in party_fields(event))
    known = parties | context.roles() | _ANSWERING
    several = name.replace(",", " ").split()
    if len(several) > 1 and known.issuperset(several):
        context.report.add(location, f"several people stand in brackets: [{', '.join(several)}]")
        return
    if name not in known and context.reads("people.yaml"):
        context.report.unknown(location, f"“{name}” is no role, party of the event, or team member", name, known)
    elif name in STAFF_ROLES - parties - staffed_roles(context.book) and not _comes_with_event(rule, name):
        if context.reads("people.yaml") and not _is_misspelt_in_people(context, name):
            context.report.repeated(location, f"nobody fills “{name}”: no team of people.yaml has it")
    elif name in set(Role) - STAFF_ROLES - parties - staffed_roles(context.book):
        _check_basis(context, name, location)


def _is_misspelt_in_people(context: ValidationContext, name: str) -> bool:
    """A team has a role that is nearly this one, which is reported there."""
    given = staffed_roles(context.book) - set(Role)
    return any(nearest_word(role, map(str, Role)) == name for role in given)


def _check_basis(context: ValidationContext, name: str, location: Location) -> None:
    """People outside the house may be written to for a reason that house.yaml gives their role."""
    basis = context.book.tenant.basis
    if not context.reads("house.yaml") or name in basis or nearest_word(name, basis.keys() - set(Role)) is not None:
        return
    sentence = f"house.yaml has no reason to write to “{name}”; add one under “basis”, like {name}: contract"
    context.report.repeated(location, sentence)


def _comes_with_event(rule: Rule, name: str) -> bool:
    """Escalation contacts may come with the event that asks for them."""
    return name.startswith("escalation") and any("escalation" in party_fields(event) for event in rule.events)


# ------------------------------------------------------------------ writes


@dataclass(frozen=True, slots=True)
class OperationInput:
    """``events`` carry ``fields``; ``needs`` and ``takes`` are the required and optional keys of ``with``."""

    fields: tuple[str, ...] = ()
    needs: Mapping[str, FieldSpec] = field(default_factory=dict)
    takes: Mapping[str, FieldSpec] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def allowed(self) -> Mapping[str, FieldSpec]:
        return {**self.needs, **self.takes}


def _text(name: str, *values: str) -> dict[str, FieldSpec]:
    return {name: FieldSpec(name, FieldType.TEXT, values=tuple(map(str, values)))}


OPERATION_INPUTS: Mapping[WriteOperation, OperationInput] = {
    WriteOperation.RECORD_DECISION: OperationInput(
        ("request_id", "rights_record_id", "terms_hash"), _text("decision", *RightsDecision), _text("note")
    ),
    WriteOperation.ADVANCE_WORKFLOW: OperationInput(
        ("request_id", "rights_record_id"), _text("to_stage", *RightsStatus)
    ),
    WriteOperation.APPLY_METADATA: OperationInput(("items",)),
    WriteOperation.APPEND_ACQUISITION: OperationInput(needs=_text("reference"), events=(MESSAGE_RECEIVED,)),
    WriteOperation.RECORD_ACKNOWLEDGEMENT: OperationInput(("document",), _text("kind", *AcknowledgementKind)),
    WriteOperation.COMPLETE_MILESTONE: OperationInput(("milestone_id",)),
}


def check_write(
    context: ValidationContext, rule: Rule, record: WriteAction, scope: FieldScope, path: tuple[str | int, ...]
) -> None:
    """``path`` leads to the mapping with the key ``record``."""
    location = context.location(rule, *path, "record")
    known = OPERATION_INPUTS.get(record.operation)
    if known is None:
        context.report.add(location, f"“{record.operation}” is what a form records; a step or an answer cannot")
        return
    _check_event(context, rule, record, known, location)
    for name in known.needs.keys() - record.values.keys():
        context.report.add(location, f"“{record.operation}” needs “with: {{{name}: …}}”")
    for name, value in record.values.items():
        if name in known.allowed:
            _check_value(known.allowed[name], value, context.location(rule, *path, "with", name), scope)
        else:
            where = context.loaded.key_location(rule.location.file, *path, "with", name)
            context.report.unknown(where, f"“{record.operation}” takes no “{name}”", name, known.allowed)


def _check_event(
    context: ValidationContext, rule: Rule, record: WriteAction, known: OperationInput, location: Location
) -> None:
    for event in rule.events:
        lacks = [name for name in known.fields if resolve((event,), name) is None]
        if lacks or (known.events and event not in known.events):
            reason = f"it needs {', '.join(lacks)}" if lacks else f"it belongs to {', '.join(known.events)}"
            context.report.add(location, f"“{record.operation}” cannot follow {event}: {reason}")


def _check_value(spec: FieldSpec, value: Literal | Field, location: Location, scope: FieldScope) -> None:
    if isinstance(value, Field):
        scope.require(value.name, value.location, "a write leans on it")
    else:
        check_literal(value, spec.type, spec, location, scope.report)


# ------------------------------------------------------------------ steps

_LAST = frozenset({Verb.GIVE_UP, Verb.HAND_OVER, Verb.TELL, Verb.RECORD})
_ASKING = frozenset({Verb.ASK, Verb.COLLECT})


def check_steps(context: ValidationContext, rule: Rule) -> None:
    for step in rule.steps:
        _check_step(context, rule, step)
    check_order(rule, context.report)
    check_never_done(rule, context.report)
    if rule.steps and rule.steps[-1].verb not in _LAST:
        last = rule.steps[-1]
        context.report.add(
            last.location, f"the last step is “{last.verb}”; a rule ends with {', '.join(sorted(_LAST))}"
        )


def _check_step(context: ValidationContext, rule: Rule, step: Step) -> None:
    before = [each for each in rule.steps if each.index < step.index]
    if any(each.verb is Verb.GIVE_UP for each in before):
        context.report.add(step.location, "nothing comes after “give_up”")
    if step.verb is Verb.REMIND and not any(each.verb in _ASKING for each in before):
        context.report.add(step.location, "there is nothing to remind of: no question and no form comes before")
    scope = FieldScope(rule.events, context.report, present=present_if(rule.condition) | present_unless(step.unless))
    check_condition(step.unless, scope)
    check_contradictions(step.unless, context.report)
    _check_people(context, rule, step)
    _check_time(context, rule, step, scope)
    _check_form(context, step.form, context.location(rule, "steps", step.index, "form"))
    _check_answers(context, rule, step, scope)
    if step.record is not None:
        _check_writes(context, rule, step.record, scope, ("steps", step.index))


def _check_people(context: ValidationContext, rule: Rule, step: Step) -> None:
    if step.verb not in (Verb.RECORD, Verb.GIVE_UP):
        check_addressees(context, rule, step.who, "steps", step.index, step.verb)
    if step.tell is not None:
        check_addressees(context, rule, step.tell.who, "steps", step.index, "tell")
    _check_copies(context, rule, step)


def _check_copies(context: ValidationContext, rule: Rule, step: Step) -> None:
    """Copies go to members of staff, by team or by a role of people.yaml."""
    locations = context.locations(rule, len(step.cc), "steps", step.index, "cc")
    staff = STAFF_ROLES | staffed_roles(context.book)
    outside = context.roles() | {party for event in rule.events for party in party_fields(event)} | _ANSWERING
    for name, location in zip(step.cc, locations, strict=True):
        if isinstance(name, str) and name in outside - staff:
            sentence = f"copies are for members of staff, and “{name}” may be somebody outside the house"
            context.report.add(location, sentence)
        else:
            check_each_addressee(context, rule, (name,), (location,))


def _check_time(context: ValidationContext, rule: Rule, step: Step, scope: FieldScope) -> None:
    if not isinstance(step.timing, At):
        return
    location = context.location(rule, "steps", step.index, "at")
    found = scope.require(step.timing.field, location, "a step is timed by it")
    if found is None:
        return
    if found.type not in (FieldType.DATE, FieldType.INSTANT):
        context.report.add(location, f"“{found.path}” is no date and no instant")
    elif found.type is FieldType.DATE and step.timing.duration and step.timing.duration.unit not in WHOLE_DAYS:
        context.report.add(location, f"“{found.path}” is a date; count days or working days from it")


def _check_form(context: ValidationContext, form: str | None, location: Location) -> None:
    if form and form not in context.forms():
        context.report.unknown(location, f"there is no form “{form}”", form, context.forms())


def _check_answers(context: ValidationContext, rule: Rule, step: Step, scope: FieldScope) -> None:
    if step.verb is Verb.ASK:
        question = Question(step.who, step.say or "", step.answers)
        _check_question(context, rule, question, scope, ("steps", step.index), depth=1)


def _check_question(
    context: ValidationContext,
    rule: Rule,
    question: Question,
    scope: FieldScope,
    path: tuple[str | int, ...],
    *,
    depth: int,
) -> None:
    """``path`` leads to the mapping with the key ``ask``."""
    location = context.location(rule, *path, "answers")
    if not question.answers:
        context.report.add(location, "a question has at least one answer")
    if len(question.answers) > BUTTONS:
        context.report.add(location, f"a question has at most {BUTTONS} answers, one for each button")
    _check_vetoes(context, rule, question, (*path, "answers"))
    for answer in question.answers.values():
        inner = (*path, "answers", answer.name)
        _check_answer(context, rule, answer, scope, inner)
        if answer.ask is None:
            continue
        check_addressees(context, rule, answer.ask.who, *inner, "ask", answered=True)
        if depth == MOST_QUESTIONS:
            sentence = f"at most {MOST_QUESTIONS} questions follow one another by their answers; make this a step"
            context.report.add(context.location(rule, *inner, "ask"), sentence)
        else:
            _check_question(context, rule, answer.ask, scope, inner, depth=depth + 1)


MOST_QUESTIONS = 3
"""How many questions may follow one another by their answers."""


def _check_vetoes(context: ValidationContext, rule: Rule, question: Question, path: tuple[str | int, ...]) -> None:
    """A veto overrules people who must agree, so another answer needs them to."""
    if any(answer.quorum is not Quorum.FIRST for answer in question.answers.values()):
        return
    for answer in question.answers.values():
        if answer.veto:
            sentence = (
                "the first answer decides here anyway, so there is nothing to veto; give another answer a “quorum”"
            )
            context.report.add(context.location(rule, *path, answer.name, "veto"), sentence)


def _check_answer(
    context: ValidationContext, rule: Rule, answer: AnswerAction, scope: FieldScope, path: tuple[str | int, ...]
) -> None:
    if answer.tell is not None:
        check_addressees(context, rule, answer.tell.who, *path, "tell", answered=True)
    if answer.hand_over is not None:
        check_addressees(context, rule, answer.hand_over.who, *path, "hand_over", answered=True)
    if answer.record is not None:
        _check_writes(context, rule, answer.record, scope, path)
    if isinstance(answer.quorum, Field):
        _check_quorum_field(answer.quorum, scope)
    _check_form(context, answer.form, context.location(rule, *path, "form"))


def _check_quorum_field(named: Field, scope: FieldScope) -> None:
    """The field has the words of a quorum, or the number of people."""
    found = scope.events and resolve(scope.events, named.name)
    if found and found.type is FieldType.NUMBER:
        scope.require(named.name, named.location, "the rule leans on it")
    else:
        check_choice(named, tuple(Quorum), scope)


def check_choice(named: Field, words: tuple[str, ...], scope: FieldScope) -> None:
    """A field that is used for one of these words must have no other values."""
    found = scope.require(named.name, named.location, "the rule leans on it")
    if found is not None and not (found.values and set(found.values) <= set(words)):
        scope.report.add(named.location, f"“{found.path}” is not one of {', '.join(words)}")


def _check_writes(
    context: ValidationContext, rule: Rule, record: WriteAction, scope: FieldScope, path: tuple[str | int, ...]
) -> None:
    check_write(context, rule, record, scope, path)
    check_condition(record.unless, scope)
    if record.then is not None:
        _check_writes(context, rule, record.then, scope, (*path, "then"))


# ------------------------------------------------------------------ joining

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
    if isinstance(name, Team) or name in (_UNANSWERED, _TOLD):
        return
    if name == _SENDER:
        if set(rule.events) == {MESSAGE_RECEIVED} and not _is_about(rule, "sender"):
            context.report.add(location, _of_another("sender", "sender.person_id"))
    elif any(name in party_fields(event) for event in rule.events):
        if not _is_about(rule, name):
            context.report.add(location, _of_another(name, f"{name}.person_id"))
    elif name not in staffed_roles(context.book) and not _is_about(rule, "work"):
        context.report.add(location, _of_another(name, "work.work_id"))


def _is_about(rule: Rule, party: str) -> bool:
    return any(field.partition(".")[0] == party for field in rule.about)


def _of_another(name: str, field: str) -> str:
    return f"the events that join may each have another “{name}”; name “{field}” in “about”"


# ------------------------------------------------------------------ the rule

_WHOLE = frozenset({FieldType.PARTY, FieldType.RECORD, FieldType.LIST})


def check_rule(context: ValidationContext, rule: Rule) -> None:
    if rule.name.startswith(RESERVED_PREFIX):
        context.report.add(
            context.location(rule, "rule"), f"names that begin with “{RESERVED_PREFIX}” are the house's own"
        )
    check_team(context, rule.owner, context.location(rule, "owner"))
    check_languages(context, rule.why, context.location(rule, "why"), "“why”")
    if not _check_events(context, rule):
        return
    _check_listing(context, rule)
    scope = FieldScope(rule.events, context.report, present=present_if(rule.condition))
    check_condition(rule.condition, scope)
    check_contradictions(rule.condition, context.report)
    for name in rule.about:
        _check_subject(scope, name, context.location(rule, "about"))
    if isinstance(rule.severity, Field):
        check_choice(rule.severity, tuple(Severity), scope)
    check_steps(context, rule)
    if rule.on_repeat is OnRepeat.JOIN:
        check_joining(context, rule)
    check_attachments(context, rule)
    for until in rule.until:
        _check_until(context, rule, until)
    for use in uses_of(context, rule):
        check_use(context, use)


def _check_events(context: ValidationContext, rule: Rule) -> bool:
    """False where an event is unknown: every field would be unknown too."""
    location = context.location(rule, "on")
    for event in rule.events:
        if event and event not in EVENTS:
            context.report.unknown(location, f"there is no event “{event}”", event, EVENTS)
        elif event in PERIODS and rule.every is None:
            sentence = f"“{event}” is the event of recurring rules; write “every: monday at 09:00” instead of “on”"
            context.report.add(location, sentence)
    return bool(rule.events) and all(event in EVENTS for event in rule.events)


def _check_listing(context: ValidationContext, rule: Rule) -> None:
    if (listing := rule.listing) is None:
        return
    locations = context.locations(rule, len(listing.waits_for), "list", "waits_for")
    for name, location in zip(listing.waits_for, locations, strict=True):
        if isinstance(name, Team):
            check_team(context, name.name, location)
        elif name and name not in context.roles():
            context.report.unknown(location, f"there is no role “{name}”", name, context.roles())
    named = zip(listing.rules, context.locations(rule, len(listing.rules), "list", "rules"), strict=True)
    for other, location in named:
        if other and other not in context.book.rules:
            context.report.unknown(location, f"there is no rule “{other}” to list", other, context.book.rules)


def _check_subject(scope: FieldScope, name: str, location: Location) -> None:
    found = scope.require(name, location, "a chain is about it")
    if found is not None and found.type in _WHOLE:
        scope.report.add(location, f"“{name}” is a {found.type} and names no subject; name a field of it")


def _check_until(context: ValidationContext, rule: Rule, until: Until) -> None:
    endings = EVENTS.keys() - {MESSAGE_RECEIVED, *PERIODS}
    if until.event not in endings:
        context.report.unknown(until.location, f"no event “{until.event}” ends a chain", until.event, endings)
        return
    check_contradictions(until.condition, context.report)
    check_condition(until.condition, FieldScope((until.event,), context.report, started_by=rule.events))
    if until.tell is not None:
        check_each_addressee(context, rule, until.tell.who, (until.location,) * len(until.tell.who))
    _check_same(context, rule, until)


def _check_same(context: ValidationContext, rule: Rule, until: Until) -> None:
    """Both events must have the fields that name the subject."""
    if until.same is not None:
        for event in (*rule.events, until.event):
            FieldScope((event,), context.report).find(until.same, until.location)
        return
    if not rule.about:
        context.report.add(
            until.location, "a rule without “about” has no subject that an event could end; say “same: …”"
        )
    for name in rule.about:
        if name.partition(".")[0] != CHAIN and resolve((until.event,), name) is None:
            sentence = f"{until.event} has no “{name}”, so it would end nothing; say “same: …” with a field both have"
            context.report.add(until.location, sentence)
