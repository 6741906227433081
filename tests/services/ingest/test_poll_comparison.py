"""Records of Consonance, parsed and compared: the events between two snapshots."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.ingest.poll.comparison import COMPARED_FIELDS, ComparisonContext, WorkEvent, compare_works
from services.ingest.poll.snapshot_parser import parse_contact, parse_work
from services.ingest.poll.vocabulary import TenantVocabulary
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
VOCABULARY = TenantVocabulary()
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


def events_between(before: dict[str, Any] | None, after: dict[str, Any], **more: Any) -> list[WorkEvent]:
    context = {
        "tenant": TenantId("pelican"),
        "vocabulary": VOCABULARY,
        "now": NOW,
        "version": 2,
        "known": COMPARED_FIELDS,
        "polled": POLLED,
    }
    old = None if before is None else parse_work(before, VOCABULARY)
    return compare_works(old, parse_work(after, VOCABULARY), ComparisonContext(**{**context, **more}))


def kinds(events: list[WorkEvent]) -> list[str]:
    return [short_name(event.data.kind) for event in events]


def product(**more: Any) -> list[dict[str, Any]]:
    return [{**node()["products"][0], **more}]


def test_the_first_snapshot_gives_only_its_state() -> None:
    (event,) = events_between(None, node())
    assert isinstance(event.data, WorkObserved)
    assert event.data.stage_key is Stage.AUTHOR_PROOF_REVIEW
    assert [(party.contact_id, party.role) for party in event.data.people] == [(801, "author"), (802, "illustrator")]
    assert event.data.products[0].isbn13 == "9780306406157"
    assert event.data.texts == {MetadataField.SHORT_DESCRIPTION: "Salt.", MetadataField.COVER_COPY: "Copy"}


def test_an_equal_snapshot_gives_no_event() -> None:
    assert events_between(node(), node()) == []


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
def test_the_state_comes_before_the_change(change: dict[str, Any], expected: str) -> None:
    assert kinds(events_between(node(), node(**change))) == ["work.observed", expected]


@pytest.mark.parametrize(
    "change",
    [
        {"shortDescription": [{"id": 9, "externalText": "<div>Salt.</div>"}]},
        {"publishersUrl": "https://penrose.example"},
        {"products": [*product(), {"id": 8, "publicationDate": "2027-01-01"}]},
    ],
)
def test_other_differences_give_only_the_state(change: dict[str, Any]) -> None:
    assert set(kinds(events_between(node(), node(**change)))) <= {"work.observed"}


def test_a_field_gives_no_event_until_its_first_pass_is_complete() -> None:
    known = [field for field in COMPARED_FIELDS if field != "stage"]
    assert kinds(events_between(node(), node(projectStage="Published"), known=known)) == ["work.observed"]


def test_a_component_without_a_former_state_gives_no_event() -> None:
    documented = {name: part for name, part in node().items() if name not in {"coverCopy", "supportingResources"}}
    assert "launch.component_changed" not in kinds(events_between(documented, node()))


def test_a_kind_of_another_source_gives_no_event() -> None:
    after = node(projectStage="Published")
    assert kinds(events_between(node(), after, polled=POLLED - {"work.stage_changed"})) == ["work.observed"]


def test_changes_forth_and_back_have_different_ids_and_a_repetition_has_the_same() -> None:
    final, draft = node(metadataStatus="approved"), node()
    there, again = events_between(draft, final, version=2), events_between(draft, final, version=2)
    back, there_again = events_between(final, draft, version=3), events_between(draft, final, version=4)
    assert [event.id for event in there] == [event.id for event in again]
    assert len({event.id for event in (*there, *back, *there_again)}) == 6


def test_each_change_has_its_old_and_its_new_value() -> None:
    stage = events_between(node(), node(projectStage="With copyeditor"))[1].data
    assert isinstance(stage, StageChanged)
    assert (stage.from_stage, stage.to_stage_key) == ("Author proof review", Stage.COPYEDIT_ASSIGNED)
    dated = events_between(node(), node(products=product(publicationDate=None)))[1].data
    assert isinstance(dated, PubDateChanged)
    assert (str(dated.old), dated.new) == ("2027-09-09", None)
    status = events_between(node(), node(products=product(onixPublishingStatus=None, onixPublishingStatusCode="_04")))[
        1
    ].data
    assert isinstance(status, PublishingStatusChanged)
    assert (status.old, status.new) == ("02", "04")


def test_a_change_of_contributors_is_one_of_name_role_or_order() -> None:
    renamed = [contribution(801, "Eleanor W.", "A01", 1), node()["contributions"][1]]
    swapped = [contribution(801, "Eleanor", "A01", 2), contribution(802, "Mathilde", "A12", 1)]
    for people, field in ((renamed, "contributor_name"), (swapped, "contributor_order"), ([], "contributor_role")):
        data = events_between(node(), node(contributions=people))[1].data
        assert isinstance(data, MetadataChanged)
        assert [change.field for change in data.changes] == [field]


def test_without_a_status_metadata_is_final_when_all_checks_pass() -> None:
    silent = {name: part for name, part in node().items() if name != "metadataStatus"}
    complete, bare = parse_work(silent, VOCABULARY), parse_work({**silent, "shortDescription": []}, VOCABULARY)
    assert complete.components[Component.METADATA] is ComponentState.FINAL
    assert bare.components[Component.METADATA] is ComponentState.DRAFT


@pytest.mark.parametrize("text", [None, "", "   ", "<p> </p>", 7 * "<p></p>"])
def test_a_description_without_words_is_none(text: str | None) -> None:
    silent = {name: part for name, part in node().items() if name != "metadataStatus"}
    work = parse_work({**silent, "shortDescription": [{"id": 1, "externalText": text}]}, VOCABULARY)
    assert MetadataField.SHORT_DESCRIPTION not in work.texts
    assert work.components[Component.METADATA] is ComponentState.DRAFT


def test_the_metadata_component_has_its_checks() -> None:
    data = events_between(node(), node(metadataStatus="approved"))[1].data
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
    snapshot = parse_contact(contact, VOCABULARY)
    assert (snapshot.language, snapshot.country, snapshot.phone) == ("fr", "FR", "+33639981234")
    assert snapshot.roles == (Role.AUTHOR, Role.RIGHTS_HOLDER)


def test_a_tenants_own_terms_come_first() -> None:
    words = TenantVocabulary(stages={"Final Proofs OK": Stage.FINAL_PROOF_APPROVED}, tags={"Agence": "role:agent"})
    assert words.stage("final  proofs ok") is Stage.FINAL_PROOF_APPROVED
    assert words.parse_tags(["agence", "VIP"]).roles == (Role.AGENT,)
    assert words.stage("On hold") is Stage.UNMAPPED
