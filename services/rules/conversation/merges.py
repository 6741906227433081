"""Follows the merges of people: everything under a former id goes over to the person's current id.

That concerns live chains, open questions, half-filled forms, the open submission, the last rule, and the messages
counted for caps and for the limit of unsolicited ones. Of one message that waits for two ids of a person, one copy is
sent. Absences stay: only visitors are merged, and only staff are absent. Consent stays with the id it was given by;
``Facts`` reads it for all ids of a person, and the stricter one wins. This is deciding only: it changes the facts of a
draft.
"""

from collections.abc import Iterator
from functools import partial

from services.rules.conversation.chain import DELIVERY_RANK, MAY_GO, Chain, ChainMessage, Ending
from services.rules.conversation.completion import close_chain, recount_merged
from services.rules.conversation.context import DecisionContext, Reason
from services.rules.conversation.event_rules import subjects_of
from services.rules.conversation.fact_values import CountedMessages, PersonFacts, UnsolicitedMessages
from services.rules.conversation.facts import Facts
from services.rules.conversation.forms import abandon_form
from services.rules.conversation.outbound import withdraw_messages
from services.rules.conversation.separations import with_subject
from services.rules.conversation.steps import advance
from services.rules.conversation.unsolicited import kept_fingerprints
from shared.contracts.ids import MessageId, PersonId, RuleId
from shared.contracts.whatsapp import MessageReceived


def with_current_ids(facts: Facts, message: MessageReceived) -> MessageReceived:
    """The message as written by the person whose id the writer's is now."""
    writer = facts.current_id(message.person_id)
    others = dict.fromkeys(map(facts.current_id, message.shared_with))
    shared = tuple(person for person in others if person != writer)
    if (writer, shared) == (message.person_id, message.shared_with):
        return message
    return message.replace(person_id=writer, shared_with=shared)


def follow_loaded_chains(facts: Facts) -> None:
    """Give chains that were stored before a merge the current ids of people. A subject stays, because it is unique."""
    for chain in list(facts.chains.values()):
        current = _with_current_ids(facts, chain)
        if current is not chain:
            facts.add_chain(current)


def _with_current_ids(facts: Facts, chain: Chain) -> Chain:
    for person in sorted(chain.known_ids()):
        chain = chain.with_current_id(person, facts.current_id(person))
    return chain


def follow_merge(context: DecisionContext, before: PersonFacts | None, person: PersonId) -> None:
    """Apply the merge of a person into another id. The merges of one person's ids may arrive in any order."""
    facts = context.facts
    current = facts.current_id(person)
    if current == person:
        return
    if current not in facts.people and before is not None:
        facts.set_person(_placeholder(before, current))
    for former in sorted(facts.ids_of_person(current) - {current}):
        _move_chains(context, former, current)
        _move_facts(facts, former, current)


def _placeholder(before: PersonFacts, current: PersonId) -> PersonFacts:
    """A stand-in for the other id, whose own state is still on its way: it has the values of the merged one, and any
    state counts as newer.
    """
    return before.replace(person_id=current, version=0, merged_into=None, merged_at=None, moved_submission=None)


def _move_chains(context: DecisionContext, former: PersonId, current: PersonId) -> None:
    facts = context.facts
    concerned = {chain.chain_id: chain for chain in facts.chains_with_tags(subjects_of(former)) if chain.live}
    concerned.update((chain.chain_id, chain) for chain in facts.chains_of(former))
    for chain in concerned.values():
        moved = with_subject(facts, chain.with_current_id(former, current), former, current)
        if {former, current} <= chain.people():
            moved = _keep_one_copy(context, chain, moved, (former, current))
            moved = advance(context, recount_merged(context, moved, current) if moved.active else moved)
        if moved is not chain:
            context.save_chain(moved)
    ended_ones = {one.chain_id: one for person in (former, current) for one in facts.ended_chains_of(person)}
    for ended in (one for one in ended_ones.values() if former in one.people()):
        moved = ended.with_current_id(former, current)
        context.save_chain(_keep_one_copy(context, ended, moved, (former, current)))
    _keep_one_form(context, current)


def _keep_one_copy(context: DecisionContext, before: Chain, chain: Chain, ids: tuple[PersonId, PersonId]) -> Chain:
    """Of each message that two ids of a person have or shall get, keep one copy and withdraw the other, where it may
    still go. ``before`` is the chain before the merge. The copy that is further on its way stays, and stands for all
    people that the other stood for.
    """
    for pair in _copies(before, *ids):
        kept, other = sorted((chain.message(one.message_id) or one for one in pair), key=_progress)
        if other.delivery in MAY_GO:
            context.add_reason(Reason.MERGED, chain, str(kept.step))
            chain = chain.with_message(kept.stand_for(*other.holders))
            is_other = partial(_is_message, other.message_id)
            chain = withdraw_messages(context, chain, str(Reason.MERGED), is_other)
    return chain


