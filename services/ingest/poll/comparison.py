"""Compares two snapshots of a work and gives the events that happened between them. Pure.

A new work gives only its state. A change in a field gives no event before the first complete pass over that field.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from services.ingest.poll.snapshots import ProductSnapshot, WorkSnapshot, product_ref, work_observed, work_ref
from services.ingest.poll.vocabulary import TenantVocabulary
from shared.contracts import consonance
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import Component, Level, MetadataChange, MetadataField
from shared.contracts.envelope import EventData
from shared.contracts.ids import EventId, TenantId, WorkId, derive_id
from shared.contracts.values import encode
from shared.contracts.vocabulary import Version, VersionKind, WorkRef

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
    found: list[tuple[str, EventData]] = [("observed", _state(new, context))]
    if old is not None:
        changes = _WorkChanges(old, new, context).all()
        found += [(name, data) for name, data in changes if consonance.short_name(data.kind) in context.polled]
    return [WorkEvent(_event_id(new.work_id, name, context), data) for name, data in found]


def _state(work: WorkSnapshot, context: ComparisonContext) -> EventData:
    return work_observed(work, context.vocabulary.stage(work.stage), _content_version(work, context), context.tenant)


def _content_version(work: WorkSnapshot, context: ComparisonContext) -> Version:
    """Consonance has no version of a work, so a hash of everything read stands for it."""
    token = derive_id(context.tenant, encode(work).decode())
    kind = VersionKind.CONTENT_HASH
    return Version(token=token, kind=kind, observed_at=context.now, number=context.version)


def _event_id(work_id: WorkId, name: str, context: ComparisonContext) -> EventId:
    return EventId(derive_id(context.tenant, "works", work_id, name, context.version))


@dataclass(frozen=True, slots=True)
class _WorkChanges:
    """The changes between two snapshots, each with a name that is unique among them."""

    old: WorkSnapshot
    new: WorkSnapshot
    context: ComparisonContext

    def all(self) -> Iterable[tuple[str, EventData]]:
        known = self.context.known
        if "stage" in known and self.old.stage != self.new.stage:
            yield "stage", self._stage()
        metadata = tuple(self._metadata())
        if metadata:
            yield "metadata", consonance.MetadataChanged(work=self._work, version=self._version, changes=metadata)
        for old, new in self._products():
            if "dates" in known and old.pub_date != new.pub_date:
                yield f"pub_date/{new.product_id}", self._pub_date(old, new)
            if "statuses" in known and old.publishing_status != new.publishing_status:
                yield f"publishing_status/{new.product_id}", self._publishing_status(old, new)
        if "components" in known:
            yield from self._components()

    @property
    def _work(self) -> WorkRef:
        return work_ref(self.new)

    @property
    def _version(self) -> Version:
        return _content_version(self.new, self.context)

    def _products(self) -> Iterable[tuple[ProductSnapshot, ProductSnapshot]]:
        """A new product gives no event but its work's state."""
        known = {product.product_id: product for product in self.old.products}
        return [(known[product.product_id], product) for product in self.new.products if product.product_id in known]

    def _stage(self) -> EventData:
        return consonance.StageChanged(
            work=self._work,
            version=self._version,
            from_stage=self.old.stage,
            to_stage=self.new.stage or "none",
            to_stage_key=self.context.vocabulary.stage(self.new.stage),
            changed_at=self.context.now,
        )

    def _pub_date(self, old: ProductSnapshot, new: ProductSnapshot) -> EventData:
        product = product_ref(self.new, new)
        return consonance.PubDateChanged(
            work=self._work, version=self._version, product=product, old=old.pub_date, new=new.pub_date
        )

    def _publishing_status(self, old: ProductSnapshot, new: ProductSnapshot) -> EventData:
        return consonance.PublishingStatusChanged(
            work=self._work,
            version=self._version,
            product=product_ref(self.new, new),
            old=old.publishing_status,
            new=new.publishing_status,
        )

    def _components(self) -> Iterable[tuple[str, EventData]]:
        for component, state in self.new.components.items():
            if self.old.components.get(component, state) != state:
                checks = self.new.checks if component is Component.METADATA else ()
                data = consonance.ComponentChanged(
                    work=self._work, version=self._version, component=component, state=state, checks=checks
                )
                yield f"component/{component}", data

    def _metadata(self) -> Iterable[MetadataChange]:
        if "title" in self.context.known:
            yield from self._titles()
        if "texts" in self.context.known:
            for field in sorted({*self.old.texts, *self.new.texts}):
                yield from self._work_field(field, self.old.texts.get(field), self.new.texts.get(field))
        if "people" in self.context.known:
            yield from self._contributors()

    def _titles(self) -> Iterable[MetadataChange]:
        yield from self._work_field(MetadataField.TITLE, self.old.title, self.new.title)
        yield from self._work_field(MetadataField.SUBTITLE, self.old.subtitle, self.new.subtitle)
        for old, new in self._products():
            yield from _field_change(MetadataField.TITLE, Level.PRODUCT, new.product_id, old.title, new.title)
            yield from _field_change(MetadataField.SUBTITLE, Level.PRODUCT, new.product_id, old.subtitle, new.subtitle)

    def _contributors(self) -> Iterable[MetadataChange]:
        """Changed names, then changed roles, else a changed order: each change gives one event."""
        names = {one.contact_id: one.name for one in self.old.people}
        renamed = {
            one.contact_id: one.name for one in self.new.people if names.get(one.contact_id, one.name) != one.name
        }
        for contact_id, name in renamed.items():
            yield from self._work_field(MetadataField.CONTRIBUTOR_NAME, names[contact_id], name)
        old, new = _credits(self.old), _credits(self.new)
        if old != new:
            is_role = sorted(old) != sorted(new)
            field = MetadataField.CONTRIBUTOR_ROLE if is_role else MetadataField.CONTRIBUTOR_ORDER
            yield from self._work_field(field, _credit_line(self.old), _credit_line(self.new))

    def _work_field(self, field: MetadataField, old: str | None, new: str | None) -> Iterable[MetadataChange]:
        return _field_change(field, Level.WORK, self.new.work_id, old, new)


def _field_change(
    field: MetadataField, level: Level, target: int, old: str | None, new: str | None
) -> Iterable[MetadataChange]:
    """Nothing where both values are the same in their canonical form."""
    old_hash, new_hash = canonical_hash(field, old), canonical_hash(field, new)
    if old_hash != new_hash:
        yield MetadataChange(
            field=field, level=level, target_id=target, old=old, new=new, old_hash=old_hash, new_hash=new_hash
        )


def _credits(work: WorkSnapshot) -> list[tuple[int, str]]:
    return [(one.contact_id, one.role.value) for one in work.people]


def _credit_line(work: WorkSnapshot) -> str:
    return "; ".join(f"{one.name} ({one.role.value})" for one in work.people)
