"""The fields of every Consonance event, and the events about the source itself and about a contact."""

from functools import lru_cache
from typing import ClassVar

from shared.contracts.envelope import EventData
from shared.contracts.ids import ContactId
from shared.contracts.values import Instant, NonEmptyStr
from shared.contracts.vocabulary import Actor, Version, WorkRef

PREFIX = "consonance."
_SUFFIX = ".v1"


@lru_cache(maxsize=128)
def short_name(kind: str) -> str:
    """``consonance.work.stage_changed.v1`` → ``work.stage_changed``, as rule files say it."""
    return kind.removeprefix(PREFIX).removesuffix(_SUFFIX)


def kind_of(name: str) -> str:
    """The kind of an event by its short name."""
    return f"{PREFIX}{name}{_SUFFIX}"


class ConsonanceData(EventData):
    """The fields that every Consonance event may have besides its own."""

    actor: Actor | None = None
    version: Version | None = None


class WorkEventData(ConsonanceData):
    work: WorkRef


class ErasureRequested(ConsonanceData):
    """A person asked that their data be erased."""

    kind: ClassVar[str] = "consonance.contact.erasure_requested.v1"
    contact_id: ContactId
    requested_at: Instant


class GapDetected(ConsonanceData):
    """A source could not be read without a break."""

    kind: ClassVar[str] = "consonance.source.gap_detected.v1"
    adapter: NonEmptyStr
    since: Instant | None = None
    detail: NonEmptyStr


class CapabilityChanged(GapDetected):
    """A source can do more or less than before."""

    kind: ClassVar[str] = "consonance.source.capability_changed.v1"
