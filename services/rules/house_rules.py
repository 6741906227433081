"""The house's own rules, which no file writes: what a person says unasked is read by a team."""

from dataclasses import replace

from services.rules.listen import INBOX
from services.rules.rulebook import Rule, Rulebook, Step, Verb
from services.rules.terms import Place, Team
from shared.ids import RuleId

_NOWHERE = Place("house", 0, 0)
_WHY = {
    "en": "Somebody wrote to the house, and your team looks after them.",
    "fr": "Quelqu’un a écrit à la maison, et votre équipe s’en occupe.",
}


def with_house_rules(book: Rulebook) -> Rulebook:
    """``book`` with an inbox rule for every team."""
    inboxes = {RuleId(INBOX + team): _inbox(team) for team in book.people.teams}
    return replace(book, rules={**book.rules, **inboxes})


def _inbox(team: str) -> Rule:
    tell = Step(index=0, verb=Verb.TELL, place=_NOWHERE, who=(Team(team),), say="to_read")
    return Rule(name=RuleId(INBOX + team), owner=team, why=_WHY, events=(), steps=(tell,), place=_NOWHERE)
