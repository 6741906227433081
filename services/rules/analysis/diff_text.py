"""A difference of two rulebooks in words, for a comment on a pull request: most important first, for editors."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice, zip_longest

from services.rules.analysis.diff import ChainOutcome, Change, ChangeKind, Cost, Difference, cost_of
from services.rules.analysis.pseudonyms import is_person_id, short_pseudonym
from services.rules.analysis.virtual_run import HOUSE, Message
from services.rules.conversation.event_rules import OWN_SUBJECT
from services.rules.rulebook.built_in import (
    ABSENCE_RULE_PREFIX,
    INBOX_RULE_PREFIX,
    PAUSED_RULE_PREFIX,
    WRONG_PERSON_RULE_PREFIX,
)
from services.rules.rulebook.faults import FileFault
from shared.clients.rate_card import RateCard

LARGEST = 60_000
"""Bytes, so that there is room for what the other commands say in the same comment."""

_MOST_PEOPLE = 15
_MOST_EXAMPLES = 12
_VERBS = {
    "tell": "message",
    "ask": "question",
    "remind": "reminder",
    "hand_over": "hand-over",
    "collect": "question of a form",
    "give_up": "closing message",
}
_BUILT_IN = {
    INBOX_RULE_PREFIX: "messages passed on to {}",
    PAUSED_RULE_PREFIX: "news to {} of messages without an answer",
    ABSENCE_RULE_PREFIX: "news to {} of an absence",
    WRONG_PERSON_RULE_PREFIX: "news to {} of a wrong number",
}
"""The rules that Stet adds for each team, in words."""
_CHAIN_OUTCOMES = {
    ChainOutcome.UNCHANGED: "go on as they are",
    ChainOutcome.PINNED: "go on by the rule they began with",
    ChainOutcome.MIGRATED: "go on by the new rule",
    ChainOutcome.CANCELLED: "end, and what is unsent is withdrawn",
}


def markdown_of(difference: Difference, prices: RateCard, faults: Sequence[FileFault] = ()) -> str:
    """At most LARGEST bytes; what does not fit is left out from the end, and said. ``faults`` are of the new rules."""
    blocks = [block for block in (_refused(faults), *_blocks(difference, prices)) if block]
    kept, size = [], 0
    for number, block in enumerate(blocks):
        size += len(block.encode()) + 2
        if size > LARGEST - 200:
            kept.append(f"*{len(blocks) - number} more sections did not fit; `--format json` has everything.*")
            break
        kept.append(block)
    return "\n\n".join(kept) + "\n"


def _refused(faults: Sequence[FileFault]) -> str:
    if not faults:
        return ""
    more = f", and {_number(len(faults) - 1, 'more', 'more')}" if len(faults) > 1 else ""
    return (
        "**The new rules do not pass `stet rules check`, and cannot be put into force**: "
        f"`{faults[0].place}` {faults[0].message}{more}. What follows is what they would do with the fault in them."
    )


def _blocks(difference: Difference, prices: RateCard) -> Iterator[str]:
    yield _headline(difference)
    yield _by_rule(difference)
    yield _chain_outcomes(difference)
    yield _by_person(difference)
    yield _costs(difference, prices)
    yield _endings(difference)
    yield _failures(difference)
    for rule, changes in _grouped(difference.changes):
        yield _examples(rule, changes)


def _headline(difference: Difference) -> str:
    period = ""
    if difference.since is not None and difference.until is not None:
        period = f" ({_day(difference.since)} to {_day(difference.until)})"
    answers = "what people really answered"
    if not difference.is_recorded:
        answers = "the answers that they give; a bundle of recorded events (`--bundle`) would show what really happened"
    basis = f"Played: {difference.source}{period}, by both sets of rules, with {answers}."
    basis = " ".join((basis, *difference.unseen))
    if not difference.before and not difference.after:
        return f"### Nothing was sent, before or after\n\n{basis} So this says nothing of the change."
    if not difference.changes:
        heading = "Nothing changes in what was played" if difference.unseen else "Nobody’s phone will buzz differently"
        return f"### {heading}\n\n{basis} Every message is the same."
    people = len({change.message.person for change in difference.changes})
    counts = _counts(difference.changes)
    return f"### {_sentence(counts)}, for {_number(people, 'person', 'people')}\n\n{basis}"


class NoticedChange(StrEnum):
    """The effect of a change on the person who gets the message; in the order in which the effects are listed."""

    MORE = "more"
    FEWER = "fewer"
    EARLIER = "earlier"
    LATER = "later"
    OTHER_WORDS = "in other words"
    OTHER_DOCUMENT = "with another document"


_EFFECTS = {
    ChangeKind.GAINED: NoticedChange.MORE,
    ChangeKind.LOST: NoticedChange.FEWER,
    ChangeKind.REWORDED: NoticedChange.OTHER_WORDS,
    ChangeKind.DOCUMENT_CHANGED: NoticedChange.OTHER_DOCUMENT,
}


def _effect(change: Change) -> NoticedChange:
    if change.kind is not ChangeKind.MOVED:
        return _EFFECTS[change.kind]
    return NoticedChange.LATER if _shift_of(change) > timedelta() else NoticedChange.EARLIER


def _shift_of(change: Change) -> timedelta:
    """How much later; negative for earlier, and nothing where only one of the two sends it."""
    before, after = change.before, change.after
    return timedelta() if before is None or after is None else after.at - before.at


def _counts(changes: Iterable[Change]) -> Counter[NoticedChange]:
    return Counter(map(_effect, changes))


def _sentence(counts: Mapping[NoticedChange, int]) -> str:
    parts = [f"{counts[effect]:,} {effect}" for effect in NoticedChange if counts.get(effect)]
    first, *rest = parts
    amount, _, word = first.partition(" ")
    noun = "message" if amount == "1" else "messages"
    return ", ".join([f"{amount} {noun} {word}", *rest])


def _by_rule(difference: Difference) -> str:
    if not difference.changes:
        return ""
    effects = [effect for effect in NoticedChange if _counts(difference.changes)[effect]]
    headings = ["rule", "before", "after", *effects, "people"]
    rows = [f"| {' | '.join(headings)} |", f"|---|{'--:|' * (len(headings) - 1)}"]
    before, after = (Counter(m.rule for m in side) for side in (difference.before, difference.after))
    for rule, changes in _grouped(difference.changes):
        counts, people = _counts(changes), len({change.message.person for change in changes})
        cells = [f"{counts[effect] or ''}" for effect in effects]
        rows.append(f"| {_rule_name(rule)} | {before[rule]:,} | {after[rule]:,} | {' | '.join(cells)} | {people:,} |")
    return "#### By rule\n\n" + "\n".join(rows)


def _grouped(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """The changes by rule; the rule with most of them first."""
    found: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        found[change.message.rule].append(change)
    return sorted(found.items(), key=lambda one: (-len(one[1]), one[0]))


def _rule_name(rule: str) -> str:
    for prefix, words in _BUILT_IN.items():
        if rule.startswith(prefix):
            return words.format(rule.removeprefix(prefix))
    return "what Stet says by itself" if rule == HOUSE else rule


def _by_person(difference: Difference) -> str:
    """The people for whom most changes, each in a sentence."""
    found: defaultdict[str, list[Change]] = defaultdict(list)
    for change in difference.changes:
        found[change.message.person].append(change)
    most = sorted(found.values(), key=lambda changes: (-len(changes), changes[0].message.person))
    lines = [f"- {_person_sentence(changes)}" for changes in most[:_MOST_PEOPLE]]
    if len(most) > _MOST_PEOPLE:
        lines.append(f"- and {len(most) - _MOST_PEOPLE:,} others")
    return "#### Who will notice most\n\n" + "\n".join(lines) if lines else ""


def _person_sentence(changes: Sequence[Change]) -> str:
    kinds: Counter[tuple[NoticedChange, str]] = Counter((_effect(change), change.message.verb) for change in changes)
    parts = [_part(effect, verb, number) for (effect, verb), number in kinds.most_common()]
    return f"{name_of(changes[0].message)} gets {_listed(parts)}."


def _part(effect: NoticedChange, verb: str, number: int) -> str:
    one = _VERBS.get(verb, "message")
    noun = one if number == 1 else one.replace("question", "questions") if verb == "collect" else f"{one}s"
    count = "one" if number == 1 else f"{number:,}"
    if effect in {NoticedChange.MORE, NoticedChange.FEWER}:
        return f"{count} {effect} {noun}"
    return f"{count} {noun} {effect}"


def name_of(message: Message) -> str:
    """``Agent A7C3``: the role of the person and a pseudonym; ``Escalation 1 (A7C3)`` if the role ends in a number."""
    role, pseudonym = message.role.capitalize(), short_pseudonym(message.person)
    return f"{role} ({pseudonym})" if role[-1:].isdigit() else f"{role} {pseudonym}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _costs(difference: Difference, prices: RateCard) -> str:
    if not difference.changes:
        return ""
    before, after = cost_of(difference.before, prices), cost_of(difference.after, prices)
    rows = ["| | before | after |", "|---|--:|--:|"]
    rows += [
        f"| {category} | {before.categories.get(category, 0):,} | {after.categories.get(category, 0):,} |"
        for category in sorted({*before.categories, *after.categories})
    ]
    rows.append(f"| cost, {prices.currency} | {_money(before)} | {_money(after)} |")
    source = f", from {prices.source}" if prices.source else ""
    note = f"Prices of {prices.newest}{source}."
    if before.unpriced or after.unpriced:
        note += (
            f" They have none for {_unpriced(before, after)}: what goes there is not in the cost. "
            "Your own rate card has it: `--prices FILE`."
        )
    whose = "Messages of the changed rules" if difference.is_partial else "Messages"
    return f"#### {whose} by category, and what they cost\n\n" + "\n".join(rows) + f"\n\n{note}"


def _money(cost: Cost) -> str:
    """“Unknown” where no message has a price."""
    return f"{cost.amount:,.2f}" if cost.amount or not cost.unpriced else "unknown"


_MOST_COUNTRIES = 5


def _unpriced(before: Cost, after: Cost) -> str:
    """``GB (70 messages before, 74 after) and FR (2, 2)``: the countries without a price, most messages first."""
    countries = sorted({*before.unpriced, *after.unpriced}, key=lambda each: (-after.unpriced.get(each, 0), each))
    listed = [
        f"{country or 'people whose country is not known'} "
        f"({before.unpriced.get(country, 0):,} messages before, {after.unpriced.get(country, 0):,} after)"
        for country in countries[:_MOST_COUNTRIES]
    ]
    more = len(countries) - _MOST_COUNTRIES
    return _listed([*listed, *([f"{more} other countries"] if more > 0 else [])])


def _chain_outcomes(difference: Difference) -> str:
    if not difference.chain_outcomes:
        return ""
    rows = ["| rule | running chains | they |", "|---|--:|---|"]
    order = [ChainOutcome.CANCELLED, ChainOutcome.MIGRATED, ChainOutcome.PINNED]
    shown = sorted(
        (
            (rule, outcome, n)
            for (rule, outcome), n in difference.chain_outcomes.items()
            if outcome is not ChainOutcome.UNCHANGED
        ),
        key=lambda one: (order.index(one[1]), -one[2], one[0]),
    )
    rows += [f"| {rule} | {number:,} | {_CHAIN_OUTCOMES[outcome]} |" for rule, outcome, number in shown]
    same = sum(
        number for (_, outcome), number in difference.chain_outcomes.items() if outcome is ChainOutcome.UNCHANGED
    )
    if same:
        rows.append(f"| all others | {same:,} | {_CHAIN_OUTCOMES[ChainOutcome.UNCHANGED]} |")
    note = "People, calendar and limits count at once for all of them."
    return "#### Chains that run now\n\n" + "\n".join(rows) + f"\n\n{note}"


def _endings(difference: Difference) -> str:
    if not difference.endings:
        return ""
    counts = Counter((one.rule, before, one.ending) for one, before in difference.endings)
    lines = [
        f"- {rule}: {_number(number, 'chain', 'chains')} ended `{before}`, and end `{after}` now"
        for (rule, before, after), number in counts.most_common(_MOST_EXAMPLES)
    ]
    return "#### Chains that end otherwise\n\n" + "\n".join(lines)


def _failures(difference: Difference) -> str:
    lines = []
    for word, failures in zip(("before", "after"), difference.failures, strict=True):
        lines += [
            f"- {word}: {sentence} ({number:,}×)" for sentence, number in sorted(failures.items())[:_MOST_EXAMPLES]
        ]
    return "#### What could not be decided\n\n" + "\n".join(lines) if lines else ""


def _examples(rule: str, changes: Sequence[Change]) -> str:
    """Some of each effect; of messages that move, those that move furthest."""
    ranked: defaultdict[NoticedChange, list[Change]] = defaultdict(list)
    for change in sorted(changes, key=lambda each: (-abs(_shift_of(each)), each.message.at)):
        ranked[_effect(change)].append(change)
    in_turn = (
        change for some in zip_longest(*(ranked[effect] for effect in NoticedChange)) for change in some if change
    )
    picked = sorted(islice(in_turn, _MOST_EXAMPLES), key=lambda change: list(NoticedChange).index(_effect(change)))
    lines = [f"- {_example(change)}" for change in picked]
    if len(changes) > len(picked):
        lines.append(f"- and {len(changes) - len(picked):,} more")
    return f"#### {_rule_name(rule)}\n\n" + "\n".join(lines)


def _example(change: Change) -> str:
    message = change.message
    what = f"{name_of(message)}{_about(message)}"
    match change.kind:
        case ChangeKind.GAINED:
            return f"{_moment(message)}: one more {_noun(message)} to {what}: `{message.say}`"
        case ChangeKind.LOST:
            return f"{_moment(message)}: no {_noun(message)} any more to {what}: `{message.say}`"
        case ChangeKind.MOVED:
            return f"{_noun(message)} `{message.say}` to {what}: {_shift(change)}"
        case ChangeKind.REWORDED:
            return f"{_moment(message)}: other words to {what}: {_rewording(change)}"
        case ChangeKind.DOCUMENT_CHANGED:
            return f"{_noun(message)} `{message.say}` to {what}: {_ATTACHED[_document_change(change) or 'changed']}"


def _noun(message: Message) -> str:
    return _VERBS.get(message.verb, "message")


def _about(message: Message) -> str:
    subject = _subject(message)
    title = f" about “{_plain(message.title)}”" if message.title else f" ({subject})" if subject else ""
    return f"{title}, in the story “{_plain(message.case)}”" if message.case else title


def _subject(message: Message) -> str:
    """The subject of a message without a title in words: no id of an event, and pseudonyms for people."""
    found = []
    for part in message.subject.split("|"):
        name, _, value = part.partition("=")
        if value in {"", message.person} or part.startswith(OWN_SUBJECT):
            continue
        shown = f"person {short_pseudonym(value)}" if is_person_id(value) else f"{name.replace('_', ' ')} {value}"
        found.append(_plain(shown))
    return ", ".join(found)


def _plain(text: str) -> str:
    """A text from outside, in which Markdown finds nothing."""
    return text.translate({ord(sign): f"\\{sign}" for sign in "\\`*_[]<>|"}).replace("\n", " ")


def _rewording(change: Change) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        return ""
    if before.say != after.say:
        return f"`{after.say}` in place of `{before.say}`"
    if before.language != after.language:
        return f"`{after.say}` in {after.language} in place of {before.language}"
    return f"`{after.say}`"


_ATTACHED = {
    "added": "goes with a document now",
    "removed": "goes without its document now",
    "changed": "goes with another document now",
    "needed": "waits for its document now, and does not go without it",
    "optional": "goes also without its document now, where that cannot be had",
}


def _document_change(change: Change) -> str | None:
    """A word for what happened to the document of a message; None where nothing did, or the whole message is new."""
    before, after = change.before, change.after
    if change.kind is not ChangeKind.DOCUMENT_CHANGED or before is None or after is None:
        return None
    if before.document == after.document:
        return "needed" if after.needs_document else "optional"
    return "added" if not before.document else "changed" if after.document else "removed"


def _shift(change: Change) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        return ""
    return f"{_moment(before)} → {_moment(after)} ({_span(abs(_shift_of(change)))} {_effect(change)})"


def _span(span: timedelta) -> str:
    if span >= timedelta(days=1):
        days = span / timedelta(days=1)
        return f"{days:.0f} days" if days >= 1.5 else "a day"
    hours = span / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours >= 1.5 else f"{span / timedelta(minutes=1):.0f} minutes"


def _moment(message: Message) -> str:
    return f"{message.at.day} {message.at:%b %Y %H:%M}Z"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def _number(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def rows_of(difference: Difference) -> Iterator[dict[str, object]]:
    """Each change as fields, for machines."""
    for change in difference.changes:
        before, after = change.before, change.after
        yield {
            "change": str(change.kind),
            "rule": change.message.rule,
            "subject": change.message.subject,
            "story": change.message.case,
            "person": f"{change.message.role} {short_pseudonym(change.message.person)}",
            "verb": change.message.verb,
            "say": change.message.say,
            "before": before.at if before else None,
            "after": after.at if after else None,
            "said_before": before.say if before else None,
            "document": _document_change(change),
        }
