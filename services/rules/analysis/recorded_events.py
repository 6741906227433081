"""Puts events, and what came back on messages, into a bundle: the input of a comparison of two rulebooks."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from services.rules.analysis.bundle import EVENT_KINDS, Bundle, LiveChain, Reaction
from services.rules.analysis.pseudonyms import Pseudonyms
from services.rules.conversation.chain import Chain, DeliveryState
from services.rules.conversation.fact_values import PersonFacts
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event, EventData, parse_event
from shared.contracts.ids import Bsuid, EventId, TenantId, derive_id, partition_key
from shared.contracts.values import decode, encode
from shared.contracts.vocabulary import Role
from shared.contracts.whatsapp import MessageReceived


def state_event(tenant: TenantId, data: EventData, at: datetime, *key: object) -> Event:
    """A fact that is known already, as the event that would make it known."""
    return Event(
        id=EventId(derive_id("state", data.kind, *key)),
        source="stet/rules",
        type=data.kind,
        time=at,
        recordedtime=at,
        tenantid=tenant,
        partitionkey=partition_key(tenant, *key),
        data=data,
    )


def person_state(person: PersonFacts, at: datetime) -> PersonObserved:
    """The address is no address: it says only that there is one."""
    return PersonObserved(
        person_id=person.person_id,
        contact_id=person.contact_id,
        display_name=person.display_name,
        country=person.country,
        language=person.language,
        zone=person.zone,
        roles=tuple(Role(role) for role in person.roles if role in set(Role)),
        addresses=Addresses(bsuid=Bsuid("known")) if person.reachable else Addresses(),
        merged_into=person.merged_into,
        erased=person.erased,
        observed_at=at,
        version=0,
    )


def add_event(bundle: Bundle, names: Pseudonyms, event: Event) -> None:
    """A tap is left out: it comes as the reaction to the message."""
    if isinstance(event.data, MessageReceived) and event.data.button_id is not None:
        return
    bundle.events.append(parse_event(names.replace(encode(event)), EVENT_KINDS))


def add_chain(bundle: Bundle, names: Pseudonyms, chain: Chain) -> None:
    """The replies and outcomes of a chain; one that still runs is listed too."""
    bundle.reactions += [decode(Reaction, names.replace(encode(one))) for one in reactions_of(chain)]
    if chain.live:
        live = LiveChain(
            chain_id=chain.chain_id,
            rule=chain.rule,
            revision=chain.revision,
            state=str(chain.state),
            started_at=chain.started_at,
            next_due=chain.next_due,
            people=tuple(sorted(chain.people())),
        )
        bundle.chains.append(decode(LiveChain, names.replace(encode(live))))


def reactions_of(chain: Chain) -> Iterator[Reaction]:
    templates = {message.message_id: message.say for message in chain.messages}
    plain = Reaction(rule=chain.rule, subject=chain.subject, at=chain.base_at)
    for given in chain.answers:
        if given.answer != "free_text":
            say = templates.get(given.message_id, "")
            yield plain.replace(at=given.at, person_id=given.person_id, say=say, answer=given.answer)
    if (taken := chain.assignment) is not None:
        offers = [m.say for m in chain.messages if m.person_id == taken.person_id and "take" in m.buttons]
        yield from (
            plain.replace(at=taken.at, person_id=taken.person_id, say=say, answer="take") for say in offers[-1:]
        )
    for message in chain.messages:
        if message.delivery is DeliveryState.FAILED and message.requested_at is not None:
            yield plain.replace(at=message.requested_at, person_id=message.person_id, say=message.say, failed=True)
    for write in chain.writes:
        if write.outcome is not None:
            yield plain.replace(operation=write.operation, outcome=write.outcome)


def sort_events(bundle: Bundle, initial: Iterable[Event], names: Pseudonyms, decided: Iterable[str]) -> None:
    """The events in the order of their recording, after what was known before them.

    Those of one instant go in the order in which they were ``decided``; what nothing was decided on goes first: facts.
    """
    places = {names.replace_values(about): place for place, about in enumerate(decided)}
    later = sorted(bundle.events, key=lambda event: (event.recordedtime, places.get(event.id, -1)))
    bundle.events = [parse_event(names.replace(encode(event)), EVENT_KINDS) for event in initial] + later
