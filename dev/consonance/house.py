"""All that one simulated publisher keeps, by id, and how its records hang together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

from dev.consonance.records import (
    Acknowledgement,
    Acquisition,
    Contact,
    Contract,
    Contribution,
    GratisCopy,
    MarketingText,
    Milestone,
    Product,
    RightsRecord,
    RightsRequest,
    SupportingResource,
    Work,
)

_FIRST_NEW_ID = 900_001


@dataclass
class House:
    name: str
    imprints: dict[int, str] = field(default_factory=dict)
    stages: dict[int, str] = field(default_factory=dict)
    series: dict[int, dict[str, object]] = field(default_factory=dict)
    works: dict[int, Work] = field(default_factory=dict)
    products: dict[int, Product] = field(default_factory=dict)
    contacts: dict[int, Contact] = field(default_factory=dict)
    contributions: dict[int, Contribution] = field(default_factory=dict)
    contracts: dict[int, Contract] = field(default_factory=dict)
    gratis_copies: dict[int, GratisCopy] = field(default_factory=dict)
    marketing_texts: dict[int, MarketingText] = field(default_factory=dict)
    supporting_resources: dict[int, SupportingResource] = field(default_factory=dict)
    rights_requests: dict[str, RightsRequest] = field(default_factory=dict)
    rights_records: dict[str, RightsRecord] = field(default_factory=dict)
    acquisitions: dict[str, Acquisition] = field(default_factory=dict)
    acknowledgements: dict[str, Acknowledgement] = field(default_factory=dict)
    milestones: dict[str, Milestone] = field(default_factory=dict)
    _next_id: int = _FIRST_NEW_ID

    def new_id(self) -> int:
        """An id no record of the seed has; they rise."""
        self._next_id += 1
        return self._next_id - 1

    def products_of(self, work_id: int) -> list[Product]:
        return [product for product in self.products.values() if product.work_id == work_id]

    def contributions_of(self, work_id: int) -> list[Contribution]:
        found = [one for one in self.contributions.values() if one.work_id == work_id]
        return sorted(found, key=lambda one: one.sequence_number)

    def texts_of(self, work_id: int) -> list[MarketingText]:
        return [text for text in self.marketing_texts.values() if text.work_id == work_id]

    def resources_of(self, work_id: int) -> list[SupportingResource]:
        return [resource for resource in self.supporting_resources.values() if resource.work_id == work_id]

    def contract_of(self, work_id: int) -> Contract | None:
        return next((one for one in self.contracts.values() if one.work_id == work_id), None)

    def changed_on(self, work_id: int) -> date:
        """The last edit of a work or of anything close to it: what makes ``changedSince`` over-report."""
        return max(self._edits(work_id))

    def _edits(self, work_id: int) -> Iterable[date]:
        yield self.works[work_id].changed_on
        yield from (product.changed_on for product in self.products_of(work_id))
        yield from (self.contacts[one.contact_id].changed_on for one in self.contributions_of(work_id))
