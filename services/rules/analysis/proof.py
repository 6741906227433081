"""Proves properties of a rulebook, each with a counterexample where it does not hold: a story that can be played.

docs/rules/language.md lists which proofs are exhaustive and which are bounded. The story of a counterexample expects
what happens now, so it passes as long as the fault is there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice, product

from services.rules.analysis.cap_proof import (
    MOST_EVENTS,
    CapExcess,
    excess_of_all_rules,
    excesses_of_one_rule,
    smallest_cap,
)
from services.rules.analysis.exploration import Exploration, Move, State, explore
from services.rules.analysis.opening import (
    LONG_WAIT,
    MOST_OPENINGS,
    UNPLAYABLE,
    StoryOpening,
    find_start,
    opening_of,
    own_rules,
    play_opening,
    played_story,
    rulebook_with,
    with_rules_only,
)
from services.rules.conversation.chain import Chain, ChainMessage, Ending
from services.rules.conversation.chain_messages import is_of_handover
from services.rules.conversation.context import EndedChain, RequestedMessage
from services.rules.matching.conditions import names_recipient
from services.rules.matching.satisfiability import TooManyValuesError, conjunction, solutions
from services.rules.matching.self_starts import find_cycles, operations_of, with_further
from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES, STAFF_TEMPLATES, TYPED_FIELDS
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
from services.rules.rulebook.periods import PERIODS
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
_MOST_PATHS = 4
"""Ways to a write of each of two rules that are tried together, the shortest ones."""


def prove(book: Rulebook) -> Iterator[Proof]:
    """The proof so far, after each rule; the last one is whole."""
    proof, rules = Proof(), own_rules(book)
    most = max(_FEWEST_STATES, min(_AT_MOST, _MOST_STATES // max(1, len(rules))))
    shapes: set[object] = set()
    openings: dict[RuleId, StoryOpening] = {}
    for rule in rules:
        proof.rules += 1
        for event in rule.events:
            opening = _prove_start(book, rule, event, proof)
            if opening is not None:
                openings.setdefault(rule.name, opening)
        if rule.name in openings:
            proof.found += _missing_languages(book, rule, openings[rule.name], most)
            found = _openings(book, rule)
            if (shape := _shape(rule, found)) not in shapes:
                shapes.add(shape)
                _prove_course(book, rule, found, most, proof)
        yield proof
    _races(book, rules, openings, most, proof)
    proof.found += _built_in_languages(book, openings, most)
    proof.found += _loops(book, openings)
    _prove_caps(book, openings, proof)
    yield proof


# ------------------------------------------------------------------ every rule can start


def _prove_start(book: Rulebook, rule: Rule, event: str, proof: Proof) -> StoryOpening | None:
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


def _shape(rule: Rule, openings: Iterable[StoryOpening | None]) -> object:
    """Two rules with the same shape take the same courses. Templates and texts do not count. Of the openings only their
    people count, and for which ``unless`` they make true and which false.
    """

    def of(step: Step) -> object:
        answers = tuple((name, _bare(answer)) for name, answer in step.answers.items())
        written = (step.record, step.tell.who if step.tell else None)
        return (step.verb, step.who, step.timing, step.unless, answers, step.form, written, step.attach)

    people = [None if opening is None else (opening.people, opening.beside) for opening in openings]
    return repr((rule.owner, rule.events, rule.listing, tuple(map(of, rule.steps)), people))


def _bare(answer: AnswerAction) -> object:
    return (replace(answer, tell=None), answer.tell.who if answer.tell else None)


def _prove_course(book: Rulebook, rule: Rule, openings: Iterable[StoryOpening | None], most: int, proof: Proof) -> None:
    found = dict[Property, Counterexample]()
    different = {repr(opening): opening for opening in openings if opening is not None}
    for opening in different.values():
        own_book = rulebook_with(book, rule, opening)
        course = explore(own_book, rule, opening, most)
        proof.states += course.states
        proof.moves += len(course.transitions)
        if not course.complete:
            proof.bounded[rule.name] = most
        for example in _broken(book, rule, opening, course):
            known = found.get(example.broken)
            if known is None or len(example.story) < len(known.story):
                found[example.broken] = example
    proof.found += found.values()


def _openings(book: Rulebook, rule: Rule) -> list[StoryOpening | None]:
    """The openings by which the rule is played: by each event with all people reachable and each ``unless`` true and
    false; then without the people outside, then without all people. None where no values were found. An ``unless`` that
    names ``recipient`` is true for all people, for none, and for every second one.
    """
    conditions = (ALWAYS, *_unlesses(rule))
    found = [_opening_where(book, rule, event, condition) for event, condition in product(rule.events, conditions)]
    by_condition = zip(found, product(rule.events, conditions), strict=True)
    for_each = [opening for opening, (_, condition) in by_condition if opening and names_recipient(condition)]
    if len(for_each) > 1:
        found.append(for_each[0].shared_with(for_each[-1]))
    first = next((opening for opening in found if opening is not None), None)
    if first is not None:
        found += [first.without(staff=False), first.without(staff=True)]
    return found


def _opening_where(book: Rulebook, rule: Rule, event: str, condition: Condition) -> StoryOpening | None:
    with suppress(TooManyValuesError):
        return find_start(book, rule, event, conjunction(rule.condition, condition))[0]
    return None


def _unlesses(rule: Rule) -> Iterator[Condition]:
    for condition in _all_unlesses(rule):
        yield from (condition, NoneOf(condition))


def _all_unlesses(rule: Rule) -> Iterator[Condition]:
    writes = [(step.record, *(answer.record for answer in answers_of(step))) for step in rule.steps]
    yield from (step.unless for step in rule.steps if step.unless is not None)
    yield from (
        each.unless for some in writes for write in some for each in with_further(write) if each.unless is not None
    )


def _broken(book: Rulebook, rule: Rule, opening: StoryOpening, course: Exploration) -> Iterator[Counterexample]:
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
        if chain.ended is Ending.DONE and _is_unanswered(was or chain):
            return f"“{rule.name}” ends as done although its question has no answer; end it with give_up or hand_over"
        waiting = any(write.pending for write in chain.writes)
        if chain.live and chain.next_due is None and not waiting:
            return f"“{rule.name}” waits for ever: nothing of it is due any more, and it has not ended"
    return None


def _is_unanswered(chain: Chain) -> bool:
    """There was a question, and no recipient gave a final answer or handed it on."""
    asked = any(m.verb is Verb.ASK and m.open for m in chain.messages)
    return asked and not any(given.final for given in chain.answers) and not chain.handovers


def _answer_fault(move: Move, before: State, after: State, rule: Rule) -> str | None:
    """A declared answer must lead to a write, a message to a person, or wait for the answers of others."""
    if move.tapped is None or after.failed is not None:
        return None
    question, name = move.tapped
    declared = [a for s in reversed(rule.steps[: question.step + 1]) for a in answers_of(s) if a.name == name]
    if is_of_handover(question) or not declared or declared[0].continues:
        return None
    return None if _has_effect(question, before, after, rule) else _idle_answer(name, rule)


def _idle_answer(name: str, rule: Rule) -> str:
    return f"the answer “{name}” of “{rule.name}” ends the chain and nothing comes of it"


def _has_effect(question: ChainMessage, before: State, after: State, rule: Rule) -> bool:
    """Whether the answer led to a write, to a message (also a held one) other than the note that it was received, or to
    waiting for others.
    """
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
    book: Rulebook, rule: Rule, opening: StoryOpening, broken: Property, state: State, sentence: str
) -> Counterexample:
    over = state.failed or _is_over(state, rule) or rule.every is not None  # which would start again and again
    more = () if over else (LONG_WAIT,)
    path = state.path[:-1] if state.failed else state.path
    location = rule.steps[0].location if rule.steps else rule.location
    story = story_of(book, rulebook_with(book, rule, opening), opening, (*path, *more), broken)
    return Counterexample(broken, rule.name, FileFault(location, sentence), story)


def _is_over(state: State, rule: Rule) -> bool:
    return all(not chain.live for chain in state.chains(rule))


def story_of(book: Rulebook, found_in: Rulebook, opening: StoryOpening, path: Iterable[str], promise: Property) -> str:
    """The story file of these moves, by which a promise is not kept.

    It is played with all rules, as ``stet rules test`` plays it. Where they make a move impossible, it is played with
    ``found_in``, the rulebook with which it was found.
    """
    moves, sentence = tuple(path), f"breaks the promise that {promise}"
    try:
        return played_story(book, opening, moves, sentence)
    except UNPLAYABLE:
        return played_story(found_in, opening, moves, sentence)


# ------------------------------------------------------------------ languages


def _missing_languages(book: Rulebook, rule: Rule, opening: StoryOpening, most: int) -> Iterator[Counterexample]:
    """The counterexamples of missing languages: for each country of house.yaml with another language the rule is played
    with people who live there.
    """
    own_book = rulebook_with(book, rule, opening)
    for country, language in book.tenant.languages.items():
        said = _texts_outside(book, rule, country, language)
        lacking = sorted(name for name in said if not _has(book, name, language))
        if language == book.tenant.language or not lacking:
            continue
        listed = ", ".join(name if name in book.templates else f"the form {name}" for name in lacking)
        sentence = f"“{rule.name}” can write to people whose language is “{language}”, which {listed} lacks"
        first = book.templates.get(lacking[0]) or book.forms[lacking[0]]
        there = opening.in_country(country)
        path = _path_to_texts(own_book, rule, there, lacking, most)
        story = story_of(book, own_book, there, path or (), Property.LANGUAGE)
        yield Counterexample(Property.LANGUAGE, rule.name, FileFault(first.location, sentence), story)
        return


def _built_in_languages(book: Rulebook, openings: Mapping[RuleId, StoryOpening], most: int) -> Iterator[Counterexample]:
    """The same for the built-in templates, which the service sends to people outside the publisher whatever the rules
    are.
    """
    for country, language in book.tenant.languages.items():
        names = (name for name in (*BUILT_IN_TEMPLATES, *TYPED_FIELDS.values()) if name not in STAFF_TEMPLATES)
        lacking = sorted(name for name in names if not _has(book, name, language))
        if language == book.tenant.language or not lacking:
            continue
        sentence = f"people whose language is “{language}” can be written to, which {', '.join(lacking)} lacks"
        rule, story = "house", ""
        for name, opening in openings.items():
            own_book, there = rulebook_with(book, book.rules[name], opening), opening.in_country(country)
            path = _path_to_texts(own_book, book.rules[name], there, lacking, most)
            if path is not None:
                rule, story = name, story_of(book, own_book, there, path, Property.LANGUAGE)
                break
        yield Counterexample(Property.LANGUAGE, rule, FileFault(book.templates[lacking[0]].location, sentence), story)
        return


def _path_to_texts(
    book: Rulebook, rule: Rule, opening: StoryOpening, lacking: Collection[str], most: int
) -> tuple[str, ...] | None:
    """The moves after which a person outside gets one of these templates, or a question of one of these forms."""
    for _, _, state in explore(book, rule, opening, most).transitions:
        for effect in state.effects:
            if isinstance(effect, RequestedMessage) and effect.send.say.partition(".")[0] in lacking:
                return state.path
    return None


def _has(book: Rulebook, name: str, language: str) -> bool:
    found = book.templates.get(name) or book.forms.get(name)
    return found is None or language in found.languages or language.partition("_")[0] in found.languages


def _texts_outside(book: Rulebook, rule: Rule, country: str, language: str) -> set[str]:
    """The templates and forms that people outside the publisher, in this country, can get.

    They are those of steps that neither address staff alone nor leave all people of the country out.
    """
    found, forms = set[str](), set[str]()
    before: tuple[str | Team, ...] = ()
    for step in rule.steps:
        questions = tuple(questions_of(step))
        inner = tuple(question for question in questions if question.within)
        before += (*step.who, *(who for question in inner for who in question.who))
        reached = _is_outside(step.who, before) and _may_reach(rule, step, country, language)
        if step.say and reached:
            found.add(step.say)
        found |= {question.say for question in inner if _is_outside(question.who, before)}
        asked = [(step.form, step.who), *((a.form, q.who) for q in questions for a in q.answers.values())]
        forms |= {form for form, who in asked if form is not None and _is_outside(who, before)}
        tells = [step.tell, *(answer.tell for answer in answers_of(step))]
        found |= {tell.say for tell in tells if tell is not None and _is_outside(tell.who, before)}
    for form in map(book.forms.__getitem__, forms):
        found |= {form.name, *(say for say in (form.welcome, form.confirm, form.done) if say)}
    return found | {
        until.tell.say for until in rule.until if until.tell is not None and _is_outside(until.tell.who, before)
    }


def _may_reach(rule: Rule, step: Step, country: str, language: str) -> bool:
    """Whether the ``unless`` of a step can be false for a person of this country and language."""
    if step.unless is None or not names_recipient(step.unless):
        return True
    lives_there = Compare(f"{RECIPIENT}.country", Operator.IS, country)
    has_language = Compare(f"{RECIPIENT}.language", Operator.IS, language)
    reached = conjunction(NoneOf(step.unless), lives_there, has_language)
    try:
        return any(next(iter(solutions(reached, event)), None) is not None for event in rule.events)
    except TooManyValuesError:
        return True


_ADDRESSED_BEFORE = frozenset({"unanswered", "told"})


def _is_outside(who: Iterable[str | Team], before: Iterable[str | Team]) -> bool:
    """Whether it may name a person outside; ``before`` are all whom the rule has addressed by then."""
    named = set(who)
    if named & _ADDRESSED_BEFORE:
        named = (named - _ADDRESSED_BEFORE) | (set(before) - _ADDRESSED_BEFORE)
    return not all(isinstance(each, Team) or each in STAFF_ROLES for each in named)


# ------------------------------------------------------------------ races


def _races(book: Rulebook, rules: list[Rule], openings: dict[RuleId, StoryOpening], most: int, proof: Proof) -> None:
    """Two rules that start by one event and both ask for the same operation on its record are played together."""
    writing = [
        (rule, operation) for rule in rules if rule.name in openings for operation in sorted(operations_of(rule, book))
    ]
    for index, (rule, operation) in enumerate(writing):
        for other, same in writing[index + 1 :]:
            shared = set(rule.events) & set(other.events) - PERIODS.keys()  # a period is of one rule
            if same is not operation or other.name == rule.name or not shared:
                continue
            try:
                example = _race(book, (rule, other), operation, most)
            except TooManyValuesError:
                sentence = (
                    f"whether one event can start both “{rule.name}” and “{other.name}” is too large to be decided"
                )
                proof.undecided.append(FileFault(rule.location, sentence))
                continue
            if example is not None:
                proof.found.append(example)


def _race(book: Rulebook, rules: tuple[Rule, Rule], operation: WriteOperation, most: int) -> Counterexample | None:
    """The race by the first event of both that shows it. Raises TooManyValuesError."""
    rule, other = rules
    both_rules = with_rules_only(book, rule, other)
    for event in (event for event in rule.events if event in other.events):
        for values in islice(solutions(conjunction(rule.condition, other.condition), event), MOST_OPENINGS):
            opening = _merged(opening_of(book, rule, event, values), opening_of(book, other, event, values))
            path = _path_to_writes(both_rules, opening, rules, operation, most)
            if path is not None:
                sentence = (
                    f"“{rule.name}” and “{other.name}” can both ask for {operation} of one record, by the same {event}"
                )
                story = story_of(book, both_rules, opening, path, Property.RACE)
                return Counterexample(Property.RACE, rule.name, FileFault(rule.location, sentence), story)
    return None


def _merged(one: StoryOpening, other: StoryOpening) -> StoryOpening:
    return replace(one, people={**other.people, **one.people})


def _path_to_writes(
    book: Rulebook, opening: StoryOpening, rules: tuple[Rule, Rule], operation: WriteOperation, most: int
) -> tuple[str, ...] | None:
    """Moves after which both rules have asked for the operation on the same record.

    Each tries its own moves, and the other one then has its answers at the same instant.
    """
    course = [explore(book, rule, opening, most) for rule in rules]
    paths = [[state.path for _, _, state in each.transitions if _asked_for(state, operation)] for each in course]
    pairs = list(product(*(sorted(each, key=len)[:_MOST_PATHS] for each in paths)))
    for first, second in (*pairs, *(pair[::-1] for pair in pairs)):
        path = (*first, *(step for step in second if not step.startswith("wait until")))
        if _both_ask(book, opening, path, rules, operation):
            return path
    return None


def _asked_for(state: State, operation: WriteOperation) -> bool:
    return any(isinstance(e, RequestWrite) and e.input.operation is operation for e in state.effects)


def _both_ask(
    book: Rulebook, opening: StoryOpening, path: Iterable[str], rules: tuple[Rule, Rule], operation: WriteOperation
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


def _loops(book: Rulebook, openings: dict[RuleId, StoryOpening]) -> Iterator[Counterexample]:
    """The unbounded cycles of rules, in which each writes what starts the next; only of rules that can start."""
    for cycle in find_cycles(book):
        rules = [book.rules[start.rule] for start in cycle]
        if any(rule.name not in openings for rule in rules):
            continue
        first = rules[0]
        sentence = f"what these rules write can start them again, without end: {'; '.join(map(str, cycle))}"
        story = story_of(book, with_rules_only(book, *rules), openings[first.name], (), Property.LOOP)
        yield Counterexample(Property.LOOP, first.name, FileFault(first.location, sentence), story)


# ------------------------------------------------------------------ caps


def _prove_caps(book: Rulebook, openings: dict[RuleId, StoryOpening], proof: Proof) -> None:
    """Show each rule that passes the caps with its mix; of all other rules together no mix may exceed them."""
    cap = smallest_cap(book)
    if cap is None or not openings:
        return
    if cap >= MOST_EVENTS:
        sentence = f"a cap of {cap} messages is too large to be played"
        proof.undecided.append(FileFault(Location("limits.yaml", 1, 1), sentence))
        return
    over = list(excesses_of_one_rule(book, openings))
    for excess in over:
        brings = f"{excess.events} of its events bring one person {excess.count} messages"
        if excess.passes:
            sentence = f"“{excess.rules[0].name}” passes the cap of {excess.cap}: {brings}"
            proof.shown.append(_cap_example(book, excess, sentence))
        else:
            proof.found.append(_cap_example(book, excess, f"{brings}, over the cap of {excess.cap}"))
    names = {excess.rules[0].name for excess in over}
    together = excess_of_all_rules(book, {name: each for name, each in openings.items() if name not in names})
    if together is not None:
        sentence = (
            f"{together.events} events bring one person {together.count} messages, over the cap of {together.cap}"
        )
        proof.found.append(_cap_example(book, together, sentence))


def _cap_example(book: Rulebook, excess: CapExcess, sentence: str) -> Counterexample:
    rule = excess.rules[0]
    story = excess.story(book, f"brings one person {excess.count} messages, with a cap of {excess.cap}")
    return Counterexample(Property.CAP, rule.name, FileFault(rule.location, sentence), story)
