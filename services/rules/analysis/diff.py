"""Compares two rulebooks by the messages that they send about the same events.

A message is gained, lost, moved to another time, said in other words, or goes with another document.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from ruamel.yaml import YAML

from services.rules.analysis.bundle import Bundle, LiveChain, UnreadableBundle
from services.rules.analysis.virtual_run import (
    HOUSE,
    EndedCase,
    Message,
    RunResult,
    VirtualRun,
    held_messages,
    message_of,
)
from services.rules.conversation.context import RequestedMessage
from services.rules.conversation.event_rules import OWN_SUBJECT
from services.rules.rulebook.built_in import RESERVED_PREFIX, add_built_in_rules
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rule, Rulebook
from services.rules.rulebook.rule_folder import FORM, RULE, STORIES, TEMPLATE, stem
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import ExpectStep, Story, UnplayableStep, read_stories
from shared.clients.rate_card import RateCard, read_rate_card
from shared.contracts.ids import RuleId
from shared.runtime.startup import end_with_parent

_SAME_TIME = timedelta(minutes=1)
_PROCESSES = 2
_MARKETING = "marketing"
_PEOPLE = "people.yaml"
_RECURRING = re.compile(r"^every:", re.MULTILINE)

# ------------------------------------------------------------------ changes


class ChangeKind(StrEnum):
    GAINED = "gained"
    LOST = "lost"
    MOVED = "moved"
    REWORDED = "reworded"
    DOCUMENT_CHANGED = "document changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One message that differs; ``before`` is None for a gained one, ``after`` for a lost one."""

    kind: ChangeKind
    before: Message | None
    after: Message | None

    @property
    def message(self) -> Message:
        found = self.after or self.before
        if found is None:
            raise ValueError("a change is of a message")
        return found


def compare(before: Iterable[Message], after: Iterable[Message]) -> list[Change]:
    """Pairs the messages of each rule about each subject to each person; what has no partner is lost or gained."""
    grouped: dict[tuple[str, ...], tuple[list[Message], list[Message]]] = defaultdict(lambda: ([], []))
    for side, messages in enumerate((before, after)):
        for message in messages:
            grouped[message.case, message.rule, _subject(message), message.person][side].append(message)
    changes: list[Change] = []
    for old, new in grouped.values():
        if old != new:
            changes += _compare_group(old, new)
    return sorted(changes, key=lambda change: change.message.at)


def _subject(message: Message) -> str:
    """The subject of a message; empty where its subject is its event alone, whose id differs in stories that have other
    events before it.
    """
    return "" if message.case and message.subject.startswith(OWN_SUBJECT) else message.subject


def _compare_group(old: Sequence[Message], new: Sequence[Message]) -> list[Change]:
    """Pair equal messages first; then those with the same template and time, with the same template, and with the same
    verb.

    Where one of two reminders is gone, only that one counts as lost, and the other as unchanged.
    """
    pairs: list[tuple[Message, Message]] = []
    lost, gained = list(old), list(new)
    for key in (_itself, _template_and_time, _template, _verb):
        more, lost, gained = _pair(lost, gained, key)
        pairs += more
    changes = [Change(ChangeKind.LOST, one, None) for one in lost]
    changes += [Change(ChangeKind.GAINED, None, one) for one in gained]
    for one, other in pairs:
        if abs(one.at - other.at) > _SAME_TIME:
            changes.append(Change(ChangeKind.MOVED, one, other))
        is_written = bool(one.text and other.text)  # a message is not yet while it waits
        if one.say != other.say or (is_written and (one.text, one.language) != (other.text, other.language)):
            changes.append(Change(ChangeKind.REWORDED, one, other))
        if is_written and (one.document, one.needs_document) != (other.document, other.needs_document):
            changes.append(Change(ChangeKind.DOCUMENT_CHANGED, one, other))
    return changes


def _itself(message: Message) -> Hashable:
    return message


def _template_and_time(message: Message) -> Hashable:
    return message.say, message.at


def _template(message: Message) -> Hashable:
    return message.say


def _verb(message: Message) -> Hashable:
    return message.verb


