"""What an event does to chains: it may end those that live (``until``), replan them, or start new ones."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from msgspec import Raw, Struct

from services.rules import speak
from services.rules.advance import advance
from services.rules.chain import Chain, StepState, StepStatus
from services.rules.desk import Desk, Reason
from services.rules.ending import end_by_until
from services.rules.facts import Document, is_told
from services.rules.reference import Reference, needed_of
from services.rules.remembered import remembered
from services.rules.rulebook import OnRepeat, Rule, Rulebook, Step
from services.rules.terms import At
from services.rules.timing import due_of, lapsed, skip_past
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, Line, PersonId, RuleId, derive_id
from shared.contracts.values import encode


class Occasion(Struct, frozen=True):
    """An event as the rules see it: its short name, and the document its conditions read."""

    event: Event
    name: str
    document: Document
    line: Line | None = None

    def said(self) -> Raw:
        """What the event says, as a chain keeps it."""
        return Raw(encode(self.event.data))


def subject_of(fields: tuple[str, ...], document: Document, event_id: str) -> str | None:
    """``block_id=B-1``; None where the event lacks a field. Without ``about`` the event itself is the subject."""
    if not fields:
        return f"event={event_id}"
    values = [document.get(field) for field in fields]
    if any(value is None for value in values):
        return None
    return "|".join(f"{field}={value}" for field, value in zip(fields, values, strict=True))


def tags_of(rule: Rule, subject: str, document: Document) -> frozenset[str]:
    """What a live chain is found by: its subject, and the fields its ``until`` lines compare instead."""
    same = {until.same for until in rule.until if until.same}
    return frozenset({subject, *(f"{f}={v}" for f in same if (v := document.get(f)) is not None)})


@dataclass(frozen=True, slots=True)
class Opening:
    """What an event of one name could do at all: start rules, and end chains found by one of these ways.

    ``first`` looks only at that part of the rules' conditions which the event itself answers.
    """

    first: Reference
    about: Mapping[RuleId, tuple[str, ...]]
    ends: frozenset[tuple[tuple[str, ...], str | None]]

    def may_start(self, document: Document) -> frozenset[RuleId]:
        """Rules that what the event itself says does not rule out, whatever else is known."""
        return self.first.match(document)

    def tags(self, rules: Collection[RuleId], document: Document, event_id: str) -> frozenset[str]:
        """What live chains are found by that the event would meet if it started these rules, or that it may end."""
        if not rules and not self.ends:
            return _NOBODY
        subjects = {subject_of(about, document, event_id) for about in {self.about[rule] for rule in rules}}
        found = {tag for tag in subjects if tag is not None}
        return frozenset(found.union(self.tags_to_end(document, event_id)))

    def tags_to_end(self, document: Document, event_id: str) -> Collection[str]:
        if not self.ends:
            return _NOBODY
        ways = (
            subject_of(about, document, event_id) if same is None else _same_tag(same, document)
            for about, same in self.ends
        )  # fmt: skip
        return {tag for tag in ways if tag is not None}


_NOBODY: frozenset[str] = frozenset()
_NEVER = Opening(Reference(()), {}, frozenset())


def opening_of(book: Rulebook, name: str) -> Opening:
    return _openings(book.rules).get(name, _NEVER)


@remembered(most=64)
def _openings(named: Mapping[RuleId, Rule]) -> Mapping[str, Opening]:
    """Rulebooks that differ in their people only have the same rules: every story of a test has people of its own."""
    rules = tuple(named.values())
    names = {*(name for rule in rules for name in rule.events), *(u.event for rule in rules for u in rule.until)}
    return {name: _opening(rules, name) for name in names}


def _opening(rules: Iterable[Rule], name: str) -> Opening:
    starting = [rule for rule in rules if name in rule.events]
    return Opening(
        first=Reference([(rule.name, needed_of(rule.condition, is_told)) for rule in starting]),
        about={rule.name: rule.about for rule in starting},
        ends=frozenset((rule.about, until.same) for rule in rules for until in rule.until if until.event == name),
    )


def _same_tag(same: str | None, document: Document) -> str | None:
    value = document.get(same) if same else None
    return None if value is None else f"{same}={value}"


# ------------------------------------------------------------------ until


Ends = Callable[[Chain, int, str, Document], bool]
"""Whether an ``until`` line (by its index) of a chain's rule holds for an event of this name, in this document."""


def end_chains(desk: Desk, occasion: Occasion, ends: Ends) -> None:
    """Judged before ``on``: every live chain one of whose ``until`` lines this event makes true."""
    tags = opening_of(desk.book, occasion.name).tags_to_end(occasion.document, occasion.event.id)
    for chain in desk.world.tagged(tags) if tags else ():
        if not chain.active or chain.rule not in desk.book_of(chain).rules:
            continue
        index = _until(desk, chain, occasion, ends)
        if index is not None:
            desk.judged(Reason.UNTIL, chain)
            advance(desk, end_by_until(desk, chain, index, occasion.said()))


