"""A chain breaks at the entry that was touched; a content opens with its own key alone, and for its own entry."""

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import pytest

from services.writeback.evidence_chain import (
    ChainEnd,
    EvidenceDraft,
    EvidenceEntry,
    PersonKey,
    SealBroken,
    append_entry,
    find_break,
    make_key,
    open_content,
)
from tests.services.writeback.samples import NOW, TENANT

KEY = make_key()


def chain(*keys: PersonKey) -> list[EvidenceEntry]:
    end, made = ChainEnd(), []
    for number, key in enumerate(keys or (KEY, KEY, KEY), 1):
        draft = EvidenceDraft(
            tenant=TENANT,
            record="rights/R-9",
            entry_id=f"e{number}",
            kind="answered",
            at=NOW,
            person_id="person-of-penrose-1",
            public={"answer": "approve"},
            content={"text": "J’autorise", "name": "Hélène Duvernay"},
        )
        entry, end = append_entry(end, draft, key)
        made.append(entry)
    return made


def find_break_in(
    entries: Sequence[EvidenceEntry], end: ChainEnd, tenant: str = TENANT, record: str = "rights/R-9"
) -> str | None:
    return find_break(tenant, record, entries, end)


def end_of(entries: Sequence[EvidenceEntry]) -> ChainEnd:
    return ChainEnd(len(entries), entries[-1].hash)


def test_a_chain_that_was_left_alone_is_whole() -> None:
    made = chain()
    assert find_break_in(made, end_of(made)) is None
    assert find_break_in([], ChainEnd()) is None


def test_a_header_names_no_person_and_a_sealed_content_shows_nothing() -> None:
    entry = chain()[0]
    stored = entry.header + (entry.sealed or "")
    assert not any(word in stored for word in ("Hélène", "J’autorise", "person-of-penrose-1"))
    assert json.loads(open_content(entry, KEY.key or b""))["name"] == "Hélène Duvernay"


def with_header(entry: EvidenceEntry, header: str) -> EvidenceEntry:
    """The entry with another header, and its hash."""
    return replace(entry, header=header, hash=sha256(header.encode()).hexdigest())


@pytest.mark.parametrize(
    ("touched", "sentence"),
    [
        (
            lambda e: [e[0], replace(e[1], header=e[1].header.replace("approve", "decline")), e[2]],
            "entry 2: its header",
        ),
        (lambda e: [e[0], with_header(e[1], "no JSON"), e[2]], "entry 2: its header"),
        (lambda e: [e[0], with_header(e[1], '{"sequence": 2}'), e[2]], "entry 2: its header"),
        (lambda e: [e[0], e[2]], "entry 3: it does not follow entry 1"),
        (lambda e: [e[0], e[0], e[1], e[2]], "entry 1: it does not follow entry 1"),
        (lambda e: [e[1], e[0], e[2]], "entry 2: it does not follow entry 0"),
        (lambda e: [e[0], replace(e[1], sealed=e[0].sealed), e[2]], "entry 2: its sealed content"),
        (lambda e: [e[0], replace(e[1], sealed=None), e[2]], "entry 2: its sealed content"),
        (lambda e: e[:2], "entry 2: it is not the last one; 3 were recorded"),
        (lambda e: e[:0], "entry 0: it is not the last one"),
    ],
    ids=[
        "changed",
        "no header",
        "half a header",
        "removed",
        "repeated",
        "in another order",
        "sealed again",
        "unsealed",
        "cut",
        "emptied",
    ],
)
def test_a_chain_breaks_at_the_entry_that_was_touched(touched: object, sentence: str) -> None:
    assert callable(touched)
    made = chain()
    assert (find_break_in(touched(made), end_of(made)) or "").startswith(sentence)


def test_a_chain_is_that_of_its_own_record_alone() -> None:
    """Whole chains of two records that changed places."""
    made = chain()
    assert find_break_in(made, end_of(made), record="rights/R-8") == "entry 1: it was made for another record"
    assert find_break_in(made, end_of(made), tenant="another") == "entry 1: it was made for another record"


def test_an_entry_about_a_person_who_is_gone_has_no_content_and_keeps_its_place() -> None:
    made = chain(KEY, PersonKey("k2", None), KEY)
    assert [each.sealed is None for each in made] == [False, True, False]
    assert find_break_in(made, end_of(made)) is None
    with pytest.raises(ValueError, match="entry 2"):
        open_content(made[1], KEY.key or b"")


def test_a_content_does_not_open_with_another_key_or_in_the_place_of_another() -> None:
    first, second, _ = chain()
    with pytest.raises(SealBroken, match="does not open"):
        open_content(first, make_key().key or b"")
    with pytest.raises(SealBroken, match="does not open"):
        open_content(replace(second, sealed=first.sealed), KEY.key or b"")


def test_a_content_that_was_sealed_anew_with_the_same_key_is_noticed() -> None:
    first, again = chain()[0], chain()[0]
    with pytest.raises(SealBroken, match="another content"):
        open_content(replace(first, sealed=again.sealed), KEY.key or b"")
