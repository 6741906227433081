"""Plays an opening: finds out whether a rule starts in it, and writes what follows as a story file."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from services.rules.analysis.opening import Opening, opening_of, read_step
from services.rules.matching.satisfiability import solutions
from services.rules.rulebook.model import Condition, Rule, Rulebook
from services.rules.scenario.comparison import ObservedEffect
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import EffectKind
from shared.contracts.errors import StetError

MOST_WITNESSES = 12
"""Openings of one event that are tried, each with other values."""
LONG_WAIT = "wait: 400 days"
"""The step of a story after which everything that was due has happened."""


def alone(book: Rulebook, *rules: Rule) -> Rulebook:
    """The rulebook with these rules and no others."""
    return replace(book, rules={rule.name: rule for rule in rules})


def find_start(book: Rulebook, rule: Rule, event: str, condition: Condition) -> tuple[Opening | None, int]:
    """The first opening in which the rule starts, and how many were tried."""
    small, tried = alone(book, rule), 0
    for values in islice(solutions(condition, event), MOST_WITNESSES):
        tried += 1
        opening = opening_of(book, rule, event, values)
        if _starts(small, rule, opening):
            return opening, tried
    return None, tried


def _starts(book: Rulebook, rule: Rule, opening: Opening) -> bool:
    try:
        player = StoryPlayer.of(opening.story(), book, has_second_engine=False)
        for step in opening.steps:
            player.play(read_step(step))
    except (StetError, ValueError, TypeError, LookupError):
        return False
    return any(chain.rule == rule.name for chain in player.simulation.facts.chains.values())


def played_story(book: Rulebook, opening: Opening, path: Iterable[str], sentence: str) -> str:
    """The story file of these moves, which expects what happens now; ``sentence`` says what the rule does."""
    written: list[str] = []
    player = StoryPlayer.of(opening.story(), book, has_second_engine=False)
    for step in (*opening.steps, *path):
        player.play(read_step(step))
        effects = player.observed()
        written.append(step)
        if effects or step == LONG_WAIT:
            written.append(f"expect: [{', '.join(map(_short, effects))}]" if effects else "expect: nothing")
    return replace(opening, steps=()).text(sentence, tuple(written))


def _short(effect: ObservedEffect) -> str:
    match effect.kind:
        case EffectKind.RECORD:
            return f"{{record: {effect.record}}}"
        case EffectKind.LEFT_OUT | EffectKind.END:
            return str(effect)
        case _:
            return f"{{{effect.kind}: {effect.person}, say: {effect.template}, language: {effect.language}}}"