def _is_message(message_id: MessageId, message: ChainMessage) -> bool:
    return message.message_id == message_id


def _copies(chain: Chain, former: PersonId, current: PersonId) -> Iterator[tuple[ChainMessage, ChainMessage]]:
    """Pairs of the same message to both ids. A reply has no pair: it answers a message that only one id has written."""
    of_current = [m for m in chain.messages if m.person_id == current and m.delivery in DELIVERY_RANK]
    for message in chain.messages:
        if message.person_id == former and message.delivery in DELIVERY_RANK and not message.reply:
            same = next((m for m in of_current if _content(m) == _content(message)), None)
            if same is not None:
                of_current.remove(same)
                yield message, same


def _content(message: ChainMessage) -> tuple[object, ...]:
    about = (message.step, message.occurrence, message.answer, message.verb, message.say)
    return *about, message.buttons, message.words, message.reply


def _progress(message: ChainMessage) -> tuple[int, bool, str]:
    """Sorts the copy first that is furthest on its way, one in a digest before one alone, and the earliest held."""
    held_until = message.held_until.isoformat() if message.held_until is not None else ""
    return -DELIVERY_RANK[message.delivery], message.digest is None, held_until


def _keep_one_form(context: DecisionContext, person: PersonId) -> None:
    """Two ids may be filling the same form: the person goes on with the one begun first, which gets the other's values.

    It waits for the answer to the last question of either form. The other chain ends, and its questions are closed.
    """
    filled: dict[tuple[RuleId, str], Chain] = {}
    for chain in context.facts.chains_of(person):
        form = chain.form
        if not chain.active or form is None or form.over or form.person_id != person:
            continue
        first = filled.setdefault((chain.rule, form.form), chain)
        if first is not chain and first.form is not None:
            values = {**form.values, **first.form.values}
            sources = (*first.form.sources, *form.sources)
            files = tuple(dict.fromkeys((*first.form.attachments, *form.attachments)))
            last = max(form, first.form, key=lambda one: one.last_at)  # whose question is the one to be answered
            both = first.form.replace(
                values=values, attachments=files, sources=sources,
                asking=last.asking, phase=last.phase, last_at=last.last_at,
            )  # fmt: skip
            filled[chain.rule, form.form] = context.save_chain(first.replace(form=both))
            context.add_reason(Reason.MERGED, chain)
            context.save_chain(close_chain(context, abandon_form(chain), Ending.REPLACED))


def _move_facts(facts: Facts, former: PersonId, current: PersonId) -> None:
    """Facts that the other id has already stay."""
    reference, known = facts.acquisitions.get(former), facts.people.get(former)
    if reference is not None:
        facts.set_acquisition(former, None)
        if known is not None:
            facts.set_person(known.replace(moved_submission=reference))
        if facts.acquisitions.get(current) is None:
            facts.set_acquisition(current, reference)
    rule = facts.last_rule.get(former)
    if rule is not None:
        facts.set_last_rule(former, None)
        if facts.last_rule.get(current) is None:
            facts.set_last_rule(current, rule)
    _move_counts(facts, former, current)


def _move_counts(facts: Facts, former: PersonId, current: PersonId) -> None:
    """Two ids of one person share one cap, and one limit of unsolicited messages."""
    mine, theirs = facts.counted.get(former, CountedMessages()), facts.counted.get(current, CountedMessages())
    new = [one for one in mine.messages if one not in theirs.messages]
    if new:
        both = tuple(sorted((*theirs.messages, *new), key=lambda one: one.at))
        facts.set_counted(current, CountedMessages(messages=both, version=theirs.version))
    wrote, known = facts.unsolicited.get(former), facts.unsolicited.get(current, UnsolicitedMessages())
    if wrote is None or wrote == UnsolicitedMessages():
        return
    facts.set_unsolicited(former, UnsolicitedMessages())
    joined = UnsolicitedMessages(
        answered=tuple(sorted((*wrote.answered, *known.answered))),
        started=tuple(sorted((*wrote.started, *known.started))),
        recent=kept_fingerprints(sorted((*wrote.recent, *known.recent), key=lambda one: one.at)),
        reported_at=max((at for at in (wrote.reported_at, known.reported_at) if at is not None), default=None),
    )
    facts.set_unsolicited(current, joined)
