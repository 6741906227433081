"""The house's own rules, which no file writes: a team reads what a person says unasked, and whom we stop answering."""

from dataclasses import replace

from services.rules.conversation.inbound import INBOX_RULE_PREFIX, PAUSED_RULE_PREFIX
from services.rules.rulebook import Rule, Rulebook, Step, Verb
from services.rules.terms import Place, Team
from shared.contracts.ids import RuleId

_NOWHERE = Place("house", 0, 0)
_WHY = {
    "en": "Somebody wrote to the house, and your team looks after them.",
    "fr": "Quelqu’un a écrit à la maison, et votre équipe s’en occupe.",
}


def with_house_rules(book: Rulebook) -> Rulebook:
    """``book`` with an inbox rule for every team, and one that tells it whom we no longer answer."""
    told = {INBOX_RULE_PREFIX: "to_read", PAUSED_RULE_PREFIX: "answers_paused"}
    own = {RuleId(kind + team): _rule(kind, team, say) for kind, say in told.items() for team in book.people.teams}
    return replace(book, rules={**book.rules, **own})


def _rule(kind: str, team: str, say: str) -> Rule:
    tell = Step(index=0, verb=Verb.TELL, place=_NOWHERE, who=(Team(team),), say=say)
    return Rule(name=RuleId(kind + team), owner=team, why=_WHY, events=(), steps=(tell,), place=_NOWHERE)
