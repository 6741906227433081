"""Rolling updates make two versions meet: every kind ever published must still parse, and say the same again."""

from typing import Any

import orjson
import pytest
from msgspec.structs import fields

from shared.contracts.envelope import Event, Kinds, parse_event
from shared.contracts.errors import Malformed, NewerKind
from shared.contracts.golden import golden, golden_kinds, golden_names
from shared.contracts.topics import ALL_TOPICS
from shared.contracts.values import Value, encode

TOPICS: dict[str, Kinds] = {kind: topic.kinds for topic in ALL_TOPICS for kind in topic.kinds}

TAGS = {"specversion", "operation", "entry"}
"""The tag that says how the rest is to be read; it is no field."""


def document_of(name: str) -> dict[str, Any]:
    document = orjson.loads(golden(name))
    assert isinstance(document, dict)
    return document


def required_of(kind: str) -> list[str]:
    """The names, as they are written, of the fields the data cannot do without."""
    return [field.encode_name for field in fields(TOPICS[kind][kind]) if field.required]


def read(document: dict[str, Any], kind: str) -> Event:
    return parse_event(orjson.dumps(document), TOPICS[kind])


def test_every_kind_of_every_topic_has_a_golden_event() -> None:
    assert set(golden_kinds()) >= TOPICS.keys()


def test_no_kind_that_was_published_has_gone() -> None:
    assert set(golden_kinds()) <= TOPICS.keys()


def kind_of(name: str) -> str:
    return name.partition("+")[0]


@pytest.mark.parametrize("name", golden_names())
def test_a_golden_event_reads_and_writes_the_same(name: str) -> None:
    kind = kind_of(name)
    event = parse_event(golden(name), TOPICS[kind])
    assert event.type == event.data.kind == kind
    assert parse_event(event.to_bytes(), TOPICS[kind]) == event


@pytest.mark.parametrize("name", golden_names())
def test_a_golden_event_loses_nothing(name: str) -> None:
    event = parse_event(golden(name), TOPICS[kind_of(name)])
    assert lost(document_of(name), event) == []


def lost(written: object, known: object, at: str = "") -> list[str]:
    """Paths of a document that are not in what was read of it."""
    if isinstance(written, dict) and isinstance(known, Value):
        names = dict(zip(known.__struct_encode_fields__, known.__struct_fields__, strict=True))
        unknown = [f"{at}.{key}" for key in written if key not in names and key not in TAGS]
        held = [(key, getattr(known, names[key])) for key in written if key in names]
        return unknown + [path for key, value in held for path in lost(written[key], value, f"{at}.{key}")]
    if isinstance(written, list) and isinstance(known, tuple) and len(written) == len(known):
        pairs = zip(written, known, strict=True)
        return [path for place, pair in enumerate(pairs) for path in lost(*pair, f"{at}.{place}")]
    return [] if json_of(known) == written else [at]


def json_of(value: object) -> object:
    return orjson.loads(encode(value))


@pytest.mark.parametrize("kind", golden_kinds())
def test_fields_of_a_newer_version_are_tolerated_and_not_written(kind: str) -> None:
    document = document_of(kind)
    event = read({**document, "mood": "calm", "data": {**document["data"], "mood": "calm"}}, kind)
    assert event == read(document, kind)
    assert b"mood" not in event.to_bytes()


@pytest.mark.parametrize("kind", golden_kinds())
def test_a_newer_kind_says_so(kind: str) -> None:
    newer = kind.removesuffix(".v1") + ".v2"
    with pytest.raises(NewerKind, match=newer):
        read({**document_of(kind), "type": newer}, kind)


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in golden_kinds() for field in required_of(kind)])
def test_a_missing_field_is_named(kind: str, field: str) -> None:
    document = document_of(kind)
    del document["data"][field]
    with pytest.raises(Malformed, match=rf"^data\.{field}: "):
        read(document, kind)


@pytest.mark.parametrize("attribute", ["id", "source", "time", "recordedtime", "tenantid", "partitionkey"])
def test_a_missing_attribute_is_named(attribute: str) -> None:
    document = document_of("consonance.work.blocked.v1")
    del document[attribute]
    with pytest.raises(Malformed, match=rf"^{attribute}: "):
        read(document, "consonance.work.blocked.v1")
