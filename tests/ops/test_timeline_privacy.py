"""The time line of ``stet trace`` has nothing in it that a person is called or wrote."""

from pathlib import Path

import orjson
import pytest

import shared.contracts.golden
from ops.timeline import safe_detail
from shared.contracts.envelope import parse_event
from shared.contracts.topics import CONTACTS, TRACED

KINDS = {kind: model for topic in (*TRACED, CONTACTS) for kind, model in topic.kinds.items()}
GOLDEN = [
    path
    for path in sorted(Path(shared.contracts.golden.__path__[0]).glob("*.json"))
    if orjson.loads(path.read_bytes()).get("type") in KINDS
]
"""Those of events on a topic that is traced."""
PERSONAL = frozenset({"rendered", "reply", "text", "body", "display_name", "name", "phone", "person_name", "email"})
"""Fields with what people are called, wrote or were shown."""


def personal_texts(value: object, name: str = "") -> set[str]:
    match value:
        case dict():
            return {text for key, each in value.items() if key != "template" for text in personal_texts(each, key)}
        case list():
            return {text for each in value for text in personal_texts(each, name)}
        case str() if name in PERSONAL or value.startswith("wamid."):
            return {value}
        case _:
            return set()


def test_most_golden_events_are_looked_at() -> None:
    assert len(GOLDEN) > 40


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_detail_of_an_event_has_no_name_text_or_number_of_a_person(path: Path) -> None:
    written = path.read_bytes()
    detail = safe_detail(parse_event(written, KINDS))
    assert "{" not in detail
    assert [text for text in personal_texts(orjson.loads(written)["data"]) if text in detail] == []
