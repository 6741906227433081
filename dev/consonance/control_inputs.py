"""The bodies that the control API takes: an unknown or missing field is an error that names it."""

import hashlib
from datetime import date
from typing import Annotated, Any, Literal

import orjson
from msgspec import ValidationError
from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from shared.contracts.consonance import (
    Asset,
    AssetType,
    Component,
    ComponentState,
    DateBasis,
    Exclusivity,
    RequestKind,
    RightType,
    Terms,
)
from shared.contracts.values import convert, describe_error, to_builtins
from shared.contracts.vocabulary import MilestoneKey, Role


def _contract(of: type[Any]) -> PlainValidator:
    """A value of a contract, read as the contract says."""

    def read(given: Any) -> Any:
        try:
            return convert(of, given)
        except ValidationError as error:
            raise ValueError(describe_error(error, of)) from None

    return PlainValidator(read)


class ControlInput(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Edit(ControlInput):
    """Only what is given is changed."""

    def given_fields(self) -> dict[str, Any]:
        return self.model_dump(include=self.model_fields_set)


class WorkEdit(Edit):
    """``stage`` is its name or its number."""

    title: str | None = None
    subtitle: str | None = None
    stage: str | int | None = None
    acronym: str | None = None
    season: str | None = None
    marketing_tier: str | None = None
    embargo_until: date | None = None


class ProductEdit(Edit):
    title: str | None = None
    subtitle: str | None = None
    prefix: str | None = None
    isbn: str | None = None
    status: str | None = None
    price: float | None = None
    publication_date: date | None = None
    planned_publication_date: date | None = None


class PhoneInput(ControlInput):
    phone_number: str
    phone_type: str = "mobile"


class ContactEdit(Edit):
    given_name: str | None = None
    key_names: str | None = None
    country: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    town: str | None = None
    phones: list[PhoneInput] | None = None
    contact_tags: list[str] | None = None
    biographical_note: str | None = None


class EventInput(ControlInput):
    """``type`` may be short. ``data`` may name works and people by id (references)."""

    type: str
    subject: str | None = None
    data: dict[str, Any]
    id: str | None = None


class BatchInput(ControlInput):
    events: list[EventInput] = Field(min_length=1)


class PartyInput(ControlInput):
    contact_id: int
    role: Role


class RightsRequestInput(ControlInput):
    """``push`` also sends the event to the webhook, as an integration platform would."""

    request_id: str | None = None
    work_id: int
    rights_holder: int
    via_agent_contact_id: int | None = None
    kind: RequestKind = RequestKind.PERMISSION
    right_type: RightType = RightType.PERMISSION
    asset: Annotated[Asset, _contract(Asset)] = Asset(type=AssetType.IMAGE, description="the photograph of the quay")
    terms: Annotated[Terms, _contract(Terms)] = Terms(
        summary="inside the book, worldwide, print and e-book",
        territory="world",
        languages=("eng",),
        exclusivity=Exclusivity.NON_EXCLUSIVE,
    )
    respond_by: date
    requires_signature: bool = False
    requested_by: int = 40
    push: bool = True


class RightsRequestChange(ControlInput):
    """New terms, or an end."""

    terms: Annotated[Terms, _contract(Terms)] | None = None
    status: Literal["cancelled", "closed"] | None = None
    push: bool = True


class MilestoneInput(ControlInput):
    milestone_id: str | None = None
    work_id: int
    name: str
    milestone_key: MilestoneKey
    due_on: date | None = None
    basis: DateBasis = DateBasis.ABSOLUTE
    affected: list[PartyInput] = []
    push: bool = True


class MilestoneChange(ControlInput):
    """Only what is given is changed; null takes a date away."""

    due_on: date | None = None
    done_on: date | None = None
    reason: str | None = None
    push: bool = True


class ComponentsInput(ControlInput):
    front_cover: ComponentState | None = None
    full_cover: ComponentState | None = None
    jacket_copy: ComponentState | None = None
    metadata: ComponentState | None = None
    interior_files: ComponentState | None = None
    ebook_file: ComponentState | None = None

    def given_fields(self) -> dict[Component, ComponentState]:
        return {Component(name): state for name, state in self if state is not None}


def terms_hash(terms: Terms) -> str:
    """The hash of the terms' canonical JSON. Clients repeat it, and need not be able to compute it."""
    return hashlib.sha256(orjson.dumps(to_builtins(terms), option=orjson.OPT_SORT_KEYS)).hexdigest()
