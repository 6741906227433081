"""Compares two snapshots of a work and gives the events that happened between them. Pure.

A new work gives only its state. A change in a field gives no event before the first complete pass over that field.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from services.ingest.poll.snapshots import (
    Contributor,
    ProductSnapshot,
    WorkSnapshot,
    product_ref,
    work_observed,
    work_ref,
)
from services.ingest.poll.vocabulary import TenantVocabulary
from shared.contracts import consonance
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import Component, Level, MetadataChange, MetadataField
from shared.contracts.envelope import EventData
from shared.contracts.ids import EventId, TenantId, derive_id
from shared.contracts.values import encode
from shared.contracts.vocabulary import Version, VersionKind

COMPARED_FIELDS = ("stage", "title", "people", "texts", "dates", "statuses", "components")
"""A field that is added here later begins with a pass of its own that publishes nothing."""


@dataclass(frozen=True, slots=True)
class WorkEvent:
    """An event to publish; ``id`` is the same whenever these two snapshots are compared again."""

    id: EventId
    data: EventData


@dataclass(frozen=True, slots=True)
class ComparisonContext:
    """``version`` is that of the new snapshot; ``known`` are the fields whose first pass is complete.

    ``polled`` are the kinds of event that the poll publishes.
    """

    tenant: TenantId
    vocabulary: TenantVocabulary
    now: datetime
    version: int
    known: Collection[str]
    polled: Collection[str]


def compare_works(old: WorkSnapshot | None, new: WorkSnapshot, context: ComparisonContext) -> list[WorkEvent]:
    """The full state first, then the changes in it; empty where nothing changed."""
    if old is not None and old.replace(unread=new.unread) == new:
        return []
    state = WorkEvent(_event_id(context, new, "observed"), _state(new, context))
    if old is None:
        return [state]
    changes = [(name, data) for name, data in _changes(old, new, context) if _is_polled(data, context)]
    return [state, *(WorkEvent(_event_id(context, new, name), data) for name, data in changes)]


def _changes(
    old_work: WorkSnapshot, new_work: WorkSnapshot, context: ComparisonContext
) -> Iterable[tuple[str, EventData]]:
    if "stage" in context.known and old_work.stage != new_work.stage:
        yield "stage", _stage_change(old_work, new_work, context)
    changed = _metadata_changes(old_work, new_work, context.known)
    if changed:
        yield (
            "metadata",
            consonance.MetadataChanged(
                work=work_ref(new_work), version=_version(new_work, context), changes=tuple(changed)
            ),
        )
    yield from _product_changes(old_work, new_work, context)
    if "components" in context.known:
        yield from _component_changes(old_work, new_work, context)


def _stage_change(old_work: WorkSnapshot, new_work: WorkSnapshot, context: ComparisonContext) -> EventData:
    return consonance.StageChanged(
        work=work_ref(new_work),
        version=_version(new_work, context),
        from_stage=old_work.stage,
        to_stage=new_work.stage or "none",
        to_stage_key=context.vocabulary.stage(new_work.stage),
        changed_at=context.now,
    )


def _metadata_changes(old_work: WorkSnapshot, new_work: WorkSnapshot, known: Collection[str]) -> list[MetadataChange]:
    changes: list[MetadataChange | None] = []
    if "title" in known:
        changes += _title_changes(old_work, new_work)
    if "texts" in known:
        fields = {*old_work.texts, *new_work.texts}
        pairs = ((field, old_work.texts.get(field), new_work.texts.get(field)) for field in sorted(fields))
        changes += [_field_change(field, Level.WORK, new_work.work_id, old, new) for field, old, new in pairs]
    if "people" in known:
        changes += _contributor_changes(old_work, new_work)
    return [change for change in changes if change is not None]


def _title_changes(old_work: WorkSnapshot, new_work: WorkSnapshot) -> Iterable[MetadataChange | None]:
    yield _field_change(MetadataField.TITLE, Level.WORK, new_work.work_id, old_work.title, new_work.title)
    yield _field_change(MetadataField.SUBTITLE, Level.WORK, new_work.work_id, old_work.subtitle, new_work.subtitle)
    for old, new in _products_in_both(old_work, new_work):
        yield _field_change(MetadataField.TITLE, Level.PRODUCT, new.product_id, old.title, new.title)
        yield _field_change(MetadataField.SUBTITLE, Level.PRODUCT, new.product_id, old.subtitle, new.subtitle)


def _contributor_changes(old_work: WorkSnapshot, new_work: WorkSnapshot) -> Iterable[MetadataChange | None]:
    """Changed names, then changed roles, else a changed order: each change gives one event."""
    names = {one.contact_id: one.name for one in old_work.people}
    renamed = [one for one in new_work.people if names.get(one.contact_id, one.name) != one.name]
    for contact_id, name in {one.contact_id: one.name for one in renamed}.items():
        yield _field_change(MetadataField.CONTRIBUTOR_NAME, Level.WORK, new_work.work_id, names[contact_id], name)
    old, new = (_credits(work.people) for work in (old_work, new_work))
    if sorted(old) != sorted(new):
        yield _field_change(
            MetadataField.CONTRIBUTOR_ROLE, Level.WORK, new_work.work_id, _credit_line(old_work), _credit_line(new_work)
        )
    elif old != new:
        yield _field_change(
            MetadataField.CONTRIBUTOR_ORDER,
            Level.WORK,
            new_work.work_id,
            _credit_line(old_work),
            _credit_line(new_work),
        )


def _product_changes(
    old_work: WorkSnapshot, new_work: WorkSnapshot, context: ComparisonContext
) -> Iterable[tuple[str, EventData]]:
    for old, new in _products_in_both(old_work, new_work):
        product, version = product_ref(new_work, new), _version(new_work, context)
        if "dates" in context.known and old.pub_date != new.pub_date:
            yield (
                f"pub_date/{new.product_id}",
                consonance.PubDateChanged(
                    work=work_ref(new_work), version=version, product=product, old=old.pub_date, new=new.pub_date
                ),
            )
        if "statuses" in context.known and old.publishing_status != new.publishing_status:
            was, is_now = old.publishing_status, new.publishing_status
            yield (
                f"publishing_status/{new.product_id}",
                consonance.PublishingStatusChanged(
                    work=work_ref(new_work), version=version, product=product, old=was, new=is_now
                ),
            )


def _component_changes(
    old_work: WorkSnapshot, new_work: WorkSnapshot, context: ComparisonContext
) -> Iterable[tuple[str, EventData]]:
    for component, state in new_work.components.items():
        if old_work.components.get(component, state) != state:
            checks = new_work.checks if component is Component.METADATA else ()
            yield (
                f"component/{component}",
                consonance.ComponentChanged(
                    work=work_ref(new_work),
                    version=_version(new_work, context),
                    component=component,
                    state=state,
                    checks=checks,
                ),
            )


def _state(work: WorkSnapshot, context: ComparisonContext) -> EventData:
    return work_observed(work, context.vocabulary.stage(work.stage), _version(work, context), context.tenant)


def _version(work: WorkSnapshot, context: ComparisonContext) -> Version:
    """Consonance has no version of a work, so a hash of everything read stands for it."""
    token = derive_id(context.tenant, encode(work).decode())
    return Version(token=token, kind=VersionKind.CONTENT_HASH, observed_at=context.now)


def _is_polled(data: EventData, context: ComparisonContext) -> bool:
    return consonance.short_name(data.kind) in context.polled


def _event_id(context: ComparisonContext, work: WorkSnapshot, name: str) -> EventId:
    return EventId(derive_id(context.tenant, "works", work.work_id, name, context.version))


def _products_in_both(
    old_work: WorkSnapshot, new_work: WorkSnapshot
) -> Iterable[tuple[ProductSnapshot, ProductSnapshot]]:
    """A new product gives no event but its work's state."""
    known = {product.product_id: product for product in old_work.products}
    return [(known[product.product_id], product) for product in new_work.products if product.product_id in known]


def _field_change(
    field: MetadataField, level: Level, target: int, old: str | None, new: str | None
) -> MetadataChange | None:
    """None where both values are the same in their canonical form."""
    hashes = canonical_hash(field, old), canonical_hash(field, new)
    if hashes[0] == hashes[1]:
        return None
    return MetadataChange(
        field=field, level=level, target_id=target, old=old, new=new, old_hash=hashes[0], new_hash=hashes[1]
    )


def _credits(people: Iterable[Contributor]) -> list[tuple[int, str]]:
    return [(one.contact_id, one.role.value) for one in people]


def _credit_line(work: WorkSnapshot) -> str:
    return "; ".join(f"{one.name} ({one.role.value})" for one in work.people)
