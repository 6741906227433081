"""Proves properties of a rulebook, each with a counterexample where it does not hold: a story that can be played.

docs/rules/language.md lists which proofs are exhaustive and which are bounded. The story of a counterexample expects
what happens now, so it passes as long as the fault is there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice, product

from services.rules.analysis.cap_proof import MOST_EVENTS, Mix, mix_of_all, mixes_of_one, smallest_cap
from services.rules.analysis.exploration import Exploration, Move, State, explore
from services.rules.analysis.opening import (
    LONG_WAIT,
    MOST_WITNESSES,
    UNPLAYABLE,
    Opening,
    alone,
    find_start,
    opening_of,
    own_rules,
    play_opening,
    played_story,
)
from services.rules.conversation.chain import Chain, ChainMessage, Ending
from services.rules.conversation.context import EndedChain, RequestedMessage
from services.rules.matching.conditions import names_recipient
from services.rules.matching.satisfiability import TooManyValuesError, both, solutions
from services.rules.matching.self_starts import find_circles, operations_of, with_further
from services.rules.rulebook.built_in import FINISH, TAKE
from services.rules.rulebook.catalogue import RECIPIENT, STAFF_ROLES
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import (
    ALWAYS,
    AnswerAction,
    Compare,
    Condition,
    Location,
    NoneOf,
    Operator,
    Rule,
    Rulebook,
    Step,
    Team,
    Verb,
    answers_of,
    questions_of,
)
from shared.contracts.ids import RuleId
from shared.contracts.writes import RequestWrite, WriteOperation


class Property(StrEnum):
    FIRES = "every rule can start"
    ENDS = "every chain ends in an answer, a person or a give-up"
    OUTCOME = "every answer has an outcome"
    RACE = "no two rules write the same of one record at once"
    LOOP = "no rule starts itself again through what it writes"
    LANGUAGE = "every template is there in each language of the people it can reach"
    CAP = "no mix of events sends a person more than their cap, but for what passes it"


@dataclass(frozen=True, slots=True)
class Counterexample:
    """``story`` is a file for the rule's stories; empty where nothing can be played, because nothing can happen."""

    broken: Property
    rule: str
    fault: FileFault
    story: str = ""


@dataclass(slots=True)
class Proof:
    """``states`` and ``moves`` were played with the real decisions. ``bounded`` are rules not played in every way.

    ``shown`` are stories of what limits.yaml lets pass: no faults.
    """

    found: list[Counterexample] = field(default_factory=list)
    shown: list[Counterexample] = field(default_factory=list)
    bounded: dict[RuleId, int] = field(default_factory=dict)
    undecided: list[FileFault] = field(default_factory=list)
    rules: int = 0
    states: int = 0
    moves: int = 0


_MOST_STATES, _AT_MOST, _FEWEST_STATES = 900, 80, 8
"""Over all rules with one opening each; of each opening of a rule, and the fewest of it."""


