"""Two views of a work compared: what happened in between, as events; pure.

A view never seen before tells nothing but itself. A change of a field whose first complete pass is not over is silent.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from services.ingest.house_words import Words
from services.ingest.views import Contributor, ProductView, WorkView, observed, product_ref, work_ref
from shared.contracts import consonance as said
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import Component, Level, MetadataChange, MetadataField
from shared.contracts.envelope import EventData
from shared.contracts.ids import EventId, TenantId, derive_id
from shared.contracts.values import encode
from shared.contracts.vocabulary import Version, VersionKind

FIELDS = ("stage", "title", "people", "texts", "dates", "statuses", "components")
"""What is compared. A field added here later begins with a silent pass of its own."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event to be; ``id`` is the same whenever these two views are compared again."""

    id: EventId
    data: EventData


@dataclass(frozen=True, slots=True)
class Comparison:
    """``number`` is the snapshot's version after it; ``known`` are the fields whose baseline is complete."""

    tenant: TenantId
    words: Words
    now: datetime
    number: int
    known: Collection[str]
    polled: Collection[str]


def compare(before: WorkView | None, after: WorkView, at: Comparison) -> list[Told]:
    """The full state first, then what changed in it; nothing where nothing did."""
    if before is not None and before.replace(unread=after.unread) == after:
        return []
    told = [Told(_id(at, after, "observed"), _observed(after, at))]
    if before is None:
        return told
    changes = [(name, data) for name, data in _changes(before, after, at) if _is_told(data, at)]
    return told + [Told(_id(at, after, name), data) for name, data in changes]


def _changes(before: WorkView, after: WorkView, at: Comparison) -> Iterable[tuple[str, EventData]]:
    if "stage" in at.known and before.stage != after.stage:
        yield "stage", _stage(before, after, at)
    changed = _metadata(before, after, at.known)
    if changed:
        yield (
            "metadata",
            said.MetadataChanged(work=work_ref(after), version=_version(after, at), changes=tuple(changed)),
        )
    yield from _products(before, after, at)
    if "components" in at.known:
        yield from _components(before, after, at)


def _stage(before: WorkView, after: WorkView, at: Comparison) -> EventData:
    return said.StageChanged(
        work=work_ref(after),
        version=_version(after, at),
        from_stage=before.stage,
        to_stage=after.stage or "none",
        to_stage_key=at.words.stage(after.stage),
        changed_at=at.now,
    )


def _metadata(before: WorkView, after: WorkView, known: Collection[str]) -> list[MetadataChange]:
    changes: list[MetadataChange | None] = []
    if "title" in known:
        changes += _titles(before, after)
    if "texts" in known:
        fields = {*before.texts, *after.texts}
        pairs = ((field, before.texts.get(field), after.texts.get(field)) for field in sorted(fields))
        changes += [_change(field, Level.WORK, after.work_id, old, new) for field, old, new in pairs]
    if "people" in known:
        changes += _people(before, after)
    return [change for change in changes if change is not None]


def _titles(before: WorkView, after: WorkView) -> Iterable[MetadataChange | None]:
    yield _change(MetadataField.TITLE, Level.WORK, after.work_id, before.title, after.title)
    yield _change(MetadataField.SUBTITLE, Level.WORK, after.work_id, before.subtitle, after.subtitle)
    for old, new in _pairs(before, after):
        yield _change(MetadataField.TITLE, Level.PRODUCT, new.product_id, old.title, new.title)
        yield _change(MetadataField.SUBTITLE, Level.PRODUCT, new.product_id, old.subtitle, new.subtitle)


def _people(before: WorkView, after: WorkView) -> Iterable[MetadataChange | None]:
    """A name that changed, then who does what, then only the order: one change is told once."""
    names = {one.contact_id: one.name for one in before.people}
    renamed = [one for one in after.people if names.get(one.contact_id, one.name) != one.name]
    for contact_id, name in {one.contact_id: one.name for one in renamed}.items():
        yield _change(MetadataField.CONTRIBUTOR_NAME, Level.WORK, after.work_id, names[contact_id], name)
    old, new = (_credited(view.people) for view in (before, after))
    if sorted(old) != sorted(new):
        yield _change(MetadataField.CONTRIBUTOR_ROLE, Level.WORK, after.work_id, _list(before), _list(after))
    elif old != new:
        yield _change(MetadataField.CONTRIBUTOR_ORDER, Level.WORK, after.work_id, _list(before), _list(after))


def _products(before: WorkView, after: WorkView, at: Comparison) -> Iterable[tuple[str, EventData]]:
    for old, new in _pairs(before, after):
        product, version = product_ref(after, new), _version(after, at)
        if "dates" in at.known and old.pub_date != new.pub_date:
            yield (
                f"pub_date/{new.product_id}",
                said.PubDateChanged(
                    work=work_ref(after), version=version, product=product, old=old.pub_date, new=new.pub_date
                ),
            )
        if "statuses" in at.known and old.publishing_status != new.publishing_status:
            was, is_now = old.publishing_status, new.publishing_status
            yield (
                f"publishing_status/{new.product_id}",
                said.PublishingStatusChanged(
                    work=work_ref(after), version=version, product=product, old=was, new=is_now
                ),
            )


def _components(before: WorkView, after: WorkView, at: Comparison) -> Iterable[tuple[str, EventData]]:
    for component, state in after.components.items():
        if before.components.get(component, state) != state:
            checks = after.checks if component is Component.METADATA else ()
            yield (
                f"component/{component}",
                said.ComponentChanged(
                    work=work_ref(after), version=_version(after, at), component=component, state=state, checks=checks
                ),
            )


def _observed(view: WorkView, at: Comparison) -> EventData:
    return observed(view, at.words.stage(view.stage), _version(view, at), at.tenant)


def _version(view: WorkView, at: Comparison) -> Version:
    """Consonance has no version of its own: a hash of all we read, the only sure one."""
    token = derive_id(at.tenant, encode(view).decode())
    return Version(token=token, kind=VersionKind.CONTENT_HASH, observed_at=at.now)


def _is_told(data: EventData, at: Comparison) -> bool:
    return said.short_name(data.kind) in at.polled


def _id(at: Comparison, view: WorkView, name: str) -> EventId:
    return EventId(derive_id(at.tenant, "works", view.work_id, name, at.number))


def _pairs(before: WorkView, after: WorkView) -> Iterable[tuple[ProductView, ProductView]]:
    """Products in both; one that is new tells nothing but its work's state."""
    known = {product.product_id: product for product in before.products}
    return [(known[product.product_id], product) for product in after.products if product.product_id in known]


def _change(field: MetadataField, level: Level, target: int, old: str | None, new: str | None) -> MetadataChange | None:
    """None where both are the same in their canonical form."""
    hashes = canonical_hash(field, old), canonical_hash(field, new)
    if hashes[0] == hashes[1]:
        return None
    return MetadataChange(
        field=field, level=level, target_id=target, old=old, new=new, old_hash=hashes[0], new_hash=hashes[1]
    )


def _credited(people: Iterable[Contributor]) -> list[tuple[int, str]]:
    return [(one.contact_id, one.role.value) for one in people]


def _list(view: WorkView) -> str:
    return "; ".join(f"{one.name} ({one.role.value})" for one in view.people)