def _pair(
    old: Iterable[Message], new: Iterable[Message], key: Callable[[Message], Hashable]
) -> tuple[list[tuple[Message, Message]], list[Message], list[Message]]:
    waiting: dict[Hashable, list[Message]] = defaultdict(list)
    for message in old:
        waiting[key(message)].append(message)
    pairs: list[tuple[Message, Message]] = []
    gained: list[Message] = []
    for message in new:
        if known := waiting[key(message)]:
            pairs.append((known.pop(0), message))
        else:
            gained.append(message)
    return pairs, [message for left in waiting.values() for message in left], gained


# ------------------------------------------------------------------ prices


def read_prices(path: Path | None = None) -> RateCard:
    """Meta's list as far as it is known here, or the tenant's own card. Raises RateCardInvalid."""
    return read_rate_card(path or Path(__file__).with_name("whatsapp_rates.toml"))


@dataclass(frozen=True, slots=True)
class Cost:
    """``unpriced`` counts the messages to each country without a price: they are not in the amount."""

    amount: Decimal
    unpriced: Mapping[str, int]
    categories: Mapping[str, int]


def cost_of(messages: Iterable[Message], prices: RateCard) -> Cost:
    """A message without a template is priced like one of the utility category: it may come to need one."""
    amount, unpriced, categories = Decimal(0), Counter[str](), Counter[str]()
    for message in messages:
        category = _MARKETING if message.category == _MARKETING else "utility"
        price = prices.price(message.country, category, message.at.date())
        categories[message.category] += 1
        if price is None:
            unpriced[message.country] += 1
        amount += price or 0
    return Cost(amount, unpriced, categories)


# ------------------------------------------------------------------ the difference of two rulebooks


class ChainOutcome(StrEnum):
    """The effect of new rules on a chain that runs when they come into force."""

    UNCHANGED = "unchanged"
    PINNED = "pinned"
    MIGRATED = "migrated"
    CANCELLED = "cancelled"


_BY_POLICY = {"pin": ChainOutcome.PINNED, "migrate": ChainOutcome.MIGRATED, "cancel": ChainOutcome.CANCELLED}


@dataclass(frozen=True, slots=True)
class Difference:
    """``source`` says in words which events were played, ``is_recorded`` whether they happened.

    ``chain_outcomes`` counts live chains, by rule. ``failures`` are sentences about events that could not be decided,
    with their number, before and after. ``changed_rules`` is None where any rule may decide otherwise; where
    ``is_partial``, the messages are those of the changed rules alone. ``unseen`` are sentences about changes that had
    no effect on anything that was played.
    """

    source: str
    changes: Sequence[Change]
    before: Sequence[Message]
    after: Sequence[Message]
    endings: Sequence[tuple[EndedCase, str]] = ()
    chain_outcomes: Mapping[tuple[str, ChainOutcome], int] = field(default_factory=dict)
    failures: tuple[Mapping[str, int], Mapping[str, int]] = ({}, {})
    changed_rules: Sequence[str] | None = ()
    unseen: Sequence[str] = ()
    is_partial: bool = False
    since: datetime | None = None
    until: datetime | None = None
    is_recorded: bool = True


Files = Mapping[str, str]


def _load(files: Files, name: str) -> Rulebook:
    book, faults = load(files)
    if book is None:
        raise UnreadableBundle(name, f"its rules are at fault: {faults[0]}; run stet rules check first")
    return book


def changed_rules(base: Files, head: Files) -> frozenset[str] | None:
    """The rules whose decisions may differ; None where that may be any of them.

    A rule differs where its file does, or one of a template or form that it names.
    """
    differing = {name for name in {*base, *head} if base.get(name) != head.get(name) and not name.endswith(STORIES)}
    kinds = (RULE, TEMPLATE, FORM)
    if any(not name.endswith(kinds) or "/house/" in f"/{name}" for name in differing):
        return None
    found, names = set[str](), {stem(name) for name in differing}
    while True:
        texts = [(n, text) for files in (base, head) for n, text in files.items() if n.endswith((RULE, FORM))]
        naming = {stem(n) for n, text in texts if stem(n) in names or any(name in text for name in names)}
        if naming <= found:
            return frozenset(found)
        found |= naming
        names |= naming