def _until(desk: Desk, chain: Chain, occasion: Occasion, ends: Ends) -> int | None:
    rule = desk.rule_of(chain)
    for index, until in enumerate(rule.until):
        if until.event != occasion.name or not _same_subject(desk, chain, rule, until.same, occasion):
            continue
        document = Document(
            occasion.document.data, desk.world, desk.book.calendar, desk.now, chain=chain,
            sender=occasion.document.sender,
        )  # fmt: skip
        if ends(chain, index, occasion.name, document):
            return index
    return None


def _same_subject(desk: Desk, chain: Chain, rule: Rule, same: str | None, occasion: Occasion) -> bool:
    if same is None:
        return subject_of(rule.about, occasion.document, occasion.event.id) == chain.subject
    value = occasion.document.get(same)
    return value is not None and value == desk.document(chain).get(same)


# ------------------------------------------------------------------ start and replan


def begin_chains(desk: Desk, occasion: Occasion, matched: Iterable[Rule]) -> bool:
    """Start or replan a chain for each matched rule; False where none of them has a subject here."""
    spoke = False
    for rule in matched:
        subject = subject_of(rule.about, occasion.document, occasion.event.id)
        if subject is None:
            continue
        spoke = True
        live = desk.world.active_chain(rule.name, subject)
        if live is None:
            start(desk, occasion, rule, subject)
        elif rule.on_repeat is OnRepeat.IGNORE:
            desk.judged(Reason.ALREADY_LIVE, live)
        else:
            replan(desk, live, occasion)
    return spoke


def start(desk: Desk, occasion: Occasion, rule: Rule, subject: str) -> Chain:
    event = occasion.event
    tags = tuple(sorted(tags_of(rule, subject, occasion.document)))
    chain = Chain(
        chain_id=ChainId(derive_id("chain", desk.tenant, rule.name, subject, event.id)), tenant=desk.tenant,
        rule=rule.name, revision=desk.book.revision, subject=subject, tags=tags, key=event.partitionkey,
        started_at=desk.now, base_at=desk.now, start_name=occasion.name, start=occasion.said(),
        correlation=event.correlationid or event.id, traceparent=event.traceparent,
        line=occasion.line, steps=(StepState(),) * len(rule.steps),
    )  # fmt: skip
    desk.judged(Reason.STARTED, chain)
    return advance(desk, skip_past(desk, chain))


def replan(desk: Desk, chain: Chain, occasion: Occasion) -> Chain:
    """``at`` steps that now lie ahead are due again; of those past the latest unsent goes now; ``after`` stays."""
    shown = _shown(desk, chain)
    chain = chain.replace(event=occasion.said())
    desk.judged(Reason.REPLANNED, chain)
    if _shown(desk, chain) != shown:
        chain = _ask_afresh(desk, chain)
    late = []
    for step in desk.rule_of(chain).steps:
        if not isinstance(step.timing, At) or due_of(desk, chain, step) is None:
            continue
        if not lapsed(desk, chain, step):
            chain = _again(desk, chain, step.index)
        elif chain.steps[step.index].status is StepStatus.PENDING:
            late.append(step.index)
    for index in late[:-1]:
        chain = chain.with_step(index, status=StepStatus.SKIPPED)
    return advance(desk, chain)


def _again(desk: Desk, chain: Chain, index: int) -> Chain:
    """A step that ran for an earlier date runs for the new one; what of it is unsent is taken back."""
    state = chain.steps[index]
    if state.status is StepStatus.PENDING:
        return chain
    chain = speak.withdraw(desk, chain, "replaced", lambda m: m.step == index and m.answer is None)
    chain = chain.replace(handed_over=tuple(h for h in chain.handed_over if h.step != index))
    return chain.with_step(
        index, status=StepStatus.PENDING, occurrence=state.occurrence + 1, left_out={}, unreached=False
    )


def _shown(desk: Desk, chain: Chain) -> dict[PersonId, tuple[str, ...]]:
    """The values each open question showed, as its template would fill them now."""
    document = desk.document(chain)
    shown = {}
    for outgoing in chain.outgoing:
        if outgoing.open and outgoing.answer is None:
            template = speak.template_of(desk, chain, outgoing.say)
            shown[outgoing.person_id] = tuple(str(document.get(path)) for path in template.fields.values())
    return shown


def _ask_afresh(desk: Desk, chain: Chain) -> Chain:
    """The question is closed (``replaced``), and asked again at once unless its step has a time of its own."""
    chain = speak.close_questions(speak.withdraw(desk, chain, "replaced"))
    for step in desk.rule_of(chain).steps:
        if step.answers and chain.steps[step.index].over:
            chain = _asked_again(desk, chain, step)
    return chain


def _asked_again(desk: Desk, chain: Chain, step: Step) -> Chain:
    if isinstance(step.timing, At):
        return chain
    return _again(desk, chain.with_step(step.index, status=StepStatus.DONE), step.index)
