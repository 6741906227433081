"""One rule: the events it hears, the subject it is about, its conditions, and what ends it."""

from services.rules.catalogue import CHAIN, EVENTS, MESSAGE_RECEIVED, resolve
from services.rules.check.conditions import check_condition
from services.rules.check.fields import View
from services.rules.check.guards import present_if
from services.rules.check.scope import Scope
from services.rules.check.steps import check_choice, check_steps
from services.rules.check.templates import check_languages, check_use
from services.rules.check.uses import uses_of
from services.rules.check.who import check_names, check_team
from services.rules.fieldtypes import FieldType
from services.rules.rulebook import Rule, Until
from services.rules.terms import Field, Place, Severity

_OURS = "house-"
_WHOLE = frozenset({FieldType.PARTY, FieldType.RECORD, FieldType.LIST})


def check_rule(scope: Scope, rule: Rule) -> None:
    if rule.name.startswith(_OURS):
        scope.report.add(scope.place(rule, "rule"), f"names that begin with “{_OURS}” are the house's own")
    check_team(scope, rule.owner, scope.place(rule, "owner"))
    check_languages(scope, rule.why, scope.place(rule, "why"), "“why”")
    if not _check_events(scope, rule):
        return
    view = View(rule.events, scope.report, sure=present_if(rule.condition))
    check_condition(rule.condition, view)
    for name in rule.about:
        _check_subject(view, name, scope.place(rule, "about"))
    if isinstance(rule.severity, Field):
        check_choice(rule.severity, tuple(Severity), view)
    check_steps(scope, rule)
    for until in rule.until:
        _check_until(scope, rule, until)
    for use in uses_of(scope, rule):
        check_use(scope, use)


def _check_events(scope: Scope, rule: Rule) -> bool:
    """Whether all are known; with an unknown one every field would be unknown too."""
    place = scope.place(rule, "on")
    for event in rule.events:
        if event and event not in EVENTS:
            scope.report.unknown(place, f"there is no event “{event}”", event, EVENTS)
    return bool(rule.events) and all(event in EVENTS for event in rule.events)


def _check_subject(view: View, name: str, place: Place) -> None:
    found = view.lean_on(name, place, "a chain is about it")
    if found is not None and found.type in _WHOLE:
        view.report.add(place, f"“{name}” is a {found.type} and names no subject; name a field of it")


def _check_until(scope: Scope, rule: Rule, until: Until) -> None:
    endings = EVENTS.keys() - {MESSAGE_RECEIVED}
    if until.event not in endings:
        scope.report.unknown(until.place, f"no event “{until.event}” ends a chain", until.event, endings)
        return
    check_condition(until.condition, View((until.event,), scope.report, started_by=rule.events))
    if until.tell is not None:
        check_names(scope, rule, until.tell.who, (until.place,) * len(until.tell.who))
    _check_same(scope, rule, until)


def _check_same(scope: Scope, rule: Rule, until: Until) -> None:
    """Both events must say which subject they are about."""
    if until.same is not None:
        for event in (*rule.events, until.event):
            View((event,), scope.report).find(until.same, until.place)
        return
    if not rule.about:
        scope.report.add(until.place, "a rule without “about” has no subject that an event could end; say “same: …”")
    for name in rule.about:
        if name.partition(".")[0] != CHAIN and resolve((until.event,), name) is None:
            said = f"{until.event} has no “{name}”, so it would end nothing; say “same: …” with a field both have"
            scope.report.add(until.place, said)