def rulebook_for(files: Files, rules: frozenset[str] | None) -> Rulebook:
    """The rulebook with these rules, and those that they list: the others send the same before and after."""
    book = _load(files, "the rules")
    if rules is not None and not _has_caps(files):
        played = rules.union(*(_listed(rule, book) for name, rule in book.rules.items() if name in rules))
        book = replace(book, rules={name: rule for name, rule in book.rules.items() if name in played})
    return add_built_in_rules(book)


def _listed(rule: Rule, book: Rulebook) -> Collection[str]:
    """The rules whose open chains a recurring rule lists."""
    return () if rule.listing is None else rule.listing.rules or book.rules.keys()


def _with_lists(rules: frozenset[str] | None, *books: Rulebook) -> frozenset[str] | None:
    """These rules, with the recurring rules that list their open chains."""
    if not rules:
        return rules
    each = ((name, _listed(rule, book)) for book in books for name, rule in book.rules.items())
    return rules.union(name for name, listed in each if not rules.isdisjoint(listed))


def _has_caps(files: Files) -> bool:
    """Whether rules compete for what one person may get."""
    text = next((text for name, text in files.items() if name.rpartition("/")[2] == "limits.yaml"), "")
    written = YAML(typ="safe").load(text) or {}
    return bool(set(written) - {"brake", "taken_for", "send_within", "restarts"})


def run_bundle(files: Files, rules: frozenset[str] | None, bundle: Bundle) -> RunResult:
    until = bundle.head.until or (bundle.events[-1].recordedtime if bundle.events else bundle.head.written_at)
    run = VirtualRun(rulebook_for(files, rules), bundle.head.tenant, until)
    if bundle.head.since is not None:
        run.opt_out(bundle.head.opted_out, bundle.head.since)
    run.announce_absences(bundle.head.absences)
    run.expect_reactions(bundle.reactions)
    run.start_recurring(_begin_of(bundle))
    result = run.run(bundle.events)
    if rules is not None and not _has_caps(files):
        own = rules | {rule for rule in run.book.rules if rule.startswith(RESERVED_PREFIX)} | {HOUSE}
        result.messages = [message for message in result.messages if message.rule in own]
        result.endings = [ending for ending in result.endings if ending.rule in own]
    return result


def _begin_of(bundle: Bundle) -> datetime:
    return bundle.head.since or (bundle.events[0].recordedtime if bundle.events else bundle.head.written_at)


def diff_bundle(base: Files, head: Files, bundle: Bundle, source: str, *, processes: int = _PROCESSES) -> Difference:
    """Run both rulebooks over the events of a bundle, each in its own process."""
    rules = changed_rules(base, head)
    if any(_RECURRING.search(text) for files in (base, head) for name, text in files.items() if name.endswith(RULE)):
        rules = _with_lists(rules, _load(base, "the old rules"), _load(head, "the new rules"))
    before, after = _run_both(partial(run_bundle, rules=rules, bundle=bundle), base, head, processes)
    return Difference(
        source=source,
        changes=compare(before.messages, after.messages),
        before=before.messages,
        after=after.messages,
        endings=_compare_endings(before.endings, after.endings),
        chain_outcomes=chain_outcomes(bundle.chains, head, rules),
        failures=(before.failures, after.failures),
        changed_rules=None if rules is None else sorted(rules),
        unseen=tuple(_silent_rules(rules, base, head, (*before.messages, *after.messages))),
        is_partial=rules is not None and not (_has_caps(base) or _has_caps(head)),
        since=bundle.head.since or (bundle.events[0].recordedtime if bundle.events else None),
        until=bundle.head.until,
    )


Run = Callable[[Files], RunResult]
_CHILD: list[Run] = []
"""The work of a forked child: it shares the memory of its parent, so that no events are sent to it."""


def _run_both(run: Run, base: Files, head: Files, processes: int) -> tuple[RunResult, RunResult]:
    if processes < _PROCESSES:
        return run(base), run(head)
    _CHILD[:] = [run]
    with ProcessPoolExecutor(1, mp_context=get_context("fork"), initializer=end_with_parent) as pool:
        other = pool.submit(_child, base)
        after = run(head)
        return other.result(), after


def _child(files: Files) -> RunResult:
    return _CHILD[0](files)


