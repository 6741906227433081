"""The inputs of one decision, as a value that is kept, so that the same decision can be made again.

The facts are named by the digest of their JSON: a fact that many decisions read is kept once. The outcome of the
decision is kept as a digest, too; the signatures of buttons do not count, since only a service has their key.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
import orjson
from msgspec import Raw, field

from services.rules.conversation.chain import NO_EVENT, Chain
from services.rules.conversation.context import Decision, Effect, EndedChain, ExcludedPerson, RequestedMessage
from services.rules.conversation.fact_values import (
    Absence,
    Consent,
    CountedMessages,
    FileReport,
    PersonFacts,
    RecentStarts,
    RightsFacts,
    StrangersMessages,
    UnsolicitedMessages,
    WorkFacts,
)
from services.rules.conversation.facts import Facts
from services.rules.identity_cache import cached_by_identity
from shared.contracts.envelope import Event
from shared.contracts.ids import ChainId, Revision, TenantId
from shared.contracts.messages import AmendMessage, Button, WithdrawMessage
from shared.contracts.values import Instant, Value, decode, encode
from shared.contracts.writes import RequestWrite

DOCUMENTS: Mapping[str, type[Value]] = {
    "works": WorkFacts,
    "people": PersonFacts,
    "consent": Consent,
    "unsolicited": UnsolicitedMessages,
    "absences": Absence,
    "counted": CountedMessages,
    "records": RightsFacts,
    "file_reports": FileReport,
    "starts": RecentStarts,
    "strangers": StrangersMessages,
    "chains": Chain,
}
"""The facts that are kept by digest, by the attribute of ``Facts``; the others are words."""

WORDS = ("last_rule", "acquisitions", "wamids", "notices")
_NUMBERED = frozenset({"works"})
_DIGEST_BYTES = 16
_RECORDED_TEXTS = ("body", "rendered", "reply", "text", "comment")


class DecisionInputs(Value):
    """``about`` is the event's id, or chain@instant for a due chain, whose id is ``chain`` then.

    ``documents`` are digests and ``words`` values, by table and key; chains keep the order they were loaded in.
    ``read_to`` are the instants up to which each chain's partitions had been read. ``effects`` and ``state`` are
    digests of what came of it: the state may get fields that a later version adds, the effects may not.
    """

    tenant: TenantId
    about: str
    now: Instant
    revision: Revision
    event: Raw = NO_EVENT
    chain: ChainId | None = None
    documents: dict[str, dict[str, str]] = field(default_factory=dict)
    words: dict[str, dict[str, str | None]] = field(default_factory=dict)
    read_to: dict[ChainId, Instant] = field(default_factory=dict)
    paused: tuple[str, ...] = ()
    effects: str
    state: str


def digest_of(raw: bytes) -> str:
    return blake2b(raw, digest_size=_DIGEST_BYTES).hexdigest()


@cached_by_identity(most=4096)
def _document_of(value: Value) -> tuple[str, bytes]:
    raw = encode(value)
    return digest_of(raw), raw


def record_inputs(
    decision: Decision, cause: Event | Chain, tenant: TenantId, now: datetime, keep: dict[str, bytes]
) -> DecisionInputs:
    """The inputs of a decision just made, whose changes are not applied yet; the facts it read are added to ``keep``.

    Raises ValueError for a decision without a record.
    """
    if decision.record is None:
        raise ValueError(f"the decision about {decision.about} says nothing")
    draft = decision.changes
    read = draft.read_values()
    if isinstance(cause, Chain):
        read = {**read, "chains": {cause.chain_id: cause, **read.get("chains", {})}}
    documents: dict[str, dict[str, str]] = {}
    for table in DOCUMENTS:
        for key, value in read.get(table, {}).items():
            digest, raw = _document_of(value)
            keep[digest] = raw
            documents.setdefault(table, {})[str(key)] = digest
    return DecisionInputs(
        tenant=tenant,
        about=decision.about,
        now=now,
        revision=decision.record.revision,
        event=Raw(encode(cause)) if isinstance(cause, Event) else NO_EVENT,
        chain=cause.chain_id if isinstance(cause, Chain) else None,
        documents=documents,
        words={table: dict(read[table]) for table in WORDS if table in read},
        read_to=dict(draft.read_instants),
        paused=tuple(sorted(draft.paused_rules)),
        effects=effects_digest(decision),
        state=state_digest(decision),
    )


def facts_of(inputs: DecisionInputs, document: Callable[[str], bytes]) -> Facts:
    """The facts that a decision read; ``document`` gives the JSON of a digest."""
    facts = Facts(inputs.tenant, paused_rules=frozenset(inputs.paused))
    for table, kind in DOCUMENTS.items():
        for key, digest in inputs.documents.get(table, {}).items():
            value = _value_of(kind, document(digest))
            if isinstance(value, Chain):
                facts.add_chain(value)
            elif isinstance(value, PersonFacts):
                facts.add_person(value)
            else:
                getattr(facts, table)[int(key) if table in _NUMBERED else key] = value
    for table, words in inputs.words.items():
        getattr(facts, table).update(words)
    facts.changed.clear()
    instants, last = inputs.read_to, inputs.now
    facts.read_to = lambda chain: instants.get(chain.chain_id, last)
    return facts


@lru_cache(maxsize=4096)
def _value_of(kind: type[Value], raw: bytes) -> Value:
    return decode(kind, raw)


# ------------------------------------------------------------------ digests of the outcome


def effects_digest(decision: Decision) -> str:
    """A digest of the effects in order and of the record, which is all that other services see of a decision."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for effect in decision.effects:
        digest.update(encode(_visible(effect)))
    if decision.record is not None:
        digest.update(encode(decision.record))
    return digest.hexdigest()


