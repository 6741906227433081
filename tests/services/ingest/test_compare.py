"""What a poll finds: Consonance's answers read, compared, told."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.ingest.compare import FIELDS, Comparison, Told, compare
from services.ingest.house_words import Words
from services.ingest.observe import contact_view, work_view
from shared.contracts.consonance import (
    Component,
    ComponentChanged,
    ComponentState,
    MetadataChanged,
    MetadataField,
    PubDateChanged,
    PublishingStatusChanged,
    StageChanged,
    WorkObserved,
    short_name,
)
from shared.contracts.ids import TenantId
from shared.contracts.vocabulary import Role, Stage

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
WORDS = Words()
POLLED = frozenset(
    {"work.stage_changed", "metadata.changed", "product.pub_date_changed", "product.publishing_status_changed",
     "launch.component_changed"}
)  # fmt: skip


def contribution(contact: int, name: str, code: str, sequence: int) -> dict[str, Any]:
    contributor = {"__typename": "Person", "id": contact, "name": name, "personName": name}
    return {"sequenceNumber": sequence, "onixContributorRole": {"code": code}, "contributor": contributor}


def node(**more: Any) -> dict[str, Any]:
    product = {
        "id": 7, "title": "The Salt Road", "isbn": {"isbn13": "978-0-306-40615-7"}, "publicationDate": "2027-09-09",
        "onixPublishingStatus": {"code": "02"}, "onixPublishingStatusCode": "_02",
    }  # fmt: skip
    work = {
        "id": 61417, "title": "The Salt Road", "subtitle": "Walking", "projectStage": "Author proof review",
        "contributions": [contribution(801, "Eleanor", "A01", 1), contribution(802, "Mathilde", "A12", 2)],
        "products": [product], "shortDescription": [{"id": 1, "externalText": "<p>Salt.</p>"}],
        "coverCopy": [{"id": 2, "externalText": "Copy", "approvalStatusName": "In review"}],
        "supportingResources": [{"id": 3, "variant": "front_cover", "status": "draft"}],
        "metadataStatus": "draft",
    }  # fmt: skip
    return {**work, **more}


def told(before: dict[str, Any] | None, after: dict[str, Any], **more: Any) -> list[Told]:
    at = {"tenant": TenantId("pelican"), "words": WORDS, "now": NOW, "number": 2, "known": FIELDS, "polled": POLLED}
    old = None if before is None else work_view(before, WORDS)
    return compare(old, work_view(after, WORDS), Comparison(**{**at, **more}))


def kinds(events: list[Told]) -> list[str]:
    return [short_name(event.data.kind) for event in events]


def product(**more: Any) -> list[dict[str, Any]]:
    return [{**node()["products"][0], **more}]


def test_the_first_view_tells_only_itself() -> None:
    (event,) = told(None, node())
    assert isinstance(event.data, WorkObserved)
    assert event.data.stage_key is Stage.AUTHOR_PROOF_REVIEW
    assert [(party.contact_id, party.role) for party in event.data.people] == [(801, "author"), (802, "illustrator")]
    assert event.data.products[0].isbn13 == "9780306406157"
    assert event.data.texts == {MetadataField.SHORT_DESCRIPTION: "Salt.", MetadataField.COVER_COPY: "Copy"}


def test_the_same_view_tells_nothing() -> None:
    assert told(node(), node()) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"projectStage": "Final proof approved"}, "work.stage_changed"),
        ({"title": "The Salt Roads"}, "metadata.changed"),
        ({"subtitle": None}, "metadata.changed"),
        ({"shortDescription": [{"id": 9, "externalText": "Sea."}]}, "metadata.changed"),
        ({"contributions": node()["contributions"][:1]}, "metadata.changed"),
        ({"products": product(publicationDate="2027-10-09")}, "product.pub_date_changed"),
        ({"products": product(onixPublishingStatus={"code": "04"})}, "product.publishing_status_changed"),
        (
            {"supportingResources": [{"id": 4, "variant": "front_cover", "status": "Approved"}]},
            "launch.component_changed",
        ),
        ({"metadataStatus": "approved"}, "launch.component_changed"),
    ],
)
def test_state_is_told_before_what_changed_in_it(change: dict[str, Any], expected: str) -> None:
    assert kinds(told(node(), node(**change))) == ["work.observed", expected]


@pytest.mark.parametrize(
    "change",
    [
        {"shortDescription": [{"id": 9, "externalText": "<div>Salt.</div>"}]},
        {"publishersUrl": "https://penrose.example"},
        {"products": [*product(), {"id": 8, "publicationDate": "2027-01-01"}]},
    ],
)
def test_what_is_no_change_of_its_own_is_only_state(change: dict[str, Any]) -> None:
    assert set(kinds(told(node(), node(**change)))) <= {"work.observed"}


def test_a_field_is_silent_until_its_first_pass_is_complete() -> None:
    known = [field for field in FIELDS if field != "stage"]
    assert kinds(told(node(), node(projectStage="Published"), known=known)) == ["work.observed"]


def test_a_component_that_could_not_be_told_before_is_silent_at_first() -> None:
    documented = {name: part for name, part in node().items() if name not in {"coverCopy", "supportingResources"}}
    assert "launch.component_changed" not in kinds(told(documented, node()))


def test_a_kind_another_source_tells_is_left_to_it() -> None:
    after = node(projectStage="Published")
    assert kinds(told(node(), after, polled=POLLED - {"work.stage_changed"})) == ["work.observed"]


def test_back_and_forth_are_distinct_and_a_repetition_is_not() -> None:
    final, draft = node(metadataStatus="approved"), node()
    there, again = told(draft, final, number=2), told(draft, final, number=2)
    back, there_again = told(final, draft, number=3), told(draft, final, number=4)
    assert [event.id for event in there] == [event.id for event in again]
    assert len({event.id for event in (*there, *back, *there_again)}) == 6


def test_each_change_says_from_what_to_what() -> None:
    stage = told(node(), node(projectStage="With copyeditor"))[1].data
    assert isinstance(stage, StageChanged)
    assert (stage.from_stage, stage.to_stage_key) == ("Author proof review", Stage.COPYEDIT_ASSIGNED)
    dated = told(node(), node(products=product(publicationDate=None)))[1].data
    assert isinstance(dated, PubDateChanged)
    assert (str(dated.old), dated.new) == ("2027-09-09", None)
    status = told(node(), node(products=product(onixPublishingStatus=None, onixPublishingStatusCode="_04")))[1].data
    assert isinstance(status, PublishingStatusChanged)
    assert (status.old, status.new) == ("02", "04")


def test_contributors_are_told_once_by_name_by_role_or_by_order() -> None:
    renamed = [contribution(801, "Eleanor W.", "A01", 1), node()["contributions"][1]]
    swapped = [contribution(801, "Eleanor", "A01", 2), contribution(802, "Mathilde", "A12", 1)]
    for people, field in ((renamed, "contributor_name"), (swapped, "contributor_order"), ([], "contributor_role")):
        data = told(node(), node(contributions=people))[1].data
        assert isinstance(data, MetadataChanged)
        assert [change.field for change in data.changes] == [field]


def test_without_a_status_metadata_is_final_when_every_check_holds() -> None:
    silent = {name: part for name, part in node().items() if name != "metadataStatus"}
    complete, bare = work_view(silent, WORDS), work_view({**silent, "shortDescription": []}, WORDS)
    assert complete.components[Component.METADATA] is ComponentState.FINAL
    assert bare.components[Component.METADATA] is ComponentState.DRAFT


def test_checks_travel_with_the_metadata_component() -> None:
    data = told(node(), node(metadataStatus="approved"))[1].data
    assert isinstance(data, ComponentChanged)
    assert {check.rule for check in data.checks} >= {"has_title", "has_publication_date"}


def test_a_contact_is_read_with_tags_roles_country_and_number() -> None:
    contact = {
        "__typename": "Person", "id": 812, "name": "Solène Marchetti",
        "contactTags": ["role:rights_holder", "language:fr"],
        "addresses": [{"country": {"code": "FR"}}], "contributions": [{"onixContributorRole": {"code": "A01"}}],
        "phones": [
            {"phoneNumber": "01 44 55 66 77", "phoneType": "Office"},
            {"phoneNumber": "06 39 98 12 34", "phoneType": "Mobile"},
        ],
    }  # fmt: skip
    view = contact_view(contact, WORDS)
    assert (view.language, view.country, view.phone) == ("fr", "FR", "+33639981234")
    assert view.roles == (Role.AUTHOR, Role.RIGHTS_HOLDER)


def test_a_tenants_own_words_come_first() -> None:
    words = Words(stages={"Final Proofs OK": Stage.FINAL_PROOF_APPROVED}, tags={"Agence": "role:agent"})
    assert words.stage("final  proofs ok") is Stage.FINAL_PROOF_APPROVED
    assert words.meaning(["agence", "VIP"]).roles == (Role.AGENT,)
    assert words.stage("On hold") is Stage.UNMAPPED
