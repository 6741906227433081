"""Rolling updates make two versions meet: every kind ever published must still parse, and say the same again."""

from typing import Any

import orjson
import pytest

from shared.errors import Malformed, NewerKind
from shared.events.envelope import Kinds, parse, parse_document
from shared.golden import golden, golden_kinds
from shared.topics import ALL

TOPICS: dict[str, Kinds] = {kind: topic.kinds for topic in ALL for kind in topic.kinds}


def document_of(kind: str) -> dict[str, Any]:
    document = orjson.loads(golden(kind))
    assert isinstance(document, dict)
    return document


def required_of(kind: str) -> list[str]:
    """The names, as they are written, of the fields the data cannot do without."""
    fields = TOPICS[kind][kind].model_fields.items()
    return [field.alias or name for name, field in fields if field.is_required()]


def test_every_kind_of_every_topic_has_a_golden_event() -> None:
    assert set(golden_kinds()) >= TOPICS.keys()


def test_no_kind_that_was_published_has_gone() -> None:
    assert set(golden_kinds()) <= TOPICS.keys()


@pytest.mark.parametrize("kind", golden_kinds())
def test_a_golden_event_reads_and_writes_the_same(kind: str) -> None:
    event = parse(golden(kind), TOPICS[kind])
    assert event.type == event.data.kind == kind
    assert parse(event.to_bytes(), TOPICS[kind]) == event


@pytest.mark.parametrize("kind", golden_kinds())
def test_a_golden_event_loses_nothing(kind: str) -> None:
    written = orjson.loads(parse(golden(kind), TOPICS[kind]).to_bytes())
    assert lost(document_of(kind), written) == []


def lost(before: object, after: object, at: str = "") -> list[str]:
    """Paths whose value did not survive; what was added with its default is no loss."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [path for key in before for path in lost(before[key], after.get(key), f"{at}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            path
            for n, (one, other) in enumerate(zip(before, after, strict=True))
            for path in lost(one, other, f"{at}.{n}")
        ]
    return [] if before == after else [at]


@pytest.mark.parametrize("kind", golden_kinds())
def test_what_a_newer_version_adds_is_tolerated_and_not_written(kind: str) -> None:
    document = document_of(kind)
    newer = {**document, "mood": "calm", "data": {**document["data"], "mood": "calm"}}
    event = parse_document(newer, TOPICS[kind])
    assert event == parse_document(document, TOPICS[kind])
    assert b"mood" not in event.to_bytes()


@pytest.mark.parametrize("kind", golden_kinds())
def test_a_newer_kind_says_so(kind: str) -> None:
    newer = kind.removesuffix(".v1") + ".v2"
    with pytest.raises(NewerKind, match=newer):
        parse_document({**document_of(kind), "type": newer}, TOPICS[kind])


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in golden_kinds() for field in required_of(kind)])
def test_a_missing_field_is_named(kind: str, field: str) -> None:
    document = document_of(kind)
    del document["data"][field]
    with pytest.raises(Malformed, match=rf"^data\.{field}: "):
        parse_document(document, TOPICS[kind])


@pytest.mark.parametrize("attribute", ["id", "source", "time", "recordedtime", "tenantid", "partitionkey"])
def test_a_missing_attribute_is_named(attribute: str) -> None:
    document = document_of("consonance.work.blocked.v1")
    del document[attribute]
    with pytest.raises(Malformed, match=rf"^{attribute}: "):
        parse_document(document, TOPICS["consonance.work.blocked.v1"])