def chain_outcomes(
    chains: Iterable[LiveChain], head: Files, rules: frozenset[str] | None
) -> dict[tuple[str, ChainOutcome], int]:
    """A chain keeps the steps it began with, unless its rule says otherwise; one of a rule that is gone goes on too."""
    book = _load(head, "the new rules")
    found: Counter[tuple[str, ChainOutcome]] = Counter()
    for chain in chains:
        rule = book.rules.get(RuleId(chain.rule))
        policy = str(getattr(rule, "on_change", "pin")) if rule is not None else "pin"
        changed = rules is None or chain.rule in rules
        found[chain.rule, _BY_POLICY[policy] if changed else ChainOutcome.UNCHANGED] += 1
    return dict(found)


def _compare_endings(before: Iterable[EndedCase], after: Iterable[EndedCase]) -> list[tuple[EndedCase, str]]:
    """The chains that now end otherwise, with the ending they had."""
    old = {(one.case, one.rule, one.subject): one.ending for one in before}
    return [
        (one, old[one.case, one.rule, one.subject])
        for one in after
        if old.get((one.case, one.rule, one.subject), one.ending) != one.ending
    ]


# ------------------------------------------------------------------ stories as events


def diff_stories(base: Files, head: Files) -> Difference:
    """Play the stories of both folders with both rulebooks.

    A step that one rulebook cannot play is left out, such as a tap on a question that it does not ask; time passes all
    the same.
    """
    stories: dict[tuple[str, str], Story] = {}
    for files in (base, head):
        stories.update(((story.rule, story.it), story) for story in read_stories(files)[0])
    before, after = _load(base, "the old rules"), _load(head, "the new rules")
    played = [(_messages_of_story(story, before), _messages_of_story(story, after)) for story in stories.values()]
    old = [message for result, _ in played for message in result.messages]
    new = [message for _, result in played for message in result.messages]
    ended = [[one for each in side for one in each.endings] for side in zip(*played, strict=True)] or [[], []]
    rules = changed_rules(base, head)
    return Difference(
        source=f"the {len(stories)} stories of both",
        is_recorded=False,
        changes=compare(old, new),
        before=old,
        after=new,
        endings=_compare_endings(*ended),
        changed_rules=None if rules is None else sorted(rules),
        unseen=(*_silent_rules(rules, base, head, (*old, *new)), *_other_people(base, head)),
    )


def _silent_rules(rules: frozenset[str] | None, base: Files, head: Files, messages: Iterable[Message]) -> Iterator[str]:
    """A sentence about changed rules that sent no message in anything that was played; none where each of them sent
    one.
    """
    written = {stem(name) for name in (*base, *head) if name.endswith(RULE)}
    silent = sorted(((rules or frozenset()) & written) - {message.rule for message in messages})
    if silent:
        names = ", ".join(silent)
        yield f"What was played has no message of {names}, before or after: it does not show what that change does."


def _other_people(base: Files, head: Files) -> Iterator[str]:
    if base.get(_PEOPLE) != head.get(_PEOPLE):
        yield f"Stories bring their own people: whom the change of {_PEOPLE} concerns, recorded events alone show."


def _messages_of_story(story: Story, book: Rulebook) -> RunResult:
    result = RunResult()
    player = StoryPlayer.of(story, book)
    case, simulation = f"{story.rule}: {story.it}", player.simulation
    _play(player, story)
    requested = {
        message.message_id: message.requested_at
        for chain in simulation.facts.chains.values()
        for message in chain.messages
    }
    for effect in simulation.effects:
        if isinstance(effect, RequestedMessage):
            at = requested.get(effect.send.message_id) or story.start
            result.messages.append(message_of(case, player.people.book, simulation.facts, effect, at.astimezone(UTC)))
    result.messages += held_messages(case, player.people.book, simulation.facts)
    for chain in simulation.facts.chains.values():
        if chain.ended is not None:
            result.endings.append(EndedCase(case, chain.rule, chain.subject, str(chain.ended)))
    return result


def _play(player: StoryPlayer, story: Story) -> None:
    for step in story.steps:
        if isinstance(step, ExpectStep):
            continue
        with suppress(UnplayableStep, ValueError, LookupError, ArithmeticError):
            player.play(step)
