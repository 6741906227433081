"""Checks of one rule: its events, subject, conditions, people, steps, writes, and the events that end it."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from services.rules.rulebook.addressee_validation import (
    ANSWERING,
    SENDER,
    TOLD,
    UNANSWERED,
    check_addressees,
    check_each_addressee,
    check_recipient_roles,
    check_team,
)
from services.rules.rulebook.attachments import check_attachments
from services.rules.rulebook.built_in import RESERVED_PREFIX
from services.rules.rulebook.catalogue import (
    CHAIN,
    EVENTS,
    MESSAGE_RECEIVED,
    STAFF_ROLES,
    FieldType,
    party_fields,
    resolve,
)
from services.rules.rulebook.contradictions import check_contradictions, check_never_done, check_order
from services.rules.rulebook.field_validation import FieldScope, check_condition, present_if, present_unless
from services.rules.rulebook.joining_validation import check_joining
from services.rules.rulebook.model import (
    ALWAYS,
    RECEIVED,
    AnswerAction,
    At,
    Field,
    Location,
    OnRepeat,
    Question,
    Quorum,
    Rule,
    Severity,
    Step,
    Team,
    Until,
    Verb,
    WriteAction,
    comparisons,
)
from services.rules.rulebook.periods import PERIODS
from services.rules.rulebook.recurrence_validation import check_recurrence
from services.rules.rulebook.template_uses import uses_of
from services.rules.rulebook.template_validation import check_languages, check_use
from services.rules.rulebook.times import WHOLE_DAYS
from services.rules.rulebook.validation_context import ValidationContext
from services.rules.rulebook.write_validation import check_write
from services.rules.rulebook.yaml_nodes import MappingNode, Node, SequenceNode
from shared.clients.whatsapp_limits import BUTTONS
from shared.contracts.vocabulary import Role

# ------------------------------------------------------------------ steps

_ROLES = frozenset(Role)
_LAST = frozenset({Verb.GIVE_UP, Verb.HAND_OVER, Verb.TELL, Verb.RECORD})
_ASKING = frozenset({Verb.ASK, Verb.COLLECT})
_WITHOUT_WORDS = (
    "a step that hands over needs “say”: the words of the house quote a message or an answer, and there is none here"
)


def check_steps(context: ValidationContext, rule: Rule) -> None:
    for step in rule.steps:
        _check_step(context, rule, step)
    _check_end(context, rule)
    check_order(rule, context.report)
    check_never_done(rule, context.report)
    last = rule.steps[-1] if rule.steps else None
    if last is not None and _is_remind_of_nothing(last, rule.steps[:-1]):
        return  # which is reported
    if last is not None and last.verb not in _LAST and not _is_followed(context, rule, last):
        context.report.add(
            last.location, f"the last step is “{last.verb}”; a rule ends with {', '.join(sorted(_LAST))}"
        )


def _is_followed(context: ValidationContext, rule: Rule, step: Step) -> bool:
    """Whether the file has a further step, which could not be read."""
    tree = context.loaded.trees.get(rule.location.file)
    steps = tree.nodes.get("steps") if isinstance(tree, MappingNode) else None
    return isinstance(steps, SequenceNode) and len(steps.nodes) > step.index + 1


def _check_step(context: ValidationContext, rule: Rule, step: Step) -> None:
    before = [each for each in rule.steps if each.index < step.index]
    are_read = len(before) == step.index  # a step without a verb is none, which is reported
    if _is_remind_of_nothing(step, before) and are_read:
        context.report.add(step.location, "there is nothing to remind of: no question and no form comes before")
    is_torn = any(context.report.has_fault_on(each.location) for each in rule.steps if each.index == step.index + 1)
    if step.verb is Verb.HAND_OVER and step.say is None and set(rule.events) != {MESSAGE_RECEIVED} and not is_torn:
        location = context.loaded.key_location(rule.location.file, "steps", step.index, "hand_over")
        context.report.add(location, _WITHOUT_WORDS)
    scope = FieldScope(rule.events, context.report, present=present_if(rule.condition) | present_unless(step.unless))
    check_condition(step.unless, replace(scope, for_each=step.verb in RECEIVED))
    check_contradictions(step.unless, context.report)
    check_recipient_roles(context, rule, step)
    _check_people(context, rule, step)
    _check_time(context, rule, step, scope)
    _check_form(context, step.form, context.location(rule, "steps", step.index, "form"))
    _check_answers(context, rule, step, scope)
    if step.record is not None:
        _check_writes(context, rule, step.record, scope, ("steps", step.index))


def _is_remind_of_nothing(step: Step, before: Sequence[Step]) -> bool:
    return step.verb is Verb.REMIND and not any(each.verb in _ASKING for each in before)


def _check_end(context: ValidationContext, rule: Rule) -> None:
    """Report the first step behind the end of the chain."""
    last = next((step.index for step in rule.steps if step.verb is Verb.GIVE_UP), len(rule.steps))
    after = next((step for step in rule.steps if step.index > last), None)
    if after is not None:
        context.report.add(after.location, "nothing comes after “give_up”")


def _check_people(context: ValidationContext, rule: Rule, step: Step) -> None:
    _check_earlier(context, rule, step)
    if step.verb not in (Verb.RECORD, Verb.GIVE_UP):
        check_addressees(context, rule, step.who, "steps", step.index, step.verb)
    if step.tell is not None:
        check_addressees(context, rule, step.tell.who, "steps", step.index, "tell")
    _check_copies(context, rule, step)


def _check_earlier(context: ValidationContext, rule: Rule, step: Step) -> None:
    """``told`` and ``unanswered`` name people of earlier steps."""
    before = rule.steps[: step.index]
    earlier = {
        TOLD: any(each.verb in _REACHING or each.tell is not None for each in before),
        UNANSWERED: step.verb is Verb.REMIND or any(each.verb in _ASKING for each in before),
    }
    locations = context.locations(rule, len(step.who), "steps", step.index, step.verb)
    for name, location in zip(step.who, locations, strict=True):
        if isinstance(name, str) and not earlier.get(name, True):
            context.report.add(location, f"“{name}” names no person here: {_MISSING[name]}")


_REACHING = frozenset({Verb.TELL, Verb.ASK, Verb.REMIND, Verb.COLLECT, Verb.HAND_OVER})
_MISSING = {
    TOLD: "no step above sends a message",
    UNANSWERED: "no question and no form comes before",
}


def _check_copies(context: ValidationContext, rule: Rule, step: Step) -> None:
    """Copies go to members of staff, by team or by a role of people.yaml."""
    locations = context.locations(rule, len(step.cc), "steps", step.index, "cc")
    staff = STAFF_ROLES | context.staffed
    outside = context.roles | {party for event in rule.events for party in party_fields(event)} | ANSWERING
    for name, location in zip(step.cc, locations, strict=True):
        if isinstance(name, str) and name in outside - staff:
            sentence = f"copies are for members of staff, and “{name}” may be a person outside the house"
            context.report.add(location, sentence)
        elif name in step.who and name:
            written = f"{{team: {name.name}}}" if isinstance(name, Team) else f"“{name}”"
            context.report.refuse(location, f"{written} gets the message itself, and needs no copy of it")
        else:
            check_each_addressee(context, rule, (name,), (location,))


def _check_time(context: ValidationContext, rule: Rule, step: Step, scope: FieldScope) -> None:
    if not isinstance(step.timing, At):
        return
    location = context.location(rule, "steps", step.index, "at")
    found = scope.require(step.timing.field, location, "a step is timed by it")
    if found is None:
        return
    if found.type not in (FieldType.DATE, FieldType.INSTANT):
        context.report.add(location, f"“{found.path}” is no date and no instant")
    elif found.type is FieldType.DATE and step.timing.duration and step.timing.duration.unit not in WHOLE_DAYS:
        context.report.add(location, f"“{found.path}” is a date; count days or working days from it")


def _check_form(context: ValidationContext, form: str | None, location: Location) -> None:
    if form and form not in context.forms:
        context.report.unknown(location, f"there is no form “{form}”", form, context.forms)


def _check_answers(context: ValidationContext, rule: Rule, step: Step, scope: FieldScope) -> None:
    if step.verb is Verb.ASK:
        question = Question(step.who, step.say or "", step.answers)
        _check_question(context, rule, question, scope, ("steps", step.index), depth=1)


def _check_question(
    context: ValidationContext,
    rule: Rule,
    question: Question,
    scope: FieldScope,
    path: tuple[str | int, ...],
    *,
    depth: int,
) -> None:
    """``path`` leads to the mapping with the key ``ask``."""
    location = context.location(rule, *path, "answers")
    if not question.answers and context.loaded.has_mapping(rule.location.file, *path, "answers"):
        context.report.add(location, "a question has at least one answer")
    if len(question.answers) > BUTTONS:
        context.report.add(location, f"a question has at most {BUTTONS} answers, one for each button")
    _check_vetoes(context, rule, question, (*path, "answers"))
    for answer in question.answers.values():
        inner = (*path, "answers", answer.name)
        _check_answer(context, rule, answer, scope, inner)
        _check_quorum_number(context, rule, question, answer, inner)
        if answer.ask is None:
            continue
        check_addressees(context, rule, answer.ask.who, *inner, "ask", answered=True)
        if depth == MOST_QUESTIONS:
            sentence = f"at most {MOST_QUESTIONS} questions follow one another by their answers; make this a step"
            context.report.add(context.location(rule, *inner, "ask"), sentence)
        else:
            _check_question(context, rule, answer.ask, scope, inner, depth=depth + 1)


MOST_QUESTIONS = 3
"""How many questions may follow one another by their answers."""


def _check_vetoes(context: ValidationContext, rule: Rule, question: Question, path: tuple[str | int, ...]) -> None:
    """A veto overrules people who must agree, so another answer needs them to."""
    if any(answer.quorum is not Quorum.FIRST for answer in question.answers.values()):
        return
    quorums = (context.location(rule, *path, name, "quorum") for name in question.answers)
    written = (context.loaded.has(rule.location.file, *path, name, "quorum") for name in question.answers)
    if any(
        is_written and context.report.has_fault_on(where) for is_written, where in zip(written, quorums, strict=True)
    ):
        return  # it could not be read
    for answer in question.answers.values():
        if answer.veto:
            sentence = (
                "the first answer decides here anyway, so there is nothing to veto; give another answer a “quorum”"
            )
            context.report.add(context.location(rule, *path, answer.name, "veto"), sentence)


def _check_answer(
    context: ValidationContext, rule: Rule, answer: AnswerAction, scope: FieldScope, path: tuple[str | int, ...]
) -> None:
    if answer.tell is not None:
        check_addressees(context, rule, answer.tell.who, *path, "tell", answered=True)
    if answer.hand_over is not None:
        check_addressees(context, rule, answer.hand_over.who, *path, "hand_over", answered=True)
    if answer.record is not None:
        _check_writes(context, rule, answer.record, scope, path)
    if isinstance(answer.quorum, Field):
        _check_quorum_field(answer.quorum, scope)
    _check_form(context, answer.form, context.location(rule, *path, "form"))


def _check_quorum_number(
    context: ValidationContext, rule: Rule, question: Question, answer: AnswerAction, path: tuple[str | int, ...]
) -> None:
    """Where the event or people.yaml alone says who is asked, so many of them there are."""
    if not isinstance(answer.quorum, int):
        return
    location = context.location(rule, *path, "quorum")
    asked = _staff_asked(context, rule, question)
    if asked is not None and answer.quorum > asked:
        people = "person is" if asked == 1 else "people are"
        sentence = f"only {asked} {people} asked here, so a quorum of {answer.quorum} is never reached"
        context.report.add(location, sentence)
    elif _is_one_party(rule, question) and not context.report.has_fault_on(location):
        sentence = f"“{question.who[0]}” is one person, so a quorum of {answer.quorum} is never reached"
        context.report.refuse(location, sentence)


def _staff_asked(context: ValidationContext, rule: Rule, question: Question) -> int | None:
    """The most people whom people.yaml can name; None where the event or the work may name others."""
    parties = {party for event in rule.events for party in party_fields(event)}
    people = context.book.people
    asked: set[int] = set()
    for who in question.who:
        if isinstance(who, Team):
            asked.update(each for contacts in people.teams.get(who.name, {}).values() for each in contacts)
        elif who in STAFF_ROLES - parties and context.reads_whole("people.yaml") and not _is_of_works(who):
            tables = (*people.teams.values(), *people.imprints.values())
            asked.update(each for table in tables for each in table.get(who, ()))
        else:
            return None
    return len(asked) or None


def _is_one_party(rule: Rule, question: Question) -> bool:
    """Whether one person alone is asked: the sender, or a party of which every event has one."""
    if len(question.who) != 1 or not isinstance(who := question.who[0], str):
        return False
    found = [resolve((event,), who) for event in rule.events]
    return who == SENDER or all(spec is not None and spec.type is FieldType.PARTY for spec in found)


def _is_of_works(role: str) -> bool:
    """A work may name people of its own in every role that Consonance knows."""
    return role in _ROLES


def _check_quorum_field(named: Field, scope: FieldScope) -> None:
    """The field has the words of a quorum, or the number of people."""
    found = scope.events and resolve(scope.events, named.name)
    if found and found.type is FieldType.NUMBER:
        scope.require(named.name, named.location, "the rule leans on it")
    else:
        check_choice(named, tuple(Quorum), scope)


def check_choice(named: Field, words: tuple[str, ...], scope: FieldScope) -> None:
    """A field that is used for one of these words must have no other values."""
    found = scope.require(named.name, named.location, "the rule leans on it")
    if found is not None and not (found.values and set(found.values) <= set(words)):
        scope.report.add(named.location, f"“{found.path}” is not one of {', '.join(words)}")


def _check_writes(
    context: ValidationContext, rule: Rule, record: WriteAction, scope: FieldScope, path: tuple[str | int, ...]
) -> None:
    check_write(context, rule, record, scope, path)
    check_condition(record.unless, scope)
    if record.then is not None:
        _check_writes(context, rule, record.then, scope, (*path, "then"))


# ------------------------------------------------------------------ the rule

_WHOLE = frozenset({FieldType.PARTY, FieldType.RECORD, FieldType.LIST})


def check_rule(context: ValidationContext, rule: Rule) -> None:
    if rule.events and all(event in EVENTS for event in rule.events):
        rule = _without_odd_events(context, rule)
    if rule.name.startswith(RESERVED_PREFIX):
        context.report.add(
            context.location(rule, "rule"), f"names that begin with “{RESERVED_PREFIX}” are the house's own"
        )
    check_team(context, rule.owner, context.location(rule, "owner"))
    check_languages(context, rule.why, context.location(rule, "why"), "“why”")
    if not _check_events(context, rule):
        return
    check_recurrence(context, rule)
    _check_restarts(context, rule)
    scope = FieldScope(rule.events, context.report, present=present_if(rule.condition))
    check_condition(rule.condition, scope)
    check_contradictions(rule.condition, context.report)
    _check_lines(context, rule)
    _check_subjects(context, rule, scope)
    if isinstance(rule.severity, Field):
        check_choice(rule.severity, tuple(Severity), scope)
    check_steps(context, rule)
    if rule.on_repeat is OnRepeat.JOIN:
        check_joining(context, rule)
    check_attachments(context, rule)
    for until in rule.until:
        _check_until(context, rule, until)
    for use in uses_of(context, rule):
        check_use(context, use)


def _check_lines(context: ValidationContext, rule: Rule) -> None:
    """The numbers that a rule is for are those of house.yaml, where it lists them."""
    lines = context.book.tenant.lines
    if not lines or not context.reads_whole("house.yaml"):
        return
    for name, location in lines_of(rule):
        if name not in lines:
            context.report.unknown(location, f"house.yaml lists no line “{name}”", name, lines, listed=True)


def lines_of(rule: Rule) -> Iterator[tuple[str, Location]]:
    """The numbers that its conditions name, each with its place."""
    conditions = (rule.condition, *(step.unless for step in rule.steps))
    for compare in (each for condition in conditions if condition is not None for each in comparisons(condition)):
        if compare.field != _LINE or isinstance(compare.operand, Field):
            continue
        named = compare.operand if isinstance(compare.operand, tuple) else (compare.operand,)
        for name, location in zip(named, compare.operand_locations, strict=False):
            if isinstance(name, str) and name:
                yield name, location


_LINE = "line"
"""The field of a message with the number that it was written to."""


def _without_odd_events(context: ValidationContext, rule: Rule) -> Rule:
    """Reports an event beside others that has not what the rule is about, and leaves it out: it has nothing else."""
    present = present_if(rule.condition)
    odd: dict[str, str] = {}
    for event in dict.fromkeys(rule.events):
        lacks = (name for name in rule.about if resolve((event,), name) is None and resolve(rule.events, name))
        if (name := next(lacks, None)) is not None and name not in present:
            odd[event] = name
    for event, name in odd.items():
        sentence = f"{event} has no “{name}”, which the rule is about; write a rule of its own for this event"
        context.report.add(context.location(rule, "on", rule.events.index(event)), sentence)
    return replace(rule, events=tuple(each for each in rule.events if each not in odd)) if odd else rule


_LIKE = 2
"""How many events are shown of those that begin in the same way."""


def _check_events(context: ValidationContext, rule: Rule) -> bool:
    """False where an event is unknown: every field would be unknown too."""
    for event, count in Counter(rule.events).items():
        location = context.location(rule, "on", rule.events.index(event))
        if event and count > 1:
            second = rule.events.index(event, rule.events.index(event) + 1)
            context.report.add(context.location(rule, "on", second), f"“{event}” is named twice")
        if "*" in event:
            begun = sorted(each for each in EVENTS if each.startswith(event.partition("*")[0]))[:_LIKE]
            like = f", like [{', '.join(begun)}]" if begun and not event.startswith("*") else ""
            context.report.add(location, f"“{event}”: each event is named by itself{like}")
        elif event and event not in EVENTS:
            context.report.unknown(location, f"there is no event “{event}”", event, EVENTS, several=True)
        elif event in PERIODS and rule.every is None:
            sentence = f"“{event}” is the event of recurring rules; write “every: monday at 09:00” instead of “on”"
            context.report.add(location, sentence)
    return bool(rule.events) and all(event in EVENTS for event in rule.events)


def _check_restarts(context: ValidationContext, rule: Rule) -> None:
    """A field that a rule does not write cannot start it again."""
    tree = context.loaded.trees.get(rule.location.file)
    if rule.restarts is not None and tree is not None and not _writes(tree):
        sentence = "no step of this rule writes, so nothing starts it again; take “restarts” out"
        context.report.refuse(context.loaded.key_location(rule.location.file, "restarts"), sentence)


def _writes(node: Node) -> bool:
    """Whether “record” or a form stands anywhere in it."""
    if isinstance(node, MappingNode):
        return not node.nodes.keys().isdisjoint({"record", "form"}) or any(map(_writes, node.nodes.values()))
    return isinstance(node, SequenceNode) and any(map(_writes, node.nodes))


def _check_subjects(context: ValidationContext, rule: Rule, scope: FieldScope) -> None:
    if not rule.about and context.is_written(rule, "about"):
        context.report.add(context.location(rule, "about"), "“about” names no field; name one, or leave “about” out")
    for index, name in enumerate(rule.about):
        if name and name in rule.about[:index]:
            context.report.add(context.location(rule, "about", index), f"“{name}” is named twice")
        else:
            _check_subject(replace(scope, several=True), name, context.location(rule, "about", index))


def _check_subject(scope: FieldScope, name: str, location: Location) -> None:
    found = scope.require(name, location, "a chain is about it")
    if found is not None and found.type in _WHOLE:
        scope.report.add(location, f"“{name}” is a {found.type} and names no subject; name a field of it")


def _check_until(context: ValidationContext, rule: Rule, until: Until) -> None:
    endings, path = EVENTS.keys() - {MESSAGE_RECEIVED, *PERIODS}, context.until_path(rule, until)
    if not until.event:
        return  # it could not be read
    if until.event not in endings:
        sentence = f"no event “{until.event}” ends a chain"
        events = [each.event for each in rule.until if each.location == until.location]
        location = context.location(rule, *path, "on", events.index(until.event))
        if _is_time(rule, until.event):
            sentence = (
                f"“{until.event}” is a time, and “until” names an event; what ends by time is a step with “give_up”"
            )
            context.report.add(location, sentence)
            return
        context.report.unknown(location, sentence, until.event, endings, several=True)
        return
    if until.event in [each.event for each in _above(rule, until) if each.condition == ALWAYS]:
        sentence = f"“{until.event}” ends the chain by a line above already; take one of them away"
        context.report.refuse(until.location, sentence)
        return
    check_contradictions(until.condition, context.report)
    beside = tuple(each.event for each in rule.until if each.location == until.location)
    check_condition(until.condition, FieldScope((until.event,), context.report, rule.events, beside=beside))
    if until.tell is not None:
        check_addressees(context, rule, until.tell.who, *path, "tell")
    _check_same(context, rule, until, context.location(rule, *path, "same"))


_DURATION = re.compile(r"[0-9]+ (?:working )?(?:minute|hour|day|week|month)s?(?: .*)?")


def _is_time(rule: Rule, written: str) -> bool:
    found = resolve(rule.events, written)
    is_date = found is not None and found.type in (FieldType.DATE, FieldType.INSTANT)
    return is_date or _DURATION.fullmatch(written) is not None


def _above(rule: Rule, until: Until) -> Iterator[Until]:
    return takewhile(lambda each: each is not until, rule.until)


def _check_same(context: ValidationContext, rule: Rule, until: Until, location: Location) -> None:
    """Both events must have the fields that name the subject, which ``same`` at ``location`` may say."""
    if until.same is not None:
        events = (FieldScope((event,), context.report) for event in (*rule.events, until.event))
        all(scope.find(until.same, location) is not None for scope in events)  # the first that lacks it is said
        return
    if not rule.about and not context.is_written(rule, "about"):
        context.report.repeated(
            until.location, "a rule without “about” has no subject that an event could end; say “same: …”"
        )
    for name in rule.about:
        if resolve(rule.events, name) is None:
            continue  # no field of the events that start the rule, which is reported
        if name.partition(".")[0] != CHAIN and resolve((until.event,), name) is None:
            sentence = f"{until.event} has no “{name}”, so it would end nothing; say “same: …” with a field both have"
            context.report.add(until.location, sentence)
