"""Feeds any event that the contracts accept to the rules: only Unprocessable may be raised."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from services.rules.conversation.decider import Decider
from services.rules.conversation.facts import Facts
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import read_folder
from shared.clients.working_calendar import resolve_zone
from shared.contracts.contacts import PersonObserved
from shared.contracts.envelope import Event
from shared.contracts.ids import TenantId
from tests.services.ingest.payloads import NOW

_FOLDER = Path(__file__).parents[2] / "rules"
_MOST_EVENTS = 40
_MOST_DUE = 3


@lru_cache(maxsize=1)
def _book() -> Rulebook:
    book, faults = load(read_folder(_FOLDER))
    assert book is not None, faults
    return add_built_in_rules(book)


@dataclass
class RulesUnderFuzz:
    """Rules with facts that are reset after some events, so that the cost of one input does not grow."""

    decider: Decider = field(init=False)
    facts: Facts = field(init=False)
    now: datetime = NOW
    _events: int = 0

    def __post_init__(self) -> None:
        book = _book()
        self.decider = Decider(
            rulebook=book, rulebook_at=lambda _: book, matcher=RuleMatcher(book.rules.values()), zone_of=self._zone,
            signing_keys=(b"k" * 32,),
        )  # fmt: skip
        self.reset()

    def reset(self) -> None:
        self.facts, self.now, self._events = Facts(TenantId("penrose")), NOW, 0

    def handle(self, event: Event) -> None:
        """Decide the event, and then the due steps of the newest chains."""
        self._events += 1
        if self._events > _MOST_EVENTS:
            self.reset()
        self.facts.apply_changes(self.decider.decide(event, self.facts, self.now).changes)
        for chain in list(self.facts.chains.values())[-_MOST_DUE:]:
            if chain.next_due is not None and chain.next_due - self.now < timedelta(days=3_650):
                decision = self.decider.decide_due(chain, self.facts, max(chain.next_due, self.now))
                self.facts.apply_changes(decision.changes)

    def _zone(self, seen: PersonObserved) -> str | None:
        return resolve_zone(seen.zone, seen.country, seen.addresses.phone, "Europe/London")
