"""Events about metadata: requests for confirmation, changes, and distribution to channels."""

from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from shared.contracts.consonance.base import WorkEventData
from shared.contracts.values import Instant, NonEmptyStr, Value
from shared.contracts.vocabulary import PartyRef


class MetadataField(StrEnum):
    TITLE = "title"
    SUBTITLE = "subtitle"
    CONTRIBUTOR_NAME = "contributor_name"
    CONTRIBUTOR_ORDER = "contributor_order"
    CONTRIBUTOR_ROLE = "contributor_role"
    COVER_COPY = "cover_copy"
    SECONDARY_COVER_COPY = "secondary_cover_copy"
    SHORT_DESCRIPTION = "short_description"
    SERIES_NAME = "series_name"
    SERIES_NUMBER = "series_number"
    BIO_NOTE = "bio_note"
    PUB_DATE = "pub_date"


class Level(StrEnum):
    WORK = "work"
    PRODUCT = "product"


class ConfirmationQuorum(StrEnum):
    FIRST = "first"
    ALL = "all"


class OnixField(Value):
    list: str | int
    code: str


class ConfirmationItem(Value):
    item_id: NonEmptyStr
    field: MetadataField
    level: Level
    target_ids: Annotated[tuple[int, ...], Meta(min_length=1)]
    onix: OnixField | None = None
    current_value: str | None = None
    current_hash: NonEmptyStr
    proposed_value: NonEmptyStr
    max_chars: int | None = None


class ConfirmationRequested(WorkEventData):
    """New values of metadata need a confirmation, by one person or by all."""

    kind: ClassVar[str] = "consonance.metadata.confirmation_requested.v1"
    request_id: NonEmptyStr
    items: Annotated[tuple[ConfirmationItem, ...], Meta(min_length=1)]
    confirmers: Annotated[tuple[PartyRef, ...], Meta(min_length=1)]
    quorum: ConfirmationQuorum
    respond_by: date


class MetadataChange(Value):
    field: MetadataField
    level: Level
    target_id: int
    old: str | None = None
    new: str | None = None
    old_hash: str | None = None
    new_hash: str | None = None


class MetadataChanged(WorkEventData):
    """Values of metadata changed in Consonance."""

    kind: ClassVar[str] = "consonance.metadata.changed.v1"
    changes: Annotated[tuple[MetadataChange, ...], Meta(min_length=1)]


class DistributionMethod(StrEnum):
    ONIX_FULL = "onix_full"
    ONIX_BLOCK = "onix_block"
    CSV = "csv"
    API = "api"


class DistributionStatus(StrEnum):
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class MetadataDistributed(WorkEventData):
    """A feed carried a change to a sales channel."""

    kind: ClassVar[str] = "consonance.metadata.distributed.v1"
    change_ids: tuple[str, ...]
    channel: NonEmptyStr
    method: DistributionMethod
    status: DistributionStatus
    at: Instant
