"""Makes recorded decisions again, from a bundle, and compares them byte for byte.

The same function puts a decision into a bundle: it is first made again from what was recorded, then once more without
what is personal; only where both come to the same is it added.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson
from msgspec import Raw

from services.rules.analysis.bundle import EVENT_KINDS, Bundle, RecordedDecision, UnreadableBundle, rulebooks_of
from services.rules.analysis.pseudonyms import BUNDLE_KEYS, Pseudonyms
from services.rules.conversation import button_ids
from services.rules.conversation.absence import stated_absence
from services.rules.conversation.chain import NO_EVENT, Chain
from services.rules.conversation.context import Decision
from services.rules.conversation.decider import Decider, decider_of
from services.rules.conversation.decision_inputs import (
    DecisionInputs,
    digest_of,
    effects_digest,
    facts_of,
    outcome_bytes,
    state_digest,
)
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.unsolicited import word_hash
from services.rules.rulebook.model import Rulebook
from shared.contracts.envelope import parse_event
from shared.contracts.ids import Revision
from shared.contracts.values import decode, encode
from shared.contracts.whatsapp import MessageReceived

Documents = Callable[[str], bytes]
"""The JSON of a fact by its digest."""


@dataclass(slots=True)
class Replayer:
    """Makes decisions again by the rulebooks they were made by."""

    rulebooks: Callable[[Revision], Rulebook]
    _deciders: dict[Revision, Decider] = field(default_factory=dict)

    def decide(self, inputs: DecisionInputs, document: Documents) -> Decision:
        """Raises an error of the engine where it cannot decide from these inputs any more."""
        facts = facts_of(inputs, document)
        decider = self._decider(inputs.revision)
        if inputs.chain is not None:
            return decider.decide_due(facts.chains[inputs.chain], facts, inputs.now)
        event = parse_event(bytes(inputs.event), EVENT_KINDS)
        return decider.decide(event, facts, inputs.now)

    def _decider(self, revision: Revision) -> Decider:
        if revision not in self._deciders:
            self._deciders[revision] = decider_of(
                self.rulebooks(revision), self.rulebooks, BUNDLE_KEYS, has_second_engine=False
            )
        return self._deciders[revision]


# ------------------------------------------------------------------ replaying a bundle


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision made again. ``error`` is the engine's where it could not be made."""

    about: str
    expected: bytes
    found: bytes
    error: str = ""

    @property
    def same(self) -> bool:
        return not self.error and self.expected == self.found

    def differences(self) -> list[str]:
        """The places in which a recorded value is another one now, with both values."""
        if self.error:
            return [self.error]
        return [place for place, added in self._places() if not added]

    @property
    def only_adds(self) -> bool:
        """Whether nothing recorded has changed: the state has fields that this version adds."""
        return not self.same and not self.differences()

    def _places(self) -> Iterator[tuple[str, bool]]:
        return _differences(orjson.loads(self.expected), orjson.loads(self.found), "")


def replay_bundle(bundle: Bundle) -> Iterator[Replayed]:
    """Every decision of a bundle, made again."""
    replayer = Replayer(rulebooks_of(bundle))
    for recorded in bundle.decisions:
        expected = bytes(recorded.outcome)
        try:
            decision = replayer.decide(recorded.inputs, bundle.facts.__getitem__)
        except Exception as error:  # noqa: BLE001 -- whatever the engine raises is a difference to be shown
            yield Replayed(recorded.inputs.about, expected, b"", f"{type(error).__name__}: {error}")
        else:
            yield Replayed(recorded.inputs.about, expected, outcome_bytes(decision))