def prove(book: Rulebook) -> Iterator[Proof]:
    """The proof so far, after each rule; the last one is whole."""
    proof, rules = Proof(), own_rules(book)
    most = max(_FEWEST_STATES, min(_AT_MOST, _MOST_STATES // max(1, len(rules))))
    shapes: set[object] = set()
    openings: dict[RuleId, Opening] = {}
    for rule in rules:
        proof.rules += 1
        for event in rule.events:
            opening = _prove_start(book, rule, event, proof)
            if opening is not None:
                openings.setdefault(rule.name, opening)
        if rule.name in openings:
            proof.found += _missing_languages(book, rule, openings[rule.name])
            if (shape := _shape(rule)) not in shapes:
                shapes.add(shape)
                _prove_course(book, rule, most, proof)
        yield proof
    proof.found += _races(book, rules, openings)
    proof.found += _loops(book, openings)
    _prove_caps(book, openings, proof)
    yield proof


# ------------------------------------------------------------------ every rule can start


def _prove_start(book: Rulebook, rule: Rule, event: str, proof: Proof) -> Opening | None:
    """An opening in which the rule starts by this event, played; else it is a counterexample, or undecided."""
    try:
        opening, tried = find_start(book, rule, event, rule.condition)
    except TooManyValuesError:
        proof.undecided.append(FileFault(rule.location, f"the “if” is too large to be decided for {event}"))
        return None
    if opening is None and tried == 0:
        sentence = f"“{rule.name}” can never start by {event}: no values of its fields make all of “if” true"
        proof.found.append(Counterexample(Property.FIRES, rule.name, FileFault(rule.location, sentence)))
    elif opening is None:
        sentence = (
            f"no story was found in which {event} starts “{rule.name}”; the values that “if” needs may not go together"
        )
        proof.undecided.append(FileFault(rule.location, sentence))
    return opening


# ------------------------------------------------------------------ the course of a chain


def _shape(rule: Rule) -> object:
    """Rules alike in this take the same courses: templates, texts and what starts them do not matter."""

    def of(step: Step) -> object:
        answers = tuple((name, _bare(answer)) for name, answer in step.answers.items())
        written = (step.record, step.tell.who if step.tell else None)
        return (step.verb, step.who, step.timing, step.unless, answers, step.form, written)

    return repr((rule.owner, rule.events, tuple(map(of, rule.steps)), [until.event for until in rule.until]))


def _bare(answer: AnswerAction) -> object:
    return (replace(answer, tell=None), answer.tell.who if answer.tell else None)


def _prove_course(book: Rulebook, rule: Rule, most: int, proof: Proof) -> None:
    small, found = alone(book, rule), dict[Property, Counterexample]()
    for opening in _openings(book, rule):
        course = explore(small, rule, opening, most)
        proof.states += course.states
        proof.moves += len(course.transitions)
        if not course.complete:
            proof.bounded[rule.name] = most
        for example in _broken(small, rule, opening, course):
            known = found.get(example.broken)
            if known is None or len(example.story) < len(known.story):
                found[example.broken] = example
    proof.found += found.values()


def _openings(book: Rulebook, rule: Rule) -> Iterator[Opening]:
    """All people reachable, with each ``unless`` true and false; then those outside gone, then all of them.

    One that names ``recipient`` is true for all people, for none, and for every second one.
    """
    first: Opening | None = None
    yielded: set[str] = set()
    for_each: list[Opening] = []
    for event, condition in product(rule.events[:1], (ALWAYS, *_unlesses(rule))):
        try:
            opening, _ = find_start(book, rule, event, both(rule.condition, condition))
        except TooManyValuesError:
            continue
        if opening is not None and repr(opening) not in yielded:
            yielded.add(repr(opening))
            first = first or opening
            for_each += [opening] if names_recipient(condition) else []
            yield opening
    if len(for_each) > 1:
        yield for_each[0].shared_with(for_each[-1])
    if first is not None:
        yield first.without(staff=False)
        yield first.without(staff=True)


def _unlesses(rule: Rule) -> Iterator[Condition]:
    for condition in _all_unlesses(rule):
        yield from (condition, NoneOf(condition))


def _all_unlesses(rule: Rule) -> Iterator[Condition]:
    writes = [(step.record, *(answer.record for answer in answers_of(step))) for step in rule.steps]
    yield from (step.unless for step in rule.steps if step.unless is not None)
    yield from (
        each.unless for some in writes for write in some for each in with_further(write) if each.unless is not None
    )


def _broken(book: Rulebook, rule: Rule, opening: Opening, course: Exploration) -> Iterator[Counterexample]:
    for before, move, after in course.transitions:
        if (sentence := _ending_fault(before, after, rule)) is not None:
            yield _example(book, rule, opening, Property.ENDS, after, sentence)
        elif move is not None and move.tapped and (sentence := _answer_fault(move, before, after, rule)) is not None:
            yield _example(book, rule, opening, Property.OUTCOME, after, sentence)


def _ending_fault(before: State, after: State, rule: Rule) -> str | None:
    if after.failed is not None:
        return f"“{rule.name}” cannot go on: {after.failed}"
    for chain in after.chains(rule):
        was = next((each for each in before.chains(rule) if each.chain_id == chain.chain_id), None)
        if chain.ended is Ending.DONE and _asked_in_vain(was or chain):
            return f"“{rule.name}” ends as done although its question has no answer; end it with give_up or hand_over"
        waiting = any(write.pending for write in chain.writes)
        if chain.live and chain.next_due is None and not waiting:
            return f"“{rule.name}” waits for ever: nothing of it is due any more, and it has not ended"
    return None


def _asked_in_vain(chain: Chain) -> bool:
    """There was a question, and no recipient gave a final answer or handed it on."""
    asked = any(m.verb is Verb.ASK and m.open for m in chain.messages)
    return asked and not any(given.final for given in chain.answers) and not chain.handovers


def _answer_fault(move: Move, before: State, after: State, rule: Rule) -> str | None:
    """A declared answer must lead to a write, a message to a person, or wait for the answers of others."""
    if move.tapped is None or after.failed is not None:
        return None
    question, name = move.tapped
    declared = [a for s in reversed(rule.steps[: question.step + 1]) for a in answers_of(s) if a.name == name]
    if set(question.buttons) in ({*TAKE}, {*FINISH}) or not declared or declared[0].continues:
        return None
    return None if _comes_to_something(question, before, after, rule) else _idle_answer(name, rule)


def _idle_answer(name: str, rule: Rule) -> str:
    return f"the answer “{name}” of “{rule.name}” ends the chain and nothing comes of it"


def _comes_to_something(question: ChainMessage, before: State, after: State, rule: Rule) -> bool:
    """A write, a message other than that the answer was noted, also a held one, or waiting for others."""
    if any(isinstance(effect, RequestWrite) for effect in after.effects):
        return True
    sent = [e for e in after.effects if isinstance(e, RequestedMessage)]
    if any(e.send.person_id != question.person_id or e.send.say != "noted" for e in sent):
        return True
    if any(message[0] != question.person_id for message in _messages(after, rule) - _messages(before, rule)):
        return True
    return not any(isinstance(effect, EndedChain) for effect in after.effects)


def _messages(state: State, rule: Rule) -> set[tuple[str, str, int]]:
    return {(str(m.person_id), m.say, m.step) for chain in state.chains(rule) for m in chain.messages}


def _example(
    book: Rulebook, rule: Rule, opening: Opening, broken: Property, state: State, sentence: str
) -> Counterexample:
    more = () if state.failed or _is_over(state, rule) else (LONG_WAIT,)
    path = state.path[:-1] if state.failed else state.path
    location = rule.steps[0].location if rule.steps else rule.location
    return Counterexample(
        broken, rule.name, FileFault(location, sentence), story_of(book, opening, (*path, *more), str(broken))
    )


def _is_over(state: State, rule: Rule) -> bool:
    return all(not chain.live for chain in state.chains(rule))


def story_of(book: Rulebook, opening: Opening, path: Iterable[str], promise: str) -> str:
    """The story file of these moves, by which a promise is not kept."""
    return played_story(book, opening, path, f"breaks the promise that {promise}")


# ------------------------------------------------------------------ languages


def _missing_languages(book: Rulebook, rule: Rule, opening: Opening) -> Iterator[Counterexample]:
    """For each country of house.yaml with another language: the rule is played with people who live there."""
    small = alone(book, rule)
    for country, language in book.tenant.languages.items():
        templates = _outside_templates(rule, country, language)
        lacking = sorted(name for name in templates if not _has(book, name, language))
        if language == book.tenant.language or not lacking:
            continue
        sentence = f"“{rule.name}” can write to people whose language is “{language}”, which {', '.join(lacking)} lacks"
        location = book.templates[lacking[0]].location
        story = story_of(small, opening.in_country(country), (), str(Property.LANGUAGE))
        yield Counterexample(Property.LANGUAGE, rule.name, FileFault(location, sentence), story)
        return


def _has(book: Rulebook, template: str, language: str) -> bool:
    found = book.templates.get(template)
    return found is None or language in found.languages or language.partition("_")[0] in found.languages


def _outside_templates(rule: Rule, country: str, language: str) -> set[str]:
    """The templates that people outside the publisher, in this country, can get.

    They are those of steps that neither address staff alone nor leave all people of the country out.
    """
    found = set[str]()
    for step in rule.steps:
        reached = not _staff_only(step.who) and _may_reach(rule, step, country, language)
        if step.say and reached:
            found.add(step.say)
        inner = (question for question in questions_of(step) if question.within)
        found |= {question.say for question in inner if not _staff_only(question.who)}
        tells = [step.tell, *(answer.tell for answer in answers_of(step))]
        found |= {tell.say for tell in tells if tell is not None and not _staff_only(tell.who)}
    return found | {
        until.tell.say for until in rule.until if until.tell is not None and not _staff_only(until.tell.who)
    }


def _may_reach(rule: Rule, step: Step, country: str, language: str) -> bool:
    """Whether the ``unless`` of a step can be false for a person of this country and language."""
    if step.unless is None or not names_recipient(step.unless):
        return True
    lives_there = Compare(f"{RECIPIENT}.country", Operator.IS, country)
    has_language = Compare(f"{RECIPIENT}.language", Operator.IS, language)
    reached = both(NoneOf(step.unless), lives_there, has_language)
    try:
        return any(next(iter(solutions(reached, event)), None) is not None for event in rule.events)
    except TooManyValuesError:
        return True


def _staff_only(who: Iterable[object]) -> bool:
    return all(isinstance(each, Team) or each in STAFF_ROLES for each in who)


# ------------------------------------------------------------------ races


def _races(book: Rulebook, rules: list[Rule], openings: dict[RuleId, Opening]) -> Iterator[Counterexample]:
    """Two rules that start by one event and both ask for the same operation on its record are played together."""
    writing = [
        (rule, operation) for rule in rules if rule.name in openings for operation in sorted(operations_of(rule, book))
    ]
    for index, (rule, operation) in enumerate(writing):
        for other, same in writing[index + 1 :]:
            if same is not operation or other.name == rule.name or not set(rule.events) & set(other.events):
                continue
            example = _race(book, rule, other, operation)
            if example is not None:
                yield example


def _race(book: Rulebook, rule: Rule, other: Rule, operation: WriteOperation) -> Counterexample | None:
    event = next(event for event in rule.events if event in other.events)
    both_rules = alone(book, rule, other)
    try:
        found = list(islice(solutions(both(rule.condition, other.condition), event), MOST_WITNESSES))
    except TooManyValuesError:
        return None
    for values in found:
        opening = _merged(opening_of(book, rule, event, values), opening_of(book, other, event, values))
        path = _path_to_writes(both_rules, opening, (rule, other), operation)
        if path is not None:
            sentence = (
                f"“{rule.name}” and “{other.name}” can both ask for {operation} of one record, by the same {event}"
            )
            story = story_of(both_rules, opening, path, str(Property.RACE))
            return Counterexample(Property.RACE, rule.name, FileFault(rule.location, sentence), story)
    return None


def _merged(one: Opening, other: Opening) -> Opening:
    return replace(one, people={**other.people, **one.people})


def _path_to_writes(
    book: Rulebook, opening: Opening, rules: tuple[Rule, Rule], operation: WriteOperation
) -> tuple[str, ...] | None:
    """Moves after which both rules have asked for the operation on the same record; each tries its own answers."""
    course = [explore(book, rule, opening, _FEWEST_STATES) for rule in rules]
    paths = [[state.path for _, _, state in each.transitions if _asked_for(state, operation)] for each in course]
    for first, second in product(paths[0][:4], paths[1][:4]):
        path = (*first, *(step for step in second if not step.startswith("wait until")))
        if _both_ask(book, opening, path, rules, operation):
            return path
    return None


def _asked_for(state: State, operation: WriteOperation) -> bool:
    return any(isinstance(e, RequestWrite) and e.input.operation is operation for e in state.effects)


def _both_ask(
    book: Rulebook, opening: Opening, path: Iterable[str], rules: tuple[Rule, Rule], operation: WriteOperation
) -> bool:
    try:
        player = play_opening(book, opening, path)
    except UNPLAYABLE:
        return False
    asked = [write for write in player.simulation.writes if write.input.operation is operation]
    by_rule = {str(write.evidence.rule): write.record for write in asked}
    records = [by_rule.get(rule.name) for rule in rules]
    return None not in records and len(set(records)) == 1


# ------------------------------------------------------------------ loops


def _loops(book: Rulebook, openings: dict[RuleId, Opening]) -> Iterator[Counterexample]:
    """The circles over “writes what starts” that nothing bounds, of rules that can start."""
    for circle in find_circles(book):
        rules = [book.rules[start.rule] for start in circle]
        if any(rule.name not in openings for rule in rules):
            continue
        first = rules[0]
        sentence = f"what these rules write can start them again, without end: {'; '.join(map(str, circle))}"
        story = story_of(alone(book, *rules), openings[first.name], (), str(Property.LOOP))
        yield Counterexample(Property.LOOP, first.name, FileFault(first.location, sentence), story)


# ------------------------------------------------------------------ caps


def _prove_caps(book: Rulebook, openings: dict[RuleId, Opening], proof: Proof) -> None:
    """Show each rule that passes the caps with its mix; of all other rules together no mix may exceed them."""
    cap = smallest_cap(book)
    if cap is None or not openings:
        return
    if cap >= MOST_EVENTS:
        sentence = f"a cap of {cap} messages is too large to be played"
        proof.undecided.append(FileFault(Location("limits.yaml", 1, 1), sentence))
        return
    over = list(mixes_of_one(book, openings))
    for mix in over:
        brings = f"{mix.events} of its events bring one person {mix.count} messages"
        if mix.passes:
            sentence = f"“{mix.rules[0].name}” passes the cap of {mix.cap}: {brings}"
            proof.shown.append(_cap_example(book, mix, sentence))
        else:
            proof.found.append(_cap_example(book, mix, f"{brings}, over the cap of {mix.cap}"))
    names = {mix.rules[0].name for mix in over}
    together = mix_of_all(book, {name: each for name, each in openings.items() if name not in names})
    if together is not None:
        sentence = (
            f"{together.events} events bring one person {together.count} messages, over the cap of {together.cap}"
        )
        proof.found.append(_cap_example(book, together, sentence))


def _cap_example(book: Rulebook, mix: Mix, sentence: str) -> Counterexample:
    rule = mix.rules[0]
    story = mix.story(book, f"brings one person {mix.count} messages, with a cap of {mix.cap}")
    return Counterexample(Property.CAP, rule.name, FileFault(rule.location, sentence), story)
