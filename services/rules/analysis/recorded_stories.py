"""Puts events, and the reactions to messages, into a bundle; records the decisions of stories as a service does.

A bundle is the input of a comparison of two rulebooks.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from services.rules.analysis.bundle import EVENT_KINDS, Bundle, BundleHead, LiveChain, Reaction, RulebookLoader
from services.rules.analysis.pseudonyms import Pseudonyms, contacts_named
from services.rules.analysis.replay import BundleRecorder, NotAdded, Replayer
from services.rules.conversation.absence import stated_absence
from services.rules.conversation.absence_text import AbsenceText, Leave
from services.rules.conversation.chain import FREE_TEXT, Chain, DeliveryState
from services.rules.conversation.context import Decision
from services.rules.conversation.decider import Decider
from services.rules.conversation.decision_inputs import DecisionInputs, record_inputs
from services.rules.conversation.fact_values import Absence, PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.rulebook.model import Rulebook, StaffDirectory
from services.rules.rulebook.rule_folder import STORIES, revision_of
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import ExpectStep, Story, UnplayableStep
from services.rules.scenario.story_world import TENANT, make_people
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.envelope import Event, EventData, parse_event
from shared.contracts.ids import Bsuid, EventId, PersonId, TenantId, Wamid, derive_id, partition_key
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


@dataclass(slots=True)
class AbsenceNotices:
    """Absences that members of staff wrote, by person and message. ``facts`` have the people."""

    facts: Facts
    stated: dict[PersonId, dict[Wamid, AbsenceText]] = field(default_factory=dict)

    def read(self, book: Rulebook, message: MessageReceived) -> AbsenceText | None:
        stated = stated_absence(book, self.facts, message)
        if stated is not None:
            person = self.facts.current_id(message.person_id)
            self.stated.setdefault(person, {})[message.message_id] = stated
        return stated

    def before(self, person: PersonId, known: Absence) -> Absence | None:
        """The absence as it was before these messages: what they announced is not there yet."""
        said = self.stated.get(person, {})
        leaves = {(one.first, one.last) for one in said.values() if isinstance(one, Leave)}
        each = [known]
        while (following := each[-1].following) is not None:
            each.append(following)
        before: Absence | None = None
        for one in reversed(each):
            if one.evidence not in said:
                before = one.replace(following=before)
            elif (one.first, one.last) not in leaves:  # the return alone is among them
                before = one.replace(returned_on=None, evidence=None, following=before)
        return before


def add_event(bundle: Bundle, names: Pseudonyms, event: Event, book: Rulebook | None, notices: AbsenceNotices) -> None:
    """A tap is left out: it comes as the reaction to the message. ``book`` is what decided on the event."""
    message = event.data if isinstance(event.data, MessageReceived) else None
    if message is not None and message.button_id is not None:
        return
    if message is not None and book is not None:
        names.learn_notice(message.text, notices.read(book, message), notices.facts)
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
        if given.answer != FREE_TEXT:
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
    Of an event that is on its topic twice, as after a repeated webhook, the first is kept: rules handled one.
    """
    places = {names.replace_values(about): place for place, about in enumerate(decided)}
    later = sorted(bundle.events, key=lambda event: (event.recordedtime, places.get(event.id, -1)))
    once = list({event.id: event for event in reversed(later)}.values())[::-1]
    bundle.events = [parse_event(names.replace(encode(event)), EVENT_KINDS) for event in initial] + once


# ------------------------------------------------------------------ stories

_PEOPLE = "people.yaml"
_KEY = b"the people of stories are invented"
_ALWAYS_THE_SAME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RecordingDecider(Decider):
    """Keeps the inputs of each decision that says something."""

    inputs: list[DecisionInputs] = field(default_factory=list)
    documents: dict[str, bytes] = field(default_factory=dict)

    def decide(self, event: Event, facts: Facts, now: datetime) -> Decision:
        decision = Decider.decide(self, event, facts, now)
        self._record(decision, event, facts, now)
        return decision

    def decide_due(self, chain: Chain, facts: Facts, now: datetime) -> Decision:
        decision = Decider.decide_due(self, chain, facts, now)
        self._record(decision, chain, facts, now)
        return decision

    def _record(self, decision: Decision, cause: Event | Chain, facts: Facts, now: datetime) -> None:
        if decision.record is not None:
            self.inputs.append(record_inputs(decision, cause, facts.tenant, now, self.documents))


@dataclass(slots=True)
class RecordedStories:
    """``refused`` counts the decisions that are not in the bundle, by the reason."""

    bundle: Bundle
    refused: dict[NotAdded, int] = field(default_factory=dict)


def record_stories(files: Mapping[str, str], stories: Iterable[Story]) -> RecordedStories:
    """Play stories, and put every decision into a bundle. The same rules and stories give the same bundle."""
    found = RecordedStories(Bundle(BundleHead(tenant=TENANT, written_at=_ALWAYS_THE_SAME)))
    rule_files = {name: text for name, text in files.items() if not name.endswith(STORIES)}
    loader = RulebookLoader()
    book = loader.load(revision_of(rule_files), rule_files)
    for story in stories:
        own = _files_of_story(rule_files, story, book)
        player = StoryPlayer.of(story, book)
        _record_story(found, story, player, loader.load(revision_of(own), own), own)
    return found


def _record_story(
    found: RecordedStories, story: Story, player: StoryPlayer, book: Rulebook, files: Mapping[str, str]
) -> None:
    known = player.simulation.decider
    decider = RecordingDecider(book, lambda _: book, known.matcher, known.zone_of, known.signing_keys)
    player.simulation.decider = decider
    for step in story.steps:
        if isinstance(step, ExpectStep):
            continue
        try:
            player.play(step)
        except UnplayableStep:
            break
    recorder = BundleRecorder(
        found.bundle,
        Replayer(lambda _: book),
        Pseudonyms(_KEY, TENANT, contacts_named(book), option_labels(book)),
        lambda _: files,
    )
    for inputs in decider.inputs:
        if (refusal := recorder.add(inputs, decider.documents.__getitem__)) is not None:
            found.refused[refusal] = found.refused.get(refusal, 0) + 1


def option_labels(book: Rulebook) -> Iterator[str]:
    """The words that a person may write to choose an option of a form."""
    for form in book.forms.values():
        yield from (option for each in form.fields for option in each.choose)
        for language in form.languages.values():
            yield from (label for text in language.values() for label in text.options.values())


def _files_of_story(files: Mapping[str, str], story: Story, book: Rulebook) -> dict[str, str]:
    """The rule files with the people of the story in people.yaml, so that they say all that decided."""
    name = next(name for name in files if name.rpartition("/")[2] == _PEOPLE)
    return {**files, name: _people_text(files[name], make_people(story, book).book.people)}


def _people_text(text: str, people: StaffDirectory) -> str:
    yaml = YAML(typ="rt")
    written: dict[str, Any] = yaml.load(text)
    written["teams"] = {team: {role: list(ids) for role, ids in roles.items()} for team, roles in people.teams.items()}
    written["imprints"] = {}
    written["stands_in"] = [{"for": each.absent, "who": each.who} for each in people.stands_in]
    out = StringIO()
    yaml.dump(written, out)
    return out.getvalue()