def _differences(one: Any, other: Any, path: str) -> Iterator[tuple[str, bool]]:
    """Each place, and whether it is one that the recording does not have."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys((*one, *other)):
            within = f"{path}.{name}" if path else name
            if name not in one:
                yield f"{within}: now {orjson.dumps(other[name]).decode()}", within.startswith("state.")
            else:
                yield from _differences(one[name], other.get(name), within)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, f"{path}[{index}]")
    elif one != other:
        yield f"{path}: recorded {orjson.dumps(one).decode()}, now {orjson.dumps(other).decode()}", False


# ------------------------------------------------------------------ adding to a bundle


class NotAdded(StrEnum):
    """Why a recorded decision is not in a bundle."""

    FACT_MISSING = "fact_missing"  # a fact it was made from is kept no longer
    RULEBOOK_MISSING = "rulebook_missing"  # it is not stored, or this version cannot read it
    DECIDED_OTHERWISE = "decided_otherwise"  # this version comes to another outcome than the recorded one
    NOT_ANONYMOUS = "not_anonymous"  # without what is personal it would be another decision


@dataclass(slots=True)
class BundleRecorder:
    """Adds recorded decisions to a bundle; ``rulebooks`` gives those of the live system."""

    bundle: Bundle
    replayer: Replayer
    pseudonyms: Pseudonyms
    files: Callable[[Revision], Mapping[str, str]]

    def add(self, inputs: DecisionInputs, document: Documents) -> NotAdded | None:
        """The reason why a decision cannot be in the bundle, or None where it is now."""
        inputs = with_button_of_bundle(inputs)
        try:
            self.replayer.rulebooks(inputs.revision)
        except (KeyError, UnreadableBundle):
            return NotAdded.RULEBOOK_MISSING
        try:
            decision = self.replayer.decide(inputs, document)
        except KeyError:
            return NotAdded.FACT_MISSING
        if effects_digest(decision) != inputs.effects:
            return NotAdded.DECIDED_OTHERWISE
        facts: dict[str, bytes] = {}
        plain = self._without_personal_data(inputs, document, facts)
        repeated = self.replayer.decide(plain, facts.__getitem__)
        outcome = outcome_bytes(repeated)
        if not _Alignment(self.pseudonyms).same(orjson.loads(outcome_bytes(decision)), orjson.loads(outcome)):
            return NotAdded.NOT_ANONYMOUS
        for revision in {inputs.revision, *_revisions(plain, facts)}:
            self.bundle.add_rulebook(revision, self.files(revision))
        self.bundle.facts.update(facts)
        plain = plain.replace(effects=effects_digest(repeated), state=state_digest(repeated))
        self.bundle.decisions.append(RecordedDecision(inputs=plain, outcome=Raw(outcome)))
        return None

    def _without_personal_data(
        self, inputs: DecisionInputs, document: Documents, facts: dict[str, bytes]
    ) -> DecisionInputs:
        names, chains = self.pseudonyms, inputs.documents.get("chains", {})
        names.learn_people(
            decode(PersonFacts, document(digest)) for digest in inputs.documents.get("people", {}).values()
        )
        names.learn_chains(decode(Chain, document(digest)) for digest in chains.values())
        message = _message_of(inputs)
        text, facts_then = None if message is None else message.text, facts_of(inputs, document)
        book = self.replayer.rulebooks(inputs.revision)
        stated = None if message is None else stated_absence(book, facts_then, message)
        names.learn_notice(text, stated, facts_then)
        names.learn_text(text, word_hash)
        documents: dict[str, dict[str, str]] = {}
        for table, found in inputs.documents.items():
            for key, digest in found.items():
                raw = names.replace(document(digest))
                facts[digest_of(raw)] = raw
                documents.setdefault(table, {})[names.replace_values(key)] = digest_of(raw)
        return inputs.replace(
            about=names.replace_values(inputs.about),
            event=NO_EVENT if inputs.event == NO_EVENT else Raw(names.replace(bytes(inputs.event))),
            documents=documents,
            words=names.replace_values(inputs.words),
        )


def _message_of(inputs: DecisionInputs) -> MessageReceived | None:
    if inputs.event == NO_EVENT:
        return None
    data = parse_event(bytes(inputs.event), EVENT_KINDS).data
    return data if isinstance(data, MessageReceived) else None


def _revisions(inputs: DecisionInputs, facts: Mapping[str, bytes]) -> set[Revision]:
    return {decode(Chain, facts[digest]).revision for digest in inputs.documents.get("chains", {}).values()}


def with_button_of_bundle(inputs: DecisionInputs) -> DecisionInputs:
    """The inputs with the tapped button signed by the key of bundles, since the service's own key is not in a bundle. A
    forged button shows in another outcome.
    """
    if inputs.event == NO_EVENT:
        return inputs
    event = parse_event(bytes(inputs.event), EVENT_KINDS)
    button = event.data.button_id if isinstance(event.data, MessageReceived) else None
    claimed = button_ids.claimed_message(button) if button else None
    if button is None or claimed is None or not isinstance(event.data, MessageReceived):
        return inputs
    signed = button_ids.sign_button_id(BUNDLE_KEYS, claimed, button.split(".")[2])
    changed = event.data.replace(button_id=signed)
    return inputs.replace(event=Raw(encode(event.replace(data=changed))))


_ID = re.compile(r"[pv]?[0-9a-f]{32}|[0-9a-f]{64}|[A-HJKMNP-Z2-9]{6}")


class _Alignment:
    """Whether two outcomes are the same but for pseudonyms: each id of one stands for one of the other."""

    def __init__(self, names: Pseudonyms) -> None:
        self._names = names
        self._ids: dict[str, str] = {}

    def same(self, one: Any, other: Any, name: str = "") -> bool:
        if isinstance(one, dict) and isinstance(other, dict):
            return self._same_mapping(one, other, name)
        if isinstance(one, list) and isinstance(other, list):
            if name == "words":
                return len(one) == len(other) or self._names.is_notice(one)
            return len(one) == len(other) and all(map(lambda a, b: self.same(a, b, name), one, other))
        if isinstance(one, str) and isinstance(other, str):
            return self._same_text(one, other, name)
        return bool(one == other or (type(one) is int and self._names.contact(one) == other))

    def _same_mapping(self, one: dict[str, Any], other: dict[str, Any], name: str) -> bool:
        if len(one) != len(other):
            return False
        plain = self._names.replace_values(one, name)
        keys = {key: self._ids.get(key, key) for key in one}
        for key, changed in zip(one, plain, strict=True):
            if keys[key] not in other:
                keys[key] = changed
        # The part that names ids comes first: a table of the state is found by ids that an effect has shown.
        first = sorted(one, key=lambda key: ("effects", "record", "state").index(key) if key in _PARTS else 0)
        replaced = dict(zip(one, plain.values(), strict=True))
        return all(
            keys[key] in other and (replaced[key] == other[keys[key]] or self.same(one[key], other[keys[key]], key))
            for key in first
        )

    def _same_text(self, one: str, other: str, name: str) -> bool:
        names = self._names
        if one == other or names.replace_values({name: one})[name] == other or names.text(one) == other:
            return True
        parts, others = one.split("."), other.split(".")
        return len(parts) == len(others) and all(map(self._same_part, parts, others))

    def _same_part(self, one: str, other: str) -> bool:
        if one == other:
            return True
        return bool(_ID.fullmatch(one) and _ID.fullmatch(other)) and self._ids.setdefault(one, other) == other


_PARTS = frozenset({"effects", "record", "state"})
