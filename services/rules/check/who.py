"""Who is meant: names that somebody can answer to."""

from collections.abc import Sequence

from services.rules.catalogue import HOUSE_ROLES, MESSAGE_RECEIVED, party_fields
from services.rules.check.scope import Scope
from services.rules.rulebook import Rule
from services.rules.terms import Place, Team, Who

_SENDER, _UNANSWERED, _TOLD = "sender", "unanswered", "told"
_ANSWERING = frozenset({_SENDER, _UNANSWERED, _TOLD})


def check_who(scope: Scope, rule: Rule, who: Who, *path: str | int, answered: bool = False) -> None:
    """``answered``: somebody tapped or wrote, so there is a sender whatever the event."""
    places = scope.places(rule, len(who), *path)
    check_names(scope, rule, who, places, answered=answered)
    if not who:
        scope.report.add(scope.place(rule, *path), "this names nobody")


def check_names(scope: Scope, rule: Rule, who: Who, places: Sequence[Place], *, answered: bool = False) -> None:
    for name, place in zip(who, places, strict=True):
        if isinstance(name, Team):
            check_team(scope, name.name, place)
        elif name == _SENDER:
            _check_sender(scope, rule, place, answered=answered)
        elif name not in _ANSWERING and name:
            _check_name(scope, rule, name, place)


def check_team(scope: Scope, team: str, place: Place) -> None:
    teams = scope.book.people.teams
    if team and team not in teams:
        scope.report.unknown(place, f"people.yaml has no team “{team}”", team, teams)


def _check_sender(scope: Scope, rule: Rule, place: Place, *, answered: bool) -> None:
    if not answered and set(rule.events) != {MESSAGE_RECEIVED}:
        scope.report.add(place, f"nobody wrote, so there is no sender: {' or '.join(rule.events)} is no message")


def _check_name(scope: Scope, rule: Rule, name: str, place: Place) -> None:
    parties = frozenset(party for event in rule.events for party in party_fields(event))
    known = parties | scope.roles() | _ANSWERING
    if name not in known:
        scope.report.unknown(place, f"“{name}” is no role, party of the event, or team member", name, known)
    elif name in HOUSE_ROLES - parties - scope.house_roles() and not _comes_with(rule, name):
        scope.report.add(place, f"nobody fills “{name}”: no team of people.yaml has it")


def _comes_with(rule: Rule, name: str) -> bool:
    """Escalation contacts may come with the event that asks for them."""
    return name.startswith("escalation") and any("escalation" in party_fields(event) for event in rule.events)