def state_digest(decision: Decision) -> str:
    """A digest of each changed fact as it is now."""
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for table in (*DOCUMENTS, *WORDS):
        changed = getattr(decision.changes, table).changed or {}
        for key in sorted(changed):
            value = changed[key]
            spelled = _document_of(value)[0] if isinstance(value, Value) else value
            digest.update(f"{table}/{key}={spelled}".encode())
    return digest.hexdigest()


def _visible(effect: Effect) -> msgspec.Struct:
    """The part of an effect that leaves rules, without the signatures of buttons."""
    if not isinstance(effect, RequestedMessage):
        return effect
    send = effect.send
    return send.replace(buttons=tuple(map(_unsigned, send.buttons))) if send.buttons else send


def _unsigned(button: Button) -> Button:
    return button.replace(button_id=button.button_id.rpartition(".")[0])


def outcome_bytes(decision: Decision) -> bytes:
    """The canonical JSON of a decision: its effects in order, its record, and each changed fact as it is now."""
    return orjson.dumps(outcome_of(decision), option=orjson.OPT_SORT_KEYS)


def outcome_of(decision: Decision) -> dict[str, Any]:
    """The outcome without texts (a digest stands for each) and without the signatures of buttons."""
    found: dict[str, Any] = {
        "effects": [[_KINDS[type(effect)], _builtins(_visible(effect))] for effect in decision.effects],
        "record": _builtins(decision.record) if decision.record is not None else None,
        "state": {table: values for table, values in _changed_values(decision.changes) if values},
    }
    return {name: _without_texts(each) for name, each in found.items()}


_KINDS: Mapping[type, str] = {
    RequestedMessage: "message",
    AmendMessage: "amendment",
    WithdrawMessage: "withdrawal",
    RequestWrite: "write",
    ExcludedPerson: "left_out",
    EndedChain: "end",
}


def _builtins(value: msgspec.Struct) -> Any:
    return orjson.loads(encode(value))


def _changed_values(draft: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    for table in (*DOCUMENTS, *WORDS):
        changed = getattr(draft, table).changed or {}
        yield (
            table,
            {str(key): _builtins(value) if isinstance(value, Value) else value for key, value in changed.items()},
        )


def _without_texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_texts(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _shown(name, each) for name, each in value.items()}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in _RECORDED_TEXTS:
        return digest_of(value.encode())
    if isinstance(value, dict) and name in {"parameters", "words"}:
        return {key: digest_of(str(each).encode()) for key, each in value.items()}
    return _without_texts(value)
