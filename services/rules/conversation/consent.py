"""Opt-out (STOP) and opt-in (START), consent after a merge of two ids, and the exclusion of people from chains.

An opt-out or an erasure counts at once, for every id and every chain of the person.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from services.rules.conversation import forms, outbound
from services.rules.conversation.amendments import KnownBefore
from services.rules.conversation.chain import MAY_GO, Chain, ChainMessage
from services.rules.conversation.chain_messages import is_of_handover
from services.rules.conversation.completion import exclude_person, recount_after_exclusion
from services.rules.conversation.context import DecisionContext, ExcludedPerson, ExclusionReason, Reason
from services.rules.conversation.fact_values import Consent, ConsentChange, ConsentEntry, ConsentSource, PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.outbound import send_notice
from services.rules.conversation.steps import advance, pass_on_after_end, release_matter
from services.rules.rulebook.model import Verb
from shared.contracts.ids import Line, PersonId
from shared.contracts.messages import MessageFailed, WithdrawMessage
from shared.contracts.whatsapp import IdentityChange, IdentityChanged, MessageReceived, Preference, PreferenceChanged


def apply_opt_out(context: DecisionContext, message: MessageReceived) -> None:
    """Opt out all people at the address: withdraw their messages, and leave them out of their chains.

    They get one confirmation, and nothing after it; another one within the hour is not confirmed again.
    """
    context.add_reason(Reason.OPTED_OUT)
    writers = (message.person_id, *message.shared_with)
    before = context.facts.opted_out(message.person_id) or _opted_out_lately(context, message)
    for person in writers:
        known = context.facts.consent.get(person, Consent()).with_opt_out(message.at, message.message_id)
        _enter_message(context, ConsentChange.OPT_OUT, message, person, known)
    if context.facts.opted_out(message.person_id) and not before:
        send_notice(context, message, "stopped", after_opt_out=True)
    _exclude_opted_out(context, writers)


def _opted_out_lately(context: DecisionContext, message: MessageReceived) -> bool:
    """Whether the last opt-out before this one is within the time in which answers are limited (``brake``)."""
    known = context.facts.consents_of(message.person_id)
    last = max((one.opted_out_at for one in known if one.opted_out_at is not None), default=None)
    return last is not None and message.at - last < context.rulebook.tenant.unsolicited.within


def apply_opt_in(context: DecisionContext, message: MessageReceived, *, answer: bool) -> None:
    """Opt in all people at the address, except those whose consent has lapsed since the message.

    A message that was sent before the lapse is not confirmed: messages would be promised that do not come.
    """
    facts = context.facts
    counting = [one for one in (message.person_id, *message.shared_with) if not _is_from_before(facts, one, message.at)]
    if not counting:
        context.add_reason(Reason.STALE)
        return
    context.add_reason(Reason.OPTED_IN)
    for person in counting:
        known = facts.consent.get(person, Consent()).with_opt_in(message.at, message.message_id)
        _enter_message(context, ConsentChange.OPT_IN, message, person, known)
    if answer:
        send_notice(context, message, "started")


def _is_from_before(facts: Facts, person: PersonId, at: datetime) -> bool:
    """Whether the message was sent before another account, or another person at the address, ended the consent."""
    disputed = [consent.wrong_person_at for consent in facts.consents_of(person) if consent.wrong_person_at]
    return facts.has_lapsed(person, at) or any(at <= one for one in disputed)


def apply_wrong_person(context: DecisionContext, message: MessageReceived) -> None:
    """The address belongs to another person: no further message goes there, and the questions go to others.

    No consent is assumed of that address until it changes, or a message from there asks for messages.
    """
    context.add_reason(Reason.WRONG_PERSON)
    known = context.facts.consent.get(message.person_id, Consent())
    disputed = known.replace(opted_in_at=None, wrong_person_at=message.at, evidence=message.message_id)
    _enter_message(context, ConsentChange.WRONG_PERSON, message, message.person_id, disputed)
    _leave_out(context, message.person_id, ExclusionReason.WRONG_PERSON)


def apply_erasure(context: DecisionContext, known: PersonFacts | None, person: PersonId) -> None:
    """A person is erased, or turns out to be an erased one: messages that wait for any of their ids are withdrawn.

    Chains stop waiting for their answers and the values of their forms, and go on. The erased state comes several
    times; only the first one is applied.
    """
    facts = context.facts
    seen, current = facts.people[person], facts.current_person(person)
    is_erased = current is not None and current.erased
    if known is not None and (known.erased, known.merged_into) == (seen.erased, seen.merged_into):
        return
    erased = facts.ids_of_person(person) if is_erased else {person} if seen.erased else ()
    for one in sorted(erased):
        _leave_out(context, one, ExclusionReason.ERASED)
        _end_representation(context, one)


def _end_representation(context: DecisionContext, person: PersonId) -> None:
    """Stand-ins of the person go on for the other people they stand for; a question in the name of the erased person
    alone is closed.
    """
    for found in context.facts.chains_of(person):
        chain = found
        for message in found.messages:
            if person in message.holders and person != message.person_id and _is_awaited(message):
                chain = _without_holder(context, chain, chain.message(message.message_id) or message, person)
        if chain is not found:
            context.save_chain(advance(context, chain))


def _is_awaited(message: ChainMessage) -> bool:
    """Whether the message may go still, or be answered."""
    return not message.closed and (message.delivery in MAY_GO or message.open)


def _without_holder(context: DecisionContext, chain: Chain, message: ChainMessage, person: PersonId) -> Chain:
    """A hand-over stays with the colleague who has it."""
    others = tuple(one for one in message.holders if one != person)
    if others or is_of_handover(message):
        first = others[0] if others and others != (message.person_id,) else None
        return chain.with_message(message.replace(on_behalf_of=first, also_for=others[1:]))
    reason = ExclusionReason.ERASED
    chain = outbound.withdraw_messages(context, chain, str(reason), lambda m: m.message_id == message.message_id)
    chain = chain.with_message((chain.message(message.message_id) or message).replace(closed=True))
    context.effects.append(ExcludedPerson(chain.chain_id, person, reason))
    chain = chain.exclude(message.step, {person: str(reason)})
    return recount_after_exclusion(context, chain, message) if chain.active else chain


def apply_changed_address(context: DecisionContext, known: PersonFacts | None, seen: PersonFacts) -> None:
    """The address that belonged to another person has changed. An address that only moved to another id is still the
    same one.
    """
    if known is None or known.address_mark is None or seen.merged_into is not None:
        return
    if known.address_mark == seen.address_mark:
        return
    for one in sorted(context.facts.ids_of_person(seen.person_id)):
        consent = context.facts.consent.get(one)
        if consent is not None and consent.wrong_person_at is not None:
            _enter_identity(context, ConsentChange.ADDRESS_CHANGED, one, consent.replace(wrong_person_at=None))


def apply_changed_user(context: DecisionContext, known: PersonFacts | None, seen: PersonFacts, since: datetime) -> None:
    """The opt-in lapses where WhatsApp shows another BSUID of the person, also where it announced no change."""
    if known is not None and None not in {known.bsuid_mark, seen.bsuid_mark} and known.bsuid_mark != seen.bsuid_mark:
        _lapse_opt_ins(context, seen.person_id, since)


def apply_revived_stop(context: DecisionContext, before: Mapping[PersonId, KnownBefore]) -> None:
    """A STOP counts again where the START after it counts no more, as after a changed BSUID or an undone merge."""
    revived = [one for one, known in before.items() if not known.opted_out and context.facts.opted_out(one)]
    if revived:
        _exclude_opted_out(context, revived)


def apply_merge(context: DecisionContext, person: PersonId) -> None:
    """A person was merged into another id: an opt-out of either counts for both."""
    if context.facts.current_id(person) != person:
        _exclude_opted_out(context, (person,))


def apply_separation(context: DecisionContext, known: PersonFacts | None, seen: PersonFacts) -> None:
    """A merge is undone: an opt-out that counted for both ids is kept on both."""
    if known is None or known.merged_into in {None, seen.merged_into} or not context.facts.opted_out(known.person_id):
        return
    stops = [consent for consent in context.facts.consents_of(known.person_id) if consent.opted_out_at]
    last = max(stops, key=lambda consent: consent.opted_out_at or context.now)
    for one in (known.person_id, context.facts.current_id(known.person_id)):
        before = context.facts.consent.get(one, Consent())
        kept = before.replace(opted_out_at=last.opted_out_at, opted_in_at=None, evidence=last.evidence)
        _enter_identity(context, ConsentChange.SEPARATED, one, kept)


def apply_identity_change(context: DecisionContext, changed: IdentityChanged) -> None:
    """A changed BSUID may belong to another person: the opt-in lapses, an opt-out stays."""
    if changed.change is IdentityChange.BSUID:
        for person in (changed.person_id, *changed.shared_with):
            _lapse_opt_ins(context, person, changed.at)
    context.add_reason(Reason.FACTS_KEPT)


def _lapse_opt_ins(context: DecisionContext, person: PersonId, at: datetime) -> None:
    """Record the lapse also where no opt-in is known: one from before ``at`` may arrive later."""
    for one in sorted(context.facts.ids_of_person(person)):
        consent = context.facts.consent.get(one, Consent())
        _enter_identity(context, ConsentChange.LAPSED, one, consent.with_lapse(at), at)


def apply_preference(context: DecisionContext, changed: PreferenceChanged) -> None:
    """WhatsApp's switch for marketing; it says nothing about other messages.

    It belongs to the account. Where several people are reached there, switching it off ends marketing to all of them.
    Switching it on again allows it for those who had agreed before: the tap of another person is no first consent.
    """
    allowed = changed.value is not Preference.STOP
    people = (changed.person_id, *changed.shared_with)
    for person in people:
        if not allowed or len(people) == 1 or any(c.marketing_in_at for c in context.facts.consents_of(person)):
            _enter_marketing(context, person, changed.at, changed.line, allowed=allowed)
    context.add_reason(Reason.FACTS_KEPT)


def apply_marketing_refusal(context: DecisionContext, failed: MessageFailed) -> None:
    """WhatsApp refused marketing since the person has switched it off."""
    _enter_marketing(context, failed.person_id, failed.at, None, allowed=False)


def _enter_marketing(
    context: DecisionContext, person: PersonId, at: datetime, line: Line | None, *, allowed: bool
) -> None:
    consent = context.facts.consent.get(person, Consent()).with_marketing(at, allowed=allowed)
    change = ConsentChange.MARKETING_OPT_IN if allowed else ConsentChange.MARKETING_OPT_OUT
    source = ConsentSource.WHATSAPP
    _enter(context, ConsentEntry(person_id=person, change=change, at=at, source=source, line=line, consent=consent))


def _enter_message(
    context: DecisionContext, change: ConsentChange, message: MessageReceived, person: PersonId, consent: Consent
) -> None:
    entry = ConsentEntry(
        person_id=person,
        change=change,
        at=message.at,
        source=ConsentSource.MESSAGE,
        evidence=message.message_id,
        line=message.line,
        consent=consent,
    )
    _enter(context, entry)


def _enter_identity(
    context: DecisionContext, change: ConsentChange, person: PersonId, consent: Consent, at: datetime | None = None
) -> None:
    source = ConsentSource.IDENTITY
    _enter(context, ConsentEntry(person_id=person, change=change, at=at or context.now, source=source, consent=consent))


def _enter(context: DecisionContext, entry: ConsentEntry) -> None:
    """Nothing is entered where nothing changes, as by an older message that arrives late."""
    if context.facts.consent.get(entry.person_id, Consent()) != entry.consent:
        context.facts.enter_consent(entry)


def _exclude_opted_out(context: DecisionContext, people: Collection[PersonId]) -> None:
    """Leave opted-out people out of every chain, by whatever id the chain knows them."""
    for person in sorted(context.facts.ids_of_person(*people)):
        if context.facts.opted_out(person):
            _withdraw_outside_chains(context, person, ExclusionReason.OPTED_OUT)
            _exclude_from_chains(context, person, ExclusionReason.OPTED_OUT)


def _leave_out(context: DecisionContext, person: PersonId, reason: ExclusionReason) -> None:
    """Leave one id out of every chain, and withdraw what waits for it."""
    _withdraw_outside_chains(context, person, reason)
    for chain in context.facts.chains_of(person):
        if chain.wrote_to(person):
            context.effects.append(ExcludedPerson(chain.chain_id, person, reason))
    _exclude_from_chains(context, person, reason)


def _withdraw_outside_chains(context: DecisionContext, person: PersonId, reason: ExclusionReason) -> None:
    """Withdraw the unsent messages of ended chains, and those that belong to no chain."""
    for ended in context.facts.ended_chains_of(person):
        left = outbound.withdraw_messages(context, ended, str(reason), lambda m: m.person_id == person, replies=True)
        pass_on_after_end(context, left)
    for message, receiver in context.facts.notices.items():
        if receiver == person and message not in context.drafted:
            context.request_withdrawal(WithdrawMessage(message_id=message, person_id=person, reason=str(reason)))


def _exclude_from_chains(context: DecisionContext, person: PersonId, reason: ExclusionReason) -> None:
    for found in context.facts.chains_of(person):
        chain = outbound.withdraw_messages(context, found, str(reason), lambda m: m.person_id == person, replies=True)
        mine = [m for m in chain.messages if m.person_id == person]
        for message in mine:
            chain = chain.with_message(message.replace(closed=True))
        if chain.form is not None and chain.form.person_id == person:
            chain = forms.abandon_form(chain)
        chain = release_matter(context, chain, person)
        last = {m.answer if m.verb is Verb.ASK else None: m for m in mine if m.answer is None or m.verb in _AWAITED}
        for message in last.values():
            if chain.active:
                chain = exclude_person(context, chain, message, reason)
        context.save_chain(advance(context, chain))


_AWAITED = frozenset({Verb.ASK, Verb.COLLECT})
"""The verbs of messages that an answer leads to, and whose own answer is awaited."""
