"""Explores the states of a rule: plays every course that can follow from one opening, with the real decisions.

A move is one of five things: a tap on an open button, an outcome of a write, a message that cannot be delivered, an
answer to a form, or a wait until the next due instant. States with the same steps, questions, answers and writes count
as one, even if the times until their next step differ. So each reply is tried at each instant at which something falls
due. All moves are tried from every state, up to the bounds below.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import fields as dataclass_fields

from services.rules.analysis.opening import StoryOpening, flow, next_wait, play_opening, read_step
from services.rules.conversation.chain import Chain, ChainMessage, DeliveryState, FormPhase
from services.rules.conversation.context import Effect
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import Rule, Rulebook, Verb
from services.rules.scenario.player import Simulation, StoryPlayer
from services.rules.scenario.story_file import UnplayableStep
from services.rules.scenario.story_world import StoryFacts
from shared.contracts.errors import StetError
from shared.contracts.writes import WriteOutcome

_WAIT = "wait until"
_UNDELIVERABLE = 131026  # Meta: the message cannot be delivered to this person
_OUTCOMES = (WriteOutcome.VERIFIED, WriteOutcome.CONFLICT, WriteOutcome.MANUAL)


@dataclass(frozen=True, slots=True)
class Move:
    """A step of a story; ``tapped`` is the question and the answer where it is a tap."""

    text: str
    tapped: tuple[ChainMessage, str] | None = None


@dataclass(frozen=True, slots=True)
class State:
    """``path`` are the moves that led here; ``effects`` are those of the last one. ``failed`` says why it could not."""

    player: StoryPlayer
    path: tuple[str, ...]
    effects: tuple[Effect, ...] = ()
    failed: str | None = None

    def chains(self, rule: Rule) -> list[Chain]:
        return [chain for chain in self.player.simulation.facts.chains.values() if chain.rule == rule.name]


@dataclass(slots=True)
class Exploration:
    """All states that were reached, each with the moves from it; ``complete`` where no bound was met."""

    states: int = 0
    complete: bool = True
    transitions: list[tuple[State, Move | None, State]] = field(default_factory=list)


def explore(book: Rulebook, rule: Rule, opening: StoryOpening, most: int) -> Exploration:
    """All states, or ``most`` of them, first those of the course in which no person does anything.

    ``book`` needs no other rule than this one.
    """
    found = Exploration()
    first = _state_of(play_opening(book, opening), ())
    queue, seen = deque([first]), {_key(first, rule)}
    found.transitions.append((first, None, first))
    while queue:
        state = queue.popleft()
        found.states += 1
        if found.states > most:
            found.complete = False
            break
        for move in _moves(state, rule, book):
            after = _play(state, move)
            found.transitions.append((state, move, after))
            key = _key(after, rule)
            if after.failed is None and key not in seen:
                seen.add(key)
                (queue.appendleft if move.text.startswith(_WAIT) else queue.append)(after)
    return found


def _state_of(player: StoryPlayer, path: tuple[str, ...]) -> State:
    effects = tuple(player.simulation.effects)
    player.simulation.effects.clear()
    return State(player, path, effects)


def _play(state: State, move: Move) -> State:
    player = _copy(state.player)
    try:
        player.play(read_step(move.text))
    except UnplayableStep as error:
        return State(player, (*state.path, move.text), failed=str(error))
    except (StetError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        return State(player, (*state.path, move.text), failed=f"{type(error).__name__}: {error}")
    return _state_of(player, (*state.path, move.text))


def _copy(player: StoryPlayer) -> StoryPlayer:
    facts = _copy_facts(player.simulation.facts)
    known = player.simulation
    simulation = Simulation(known.decider, facts, known.now, writes=list(known.writes))
    simulation._lines = dict(known._lines)  # noqa: SLF001 -- a copy of the whole
    simulation._count = known._count  # noqa: SLF001
    return StoryPlayer(player.people, simulation, StoryFacts(player.people, facts, dict(player.facts._set)))  # noqa: SLF001


def _copy_facts(facts: Facts) -> Facts:
    """A copy of the facts that shares with them only what no decision changes."""
    made = Facts(facts.tenant, read_to=facts.read_to, paused_rules=facts.paused_rules, version=facts.version)
    for table in dataclass_fields(facts):
        known = getattr(facts, table.name)
        if isinstance(known, dict):
            setattr(made, table.name, dict(known))
    made.chains_by_key = {key: dict(chains) for key, chains in facts.chains_by_key.items()}
    return made


# ------------------------------------------------------------------ moves


def _moves(state: State, rule: Rule, book: Rulebook) -> Iterator[Move]:
    for chain in state.chains(rule):
        if chain.live:
            yield from _taps(state, chain)
            yield from _form_replies(state, chain, book)
            yield from _failures(state, chain)
    yield from _outcomes(state)
    due = min((c.next_due for c in state.chains(rule) if c.next_due is not None), default=None)
    if due is not None:
        yield Move(next_wait(state.player, due))


def _taps(state: State, chain: Chain) -> Iterator[Move]:
    newest: dict[tuple[object, str], ChainMessage] = {}
    for message in chain.messages:
        if message.open and message.requested_at is not None:
            newest |= {(message.person_id, button): message for button in message.buttons}
    for (_, button), message in newest.items():
        if message.verb is not Verb.COLLECT and chain.final_answer_of(message.person_id) is not None:
            continue
        sender = state.player.people.name_of(message.person_id)
        reply = {"from": sender, "button": button, "to": message.say, "rule": chain.rule}
        yield Move(f"reply: {flow(reply)}", (message, button))


def _form_replies(state: State, chain: Chain, book: Rulebook) -> Iterator[Move]:
    form = chain.form
    if form is None or form.over or form.phase is not FormPhase.ASKING or form.asking is None:
        return
    asked = next((each for each in book.forms[form.form].fields if each.name == form.asking), None)
    sender = state.player.people.name_of(form.person_id)
    if asked is not None and asked.document:
        yield Move(f"reply: {flow({'from': sender, 'document': f'file.{asked.document[0]}'})}")
    elif asked is not None and asked.choose:
        yield Move(f"reply: {flow({'from': sender, 'text': '1'})}")
    else:
        yield Move(f"reply: {flow({'from': sender, 'text': 'Something about it'})}")


def _failures(state: State, chain: Chain) -> Iterator[Move]:
    """The newest message to a person who has not failed yet cannot be delivered."""
    failed = {m.person_id for m in chain.messages if m.delivery is DeliveryState.FAILED}
    asked = {m.person_id for m in chain.messages if m.open} - failed
    if failed or not chain.active:
        return
    for person in sorted(asked):
        contact = state.player.people.name_of(person)
        yield Move(f"failed: {flow({'to': contact, 'code': _UNDELIVERABLE})}")


def _outcomes(state: State) -> Iterator[Move]:
    operations = dict.fromkeys(write.input.operation for write in state.player.simulation.writes)
    for operation in operations:
        for outcome in _OUTCOMES:
            yield Move(f"written: {flow({'record': str(operation), 'as': str(outcome)})}")


# ------------------------------------------------------------------ states


def _key(state: State, rule: Rule) -> object:
    return tuple(_chain_key(chain) for chain in state.chains(rule))


def _chain_key(chain: Chain) -> object:
    """The part of a chain on which its further course depends: times and closed messages are left out."""
    waiting = [h for h in chain.handovers if set(h.people) - set(h.declined)]
    return (
        chain.ended,
        chain.closing,
        tuple((s.over, s.status, s.unreached) for s in chain.steps),
        frozenset((m.person_id, frozenset(m.buttons)) for m in chain.messages if m.open),
        any(m.delivery is DeliveryState.HELD for m in chain.messages),
        any(m.delivery is DeliveryState.FAILED for m in chain.messages),
        frozenset((g.person_id, g.answer) for g in chain.answers if g.final),
        frozenset((w.operation, w.answer, w.depth, w.pending, w.manual_reported) for w in chain.writes),
        frozenset(person for h in waiting for person in h.people if person not in h.declined),
        chain.handovers[-1].reminded if chain.handovers else None,
        (chain.assignment.person_id, chain.assignment.reminded) if chain.assignment else None,
        chain.unclaimed,
        (chain.form.phase, chain.form.asking) if chain.form else None,
        chain.next_due is None,
    )
