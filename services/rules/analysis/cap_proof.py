"""Plays mixes of events, each about another subject, until a person would get more messages than limits.yaml allows.

A message that the caps concern leaves only where every cap has room. So each rule is played alone, with one event more
than the smallest cap, and then all rules together whose messages the caps concern. The events of a mix happen at one
instant, and no answer comes. Replies to a person's own message are free, so rules that messages start are not played.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from services.rules.analysis.opening import (
    EVENT_STEP,
    START,
    UNPLAYABLE,
    StoryOpening,
    next_wait,
    play_opening,
    played_story,
    read_step,
    with_repeated_events,
    with_rules_only,
)
from services.rules.conversation.context import RequestedMessage
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.people import is_staff, working_hours
from services.rules.conversation.send_hours import period_start
from services.rules.rulebook.model import Cap, Field, Rule, Rulebook
from services.rules.scenario.player import StoryPlayer
from shared.contracts.ids import PersonId, RuleId

MOST_EVENTS = 60
"""Of each rule in a mix; a larger cap is not played."""
_MOST_WAITS = 100
_HORIZON = timedelta(days=120)


@dataclass(frozen=True, slots=True)
class CapExcess:
    """A mix of events by which a person gets ``count`` messages in the period of ``cap``, one too many.

    ``opening`` has all the events, and ``path`` the waits after them. ``passes``: limits.yaml lets the rule's messages
    to that person, who is staff, pass the caps.
    """

    rules: tuple[Rule, ...]
    opening: StoryOpening
    path: tuple[str, ...]
    cap: Cap
    count: int
    passes: bool

    @property
    def events(self) -> int:
        return sum(step.startswith(EVENT_STEP) for step in self.opening.steps)

    def story(self, book: Rulebook, sentence: str) -> str:
        """The story file of the mix, which expects what happens now."""
        return played_story(book, self.opening, self.path, sentence)


def smallest_cap(book: Rulebook) -> int | None:
    return min((cap.count for cap in book.tenant.caps), default=None)


def excesses_of_one_rule(book: Rulebook, openings: Mapping[RuleId, StoryOpening]) -> Iterator[CapExcess]:
    """For each rule whose own messages exceed a cap: the mix of its events that shows it."""
    for name, opening in openings.items():
        rule, times = book.rules[name], (smallest_cap(book) or 0) + 1
        excess = _play(book, (rule,), with_repeated_events(rule, opening, times))
        if excess is not None:
            yield excess


def excess_of_all_rules(book: Rulebook, openings: Mapping[RuleId, StoryOpening]) -> CapExcess | None:
    """The events of all these rules together, where they exceed a cap."""
    rules, merged = tuple(book.rules[name] for name in openings), None
    for rule in rules:
        opening = with_repeated_events(rule, openings[rule.name], (smallest_cap(book) or 0) + 1)
        if opening is not None and merged is not None:
            merged = replace(
                merged,
                people={**opening.people, **merged.people},
                steps=tuple(dict.fromkeys((*merged.steps, *opening.steps))),
            )
        merged = merged or opening
    return _play(book, rules, merged)


def _play(book: Rulebook, rules: tuple[Rule, ...], opening: StoryOpening | None) -> CapExcess | None:
    """Play the events, then wait for what falls due, until a cap is exceeded; None where none is."""
    if opening is None:
        return None
    tally, path = _Tally(), list[str]()
    try:
        player = play_opening(with_rules_only(book, *rules), opening)
        while (exceeded := tally.take(player)) is None and (wait := _next_wait(player, len(path))) is not None:
            player.play(read_step(wait))
            path.append(wait)
    except UNPLAYABLE:
        return None
    if exceeded is None:
        return None
    cap, person_id, count = exceeded
    simulation = player.simulation
    passes = _may_pass(simulation.decider.rulebook, rules, simulation.facts.people[person_id])
    return CapExcess(rules, opening, tuple(path), cap, count, passes)


def _may_pass(book: Rulebook, rules: tuple[Rule, ...], person: PersonFacts) -> bool:
    severity = book.tenant.staff_pass
    passing = severity is not None and all(isinstance(r.severity, Field) or r.severity is severity for r in rules)
    return passing and is_staff(book, person)


def _next_wait(player: StoryPlayer, waited: int) -> str | None:
    """The step to the next instant at which a chain is due; None after so many, or far ahead."""
    chains = player.simulation.facts.chains.values()
    due = min((chain.next_due for chain in chains if chain.next_due is not None), default=None)
    return None if due is None or waited >= _MOST_WAITS or due > START + _HORIZON else next_wait(player, due)


class _Tally:
    """The messages to each person in each period of a cap, by the days of the person's own time zone."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Cap, PersonId, date]] = Counter()

    def take(self, player: StoryPlayer) -> tuple[Cap, PersonId, int] | None:
        """Count the messages since the last call; returns a cap that is exceeded now, its person, and the messages in
        its period.
        """
        simulation, book = player.simulation, player.simulation.decider.rulebook
        sent = [effect.send.person_id for effect in simulation.effects if isinstance(effect, RequestedMessage)]
        simulation.effects.clear()
        for person_id in sent:
            hours = working_hours(book, simulation.facts.people[person_id])
            for cap in book.tenant.caps:
                self._counts[cap, person_id, period_start(cap, hours.local_date(simulation.now))] += 1
        over = ((cap, person, count) for (cap, person, _), count in self._counts.items() if count > cap.count)
        return max(over, key=lambda found: found[2], default=None)
