"""All records of the simulated publisher by id, their relations, and how it normalises texts and titles."""

import re
import unicodedata
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
    RightsRecordRow,
    RightsRequest,
    SupportingResource,
    WorkRecord,
)

_FIRST_NEW_ID = 900_001


@dataclass
class PublisherRecords:
    name: str
    imprints: dict[int, str] = field(default_factory=dict)
    stages: dict[int, str] = field(default_factory=dict)
    series: dict[int, dict[str, object]] = field(default_factory=dict)
    works: dict[int, WorkRecord] = field(default_factory=dict)
    products: dict[int, Product] = field(default_factory=dict)
    contacts: dict[int, Contact] = field(default_factory=dict)
    contributions: dict[int, Contribution] = field(default_factory=dict)
    contracts: dict[int, Contract] = field(default_factory=dict)
    gratis_copies: dict[int, GratisCopy] = field(default_factory=dict)
    marketing_texts: dict[int, MarketingText] = field(default_factory=dict)
    supporting_resources: dict[int, SupportingResource] = field(default_factory=dict)
    rights_requests: dict[str, RightsRequest] = field(default_factory=dict)
    rights_records: dict[str, RightsRecordRow] = field(default_factory=dict)
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

    def changed_on(self, work_id: int) -> date:
        """The last edit of a work or of anything close to it: what makes ``changedSince`` over-report."""
        return max(self._edits(work_id))

    def _edits(self, work_id: int) -> Iterable[date]:
        yield self.works[work_id].changed_on
        yield from (product.changed_on for product in self.products_of(work_id))
        yield from (self.contacts[one.contact_id].changed_on for one in self.contributions_of(work_id))


_SPACES = re.compile(r"\s+")
_PREFIX = re.compile(r"^(?:(The|An|A|Les|Le|La|Un|Une|Der|Die|Das)\s+|(L[’']))(?=\S)", re.IGNORECASE)
_STRONG = re.compile(r"\*\*(.+?)\*\*")
_EMPHASIS = re.compile(r"\*(.+?)\*")
_TAG = re.compile(r"<[^>]+>")


def line(text: str) -> str:
    """One line: NFC, trimmed, runs of white space made one space."""
    return _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()


def prose(text: str) -> str:
    """Paragraphs: NFC, trimmed, Unix newlines."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()


def split_title(title: str) -> tuple[str | None, str]:
    """``The Salt Road`` → (``The``, ``Salt Road``); a title that is only an article keeps it."""
    found = _PREFIX.match(title)
    if found is None:
        return None, title
    return found[1] or found[2], title[found.end() :]


def join_title(prefix: str | None, rest: str) -> str:
    if not prefix:
        return rest
    return f"{prefix}{rest}" if prefix[-1] in "’'" else f"{prefix} {rest}"


def html(markdown: str) -> str:
    """Markdown as HTML, as far as jacket texts use it: paragraphs, strong, emphasis."""
    marked = _EMPHASIS.sub(r"<em>\1</em>", _STRONG.sub(r"<strong>\1</strong>", markdown))
    return "".join(f"<p>{part.strip()}</p>" for part in marked.split("\n\n") if part.strip())


def plain(markdown: str) -> str:
    return _TAG.sub("", html(markdown).replace("</p><p>", "\n\n"))


def title_prefix(publisher: PublisherRecords, product: Product) -> str | None:
    if product.own_title is not None or product.title_prefix is not None:
        return product.title_prefix
    return split_title(publisher.works[product.work_id].title)[0]


def title_without_prefix(publisher: PublisherRecords, product: Product) -> str:
    return product.own_title or split_title(publisher.works[product.work_id].title)[1]


def title_of(publisher: PublisherRecords, product: Product) -> str:
    return join_title(title_prefix(publisher, product), title_without_prefix(publisher, product))


def subtitle_of(publisher: PublisherRecords, product: Product) -> str | None:
    return product.own_subtitle if product.own_subtitle is not None else publisher.works[product.work_id].subtitle


def full_title(publisher: PublisherRecords, product: Product) -> str:
    subtitle = subtitle_of(publisher, product)
    return f"{title_of(publisher, product)}: {subtitle}" if subtitle else title_of(publisher, product)


def credits_of(publisher: PublisherRecords, work_id: int) -> str:
    """The authors as a cover names them; other roles are not."""
    names = [
        publisher.contacts[one.contact_id].name for one in publisher.contributions_of(work_id) if one.role_code == "A01"
    ]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
