"""Checks of one rule: its events, subject, conditions, people, steps, writes, and the events that end it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
    Quorum,
    Rule,
    Severity,
    Step,
    Team,
    Until,
    Verb,
    WriteAction,
)
from services.rules.rulebook.template_validation import check_languages, check_use, uses_of
from shared.clients.whatsapp_limits import BUTTONS
from shared.clients.working_calendar import TimeUnit
from shared.contracts.consonance import RightsStatus
from shared.contracts.writes import AcknowledgementKind, RightsDecision, WriteOperation

_SENDER, _UNANSWERED, _TOLD = "sender", "unanswered", "told"
_ANSWERING = frozenset({_SENDER, _UNANSWERED, _TOLD})


def check_who(scope: ValidationContext, rule: Rule, who: Addressees, *path: str | int, answered: bool = False) -> None:
    """``answered``: somebody tapped or wrote, so there is a sender whatever the event."""
    locations = scope.locations(rule, len(who), *path)
    check_names(scope, rule, who, locations, answered=answered)
    if not who:
        scope.report.add(scope.location(rule, *path), "this names nobody")


def check_names(
    scope: ValidationContext, rule: Rule, who: Addressees, locations: Sequence[Location], *, answered: bool = False
) -> None:
    for name, location in zip(who, locations, strict=True):
        if isinstance(name, Team):
            check_team(scope, name.name, location)
        elif name == _SENDER:
            _check_sender(scope, rule, location, answered=answered)
        elif name not in _ANSWERING and name:
            _check_name(scope, rule, name, location)


def check_team(scope: ValidationContext, team: str, location: Location) -> None:
    teams = scope.book.people.teams
    if team and team not in teams:
        scope.report.unknown(location, f"people.yaml has no team “{team}”", team, teams)


def _check_sender(scope: ValidationContext, rule: Rule, location: Location, *, answered: bool) -> None:
    if not answered and set(rule.events) != {MESSAGE_RECEIVED}:
        scope.report.add(location, f"nobody wrote, so there is no sender: {' or '.join(rule.events)} is no message")


def _check_name(scope: ValidationContext, rule: Rule, name: str, location: Location) -> None:
    parties = frozenset(party for event in rule.events for party in party_fields(event))
    known = parties | scope.roles() | _ANSWERING
    if name not in known:
        scope.report.unknown(location, f"“{name}” is no role, party of the event, or team member", name, known)
    elif name in STAFF_ROLES - parties - staffed_roles(scope.book) and not _comes_with(rule, name):
        scope.report.add(location, f"nobody fills “{name}”: no team of people.yaml has it")


def _comes_with(rule: Rule, name: str) -> bool:
    """Escalation contacts may come with the event that asks for them."""
    return name.startswith("escalation") and any("escalation" in party_fields(event) for event in rule.events)


@dataclass(frozen=True, slots=True)
class _Input:
    """``events`` say ``fields``; ``needs`` and ``takes`` are the keys of ``with``, needed and optional."""

    fields: tuple[str, ...] = ()
    needs: Mapping[str, FieldSpec] = field(default_factory=dict)
    takes: Mapping[str, FieldSpec] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def allowed(self) -> Mapping[str, FieldSpec]:
        return {**self.needs, **self.takes}


def _text(name: str, *values: str) -> dict[str, FieldSpec]:
    return {name: FieldSpec(name, FieldType.TEXT, values=tuple(map(str, values)))}


_INPUTS: Mapping[WriteOperation, _Input] = {
    WriteOperation.RECORD_DECISION: _Input(
        ("request_id", "rights_record_id", "terms_hash"), _text("decision", *RightsDecision), _text("note")
    ),
    WriteOperation.ADVANCE_WORKFLOW: _Input(("request_id", "rights_record_id"), _text("to_stage", *RightsStatus)),
    WriteOperation.APPLY_METADATA: _Input(("items",)),
    WriteOperation.APPEND_ACQUISITION: _Input(needs=_text("reference"), events=(MESSAGE_RECEIVED,)),
    WriteOperation.RECORD_ACKNOWLEDGEMENT: _Input(("document",), _text("kind", *AcknowledgementKind)),
    WriteOperation.COMPLETE_MILESTONE: _Input(("milestone_id",)),
}


def check_record(
    scope: ValidationContext, rule: Rule, record: WriteAction, view: FieldScope, path: tuple[str | int, ...]
) -> None:
    """``path`` leads to what says ``record``."""
    location = scope.location(rule, *path, "record")
    known = _INPUTS.get(record.operation)
    if known is None:
        scope.report.add(location, f"“{record.operation}” is what a form records; a step or an answer cannot")
        return
    _check_event(scope, rule, record, known, location)
    for name in known.needs.keys() - record.values.keys():
        scope.report.add(location, f"“{record.operation}” needs “with: {{{name}: …}}”")
    for name, value in record.values.items():
        if name in known.allowed:
            _check_value(known.allowed[name], value, scope.location(rule, *path, "with", name), view)
        else:
            where = scope.loaded.key(rule.location.file, *path, "with", name)
            scope.report.unknown(where, f"“{record.operation}” takes no “{name}”", name, known.allowed)


def _check_event(scope: ValidationContext, rule: Rule, record: WriteAction, known: _Input, location: Location) -> None:
    for event in rule.events:
        lacks = [name for name in known.fields if resolve((event,), name) is None]
        if lacks or (known.events and event not in known.events):
            said = f"it needs {', '.join(lacks)}" if lacks else f"it belongs to {', '.join(known.events)}"
            scope.report.add(location, f"“{record.operation}” cannot follow {event}: {said}")


def _check_value(spec: FieldSpec, value: Literal | Field, location: Location, view: FieldScope) -> None:
    if isinstance(value, Field):
        view.lean_on(value.name, value.location, "a write leans on it")
    else:
        check_literal(value, spec.type, spec, location, view.report)


_LAST = frozenset({Verb.GIVE_UP, Verb.HAND_OVER, Verb.TELL, Verb.RECORD})
_ASKING = frozenset({Verb.ASK, Verb.COLLECT})
_DAYS = frozenset({TimeUnit.DAYS, TimeUnit.WORKING_DAYS})


def check_steps(scope: ValidationContext, rule: Rule) -> None:
    for step in rule.steps:
        _check_step(scope, rule, step)
    if rule.steps and rule.steps[-1].verb not in _LAST:
        last = rule.steps[-1]
        scope.report.add(last.location, f"the last step is “{last.verb}”; a rule ends with {', '.join(sorted(_LAST))}")


def _check_step(scope: ValidationContext, rule: Rule, step: Step) -> None:
    before = [each for each in rule.steps if each.index < step.index]
    if any(each.verb is Verb.GIVE_UP for each in before):
        scope.report.add(step.location, "nothing comes after “give_up”")
    if step.verb is Verb.REMIND and not any(each.verb in _ASKING for each in before):
        scope.report.add(step.location, "there is nothing to remind of: no question and no form comes before")
    view = FieldScope(rule.events, scope.report, sure=present_if(rule.condition) | present_unless(step.unless))
    check_condition(step.unless, view)
    _check_people(scope, rule, step)
    _check_time(scope, rule, step, view)
    _check_form(scope, step.form, scope.location(rule, "steps", step.index, "form"))
    _check_answers(scope, rule, step, view)
    if step.record is not None:
        _check_record(scope, rule, step.record, view, ("steps", step.index))


def _check_people(scope: ValidationContext, rule: Rule, step: Step) -> None:
    if step.verb not in (Verb.RECORD, Verb.GIVE_UP):
        check_who(scope, rule, step.who, "steps", step.index, step.verb)
    if step.tell is not None:
        check_who(scope, rule, step.tell.who, "steps", step.index, "tell")


def _check_time(scope: ValidationContext, rule: Rule, step: Step, view: FieldScope) -> None:
    if not isinstance(step.timing, At):
        return
    location = scope.location(rule, "steps", step.index, "at")
    found = view.lean_on(step.timing.field, location, "a step is timed by it")
    if found is None:
        return
    if found.type not in (FieldType.DATE, FieldType.INSTANT):
        scope.report.add(location, f"“{found.path}” is no date and no instant")
    elif found.type is FieldType.DATE and step.timing.duration and step.timing.duration.unit not in _DAYS:
        scope.report.add(location, f"“{found.path}” is a date; count days or working days from it")


def _check_form(scope: ValidationContext, form: str | None, location: Location) -> None:
    if form and form not in scope.forms():
        scope.report.unknown(location, f"there is no form “{form}”", form, scope.forms())


def _check_answers(scope: ValidationContext, rule: Rule, step: Step, view: FieldScope) -> None:
    location = scope.location(rule, "steps", step.index, "answers")
    if step.verb is Verb.ASK and not step.answers:
        scope.report.add(location, "a question has at least one answer")
    if len(step.answers) > BUTTONS:
        scope.report.add(location, f"a question has at most {BUTTONS} answers, one for each button")
    for answer in step.answers.values():
        _check_answer(scope, rule, answer, view, ("steps", step.index, "answers", answer.name))


def _check_answer(
    scope: ValidationContext, rule: Rule, answer: AnswerAction, view: FieldScope, path: tuple[str | int, ...]
) -> None:
    if answer.tell is not None:
        check_who(scope, rule, answer.tell.who, *path, "tell", answered=True)
    if answer.hand_over is not None:
        check_who(scope, rule, answer.hand_over.who, *path, "hand_over", answered=True)
    if answer.record is not None:
        _check_record(scope, rule, answer.record, view, path)
    if isinstance(answer.quorum, Field):
        check_choice(answer.quorum, tuple(Quorum), view)
    _check_form(scope, answer.form, scope.location(rule, *path, "form"))


def check_choice(named: Field, words: tuple[str, ...], view: FieldScope) -> None:
    """A field that stands for one of these words can be nothing else."""
    found = view.lean_on(named.name, named.location, "the rule leans on it")
    if found is not None and not (found.values and set(found.values) <= set(words)):
        view.report.add(named.location, f"“{found.path}” is not one of {', '.join(words)}")


def _check_record(
    scope: ValidationContext, rule: Rule, record: WriteAction, view: FieldScope, path: tuple[str | int, ...]
) -> None:
    check_record(scope, rule, record, view, path)
    check_condition(record.unless, view)
    if record.then is not None:
        _check_record(scope, rule, record.then, view, (*path, "then"))


_OURS = "house-"
_WHOLE = frozenset({FieldType.PARTY, FieldType.RECORD, FieldType.LIST})


def check_rule(scope: ValidationContext, rule: Rule) -> None:
    if rule.name.startswith(_OURS):
        scope.report.add(scope.location(rule, "rule"), f"names that begin with “{_OURS}” are the house's own")
    check_team(scope, rule.owner, scope.location(rule, "owner"))
    check_languages(scope, rule.why, scope.location(rule, "why"), "“why”")
    if not _check_events(scope, rule):
        return
    view = FieldScope(rule.events, scope.report, sure=present_if(rule.condition))
    check_condition(rule.condition, view)
    for name in rule.about:
        _check_subject(view, name, scope.location(rule, "about"))
    if isinstance(rule.severity, Field):
        check_choice(rule.severity, tuple(Severity), view)
    check_steps(scope, rule)
    for until in rule.until:
        _check_until(scope, rule, until)
    for use in uses_of(scope, rule):
        check_use(scope, use)


def _check_events(scope: ValidationContext, rule: Rule) -> bool:
    """Whether all are known; with an unknown one every field would be unknown too."""
    location = scope.location(rule, "on")
    for event in rule.events:
        if event and event not in EVENTS:
            scope.report.unknown(location, f"there is no event “{event}”", event, EVENTS)
    return bool(rule.events) and all(event in EVENTS for event in rule.events)


def _check_subject(view: FieldScope, name: str, location: Location) -> None:
    found = view.lean_on(name, location, "a chain is about it")
    if found is not None and found.type in _WHOLE:
        view.report.add(location, f"“{name}” is a {found.type} and names no subject; name a field of it")


def _check_until(scope: ValidationContext, rule: Rule, until: Until) -> None:
    endings = EVENTS.keys() - {MESSAGE_RECEIVED}
    if until.event not in endings:
        scope.report.unknown(until.location, f"no event “{until.event}” ends a chain", until.event, endings)
        return
    check_condition(until.condition, FieldScope((until.event,), scope.report, started_by=rule.events))
    if until.tell is not None:
        check_names(scope, rule, until.tell.who, (until.location,) * len(until.tell.who))
    _check_same(scope, rule, until)


def _check_same(scope: ValidationContext, rule: Rule, until: Until) -> None:
    """Both events must say which subject they are about."""
    if until.same is not None:
        for event in (*rule.events, until.event):
            FieldScope((event,), scope.report).find(until.same, until.location)
        return
    if not rule.about:
        scope.report.add(until.location, "a rule without “about” has no subject that an event could end; say “same: …”")
    for name in rule.about:
        if name.partition(".")[0] != CHAIN and resolve((until.event,), name) is None:
            said = f"{until.event} has no “{name}”, so it would end nothing; say “same: …” with a field both have"
            scope.report.add(until.location, said)
