"""The knowledge of templates: what Meta says of each, and whether one may go to a person now. Pure.

Meta reports by webhooks (``message_template_status_update``, ``message_template_quality_update``,
``template_category_update``), and lists an account's templates through the Graph API; docs/reference/whatsapp.md.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

TemplateKey = tuple[str, str]
"""Meta's name with its version, and the language."""

MARKETING = "MARKETING"

MARKETING_PAUSED_IN = frozenset({"US"})
"""Countries to whose numbers Meta delivers no marketing templates; the United States since April 2025
(https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/marketing-templates/per-user-limits).
"""


class TemplateState(StrEnum):
    """Whether a template may be sent, and if not, why."""

    USABLE = "usable"
    PENDING = "pending"
    PAUSED = "paused"
    REJECTED = "rejected"
    DISABLED = "disabled"
    MISSING = "missing"
    RECATEGORISED = "recategorised"  # it is marketing, and the person has not consented to that


_STATES: Mapping[str, TemplateState] = {
    "APPROVED": TemplateState.USABLE,
    "FLAGGED": TemplateState.USABLE,
    "REINSTATED": TemplateState.USABLE,
    "UNARCHIVED": TemplateState.USABLE,
    "PENDING": TemplateState.PENDING,
    "IN_APPEAL": TemplateState.PENDING,
    "PAUSED": TemplateState.PAUSED,
    "LOCKED": TemplateState.PAUSED,
    "REJECTED": TemplateState.REJECTED,
    "LIMIT_EXCEEDED": TemplateState.REJECTED,
    "DISABLED": TemplateState.DISABLED,
    "PENDING_DELETION": TemplateState.DISABLED,
    "DELETED": TemplateState.DISABLED,
    "ARCHIVED": TemplateState.DISABLED,
    "MISSING": TemplateState.MISSING,  # our word: the account's list does not have it
}
KNOWN_STATUSES = tuple(_STATES)
"""Meta's words for the state of a template, and ours for one that is missing."""

USABLE_STATUSES = frozenset(word for word, state in _STATES.items() if state is TemplateState.USABLE)

GONE_STATUSES = tuple(
    word for word, state in _STATES.items() if state in {TemplateState.DISABLED, TemplateState.MISSING}
)
"""Of templates that a list may leave out without saying anything new."""


class TemplateReport(Struct, frozen=True):
    """A report of Meta's on one template; what it does not say is None. ``at`` is Meta's time."""

    name: str
    language: str
    at: datetime
    status: str | None = None
    category: str | None = None
    previous_category: str | None = None
    quality: str | None = None
    reason: str | None = None


class KnownTemplate(Struct, frozen=True):
    """A row of the table ``account_templates``. ``reported_at`` is when Meta reported the state, by Meta's clock."""

    state: TemplateState
    category: str | None = None
    reported_at: datetime = datetime.min.replace(tzinfo=UTC)


class TemplateKnowledge(Struct, frozen=True):
    """An account's templates, as known. ``is_listed``: its list was read, so what is not there is missing."""

    templates: Mapping[TemplateKey, KnownTemplate]
    is_listed: bool = False

    def state(
        self, call: Mapping[str, Any], *, marketing_consent: bool, newest_category: str | None = None
    ) -> TemplateState:
        """The state of a template, by its name, language and declared category, for a message to this person."""
        known = self.templates.get((call["name"], call["language"]))
        if known is None and self.is_listed:
            return TemplateState.MISSING
        if known is not None and known.state is not TemplateState.USABLE:
            return known.state
        declared = str(call.get("category") or "").upper()
        category = newest_category or (known.category if known else None) or declared
        is_marketing = MARKETING in {category, declared}
        return TemplateState.RECATEGORISED if is_marketing and not marketing_consent else TemplateState.USABLE

    def deciding_states(self) -> tuple[bool, Mapping[TemplateKey, tuple[TemplateState, str | None]]]:
        """Everything that decides whether a message goes or waits; the times of the reports are left out."""
        return self.is_listed, {key: (known.state, known.category) for key, known in self.templates.items()}

    def is_usable_since(self, template: TemplateKey, instant: datetime) -> bool:
        """Whether Meta has reported the template as usable later than that."""
        known = self.templates.get(template)
        return known is not None and known.state is TemplateState.USABLE and known.reported_at > instant


NOTHING_KNOWN = TemplateKnowledge({})


def is_unwanted_marketing(call: Mapping[str, Any] | None) -> bool:
    """Whether the house's own file calls it marketing, and the person has not agreed to that.

    Such a message needs the consent inside the customer service window too, where Meta takes any text.
    """
    if call is None or call.get("marketing_consent"):
        return False
    return str(call.get("category") or "").upper() == MARKETING


def merge_accounts(accounts: Iterable[TemplateKnowledge]) -> TemplateKnowledge:
    """The templates of all accounts together, for settings that name no account. Where two accounts have a template,
    the newest report counts.
    """
    templates, is_listed = dict[TemplateKey, KnownTemplate](), False
    for one in accounts:
        is_listed = is_listed or one.is_listed
        for key, known in one.templates.items():
            if key not in templates or templates[key].reported_at <= known.reported_at:
                templates[key] = known
    return TemplateKnowledge(templates, is_listed)


def state_of(status: str | None) -> TemplateState | None:
    """None for a word of Meta's that changes nothing, or that this version does not know."""
    return _STATES.get(str(status).upper())


def known_state(status: str | None) -> TemplateState:
    """The state of a stored template; only its category or quality may be known."""
    return state_of(status) or TemplateState.USABLE


def parse_status_update(value: Mapping[str, Any], at: datetime) -> TemplateReport | None:
    """None for an update that changes no state, or that names no template."""
    event = "APPROVED" if _ends_a_pause(value) else str(value.get("event")).upper()
    if state_of(event) is None or (key := _key(value)) is None:
        return None
    return TemplateReport(
        *key, at, status=event, reason=_reason(value), category=_word(value, "message_template_category")
    )


def parse_quality_update(value: Mapping[str, Any], at: datetime) -> TemplateReport | None:
    quality, key = _word(value, "new_quality_score"), _key(value)
    return TemplateReport(*key, at, quality=quality) if quality and key else None


def parse_category_update(value: Mapping[str, Any], at: datetime) -> TemplateReport | None:
    """The announcement of a change (``correct_category`` alone) changes nothing yet."""
    category, key = _word(value, "new_category"), _key(value)
    if category is None or key is None:
        return None
    return TemplateReport(*key, at, category=category, previous_category=_word(value, "previous_category"))


def read_listed(entries: Iterable[Mapping[str, Any]], at: datetime) -> list[TemplateReport]:
    """The templates of an account's list (``GET /{account}/message_templates``); an entry without a name is skipped."""
    return [
        TemplateReport(
            entry["name"],
            entry["language"],
            at,
            status=_word(entry, "status"),
            category=_word(entry, "category"),
            previous_category=_word(entry, "previous_category"),
            quality=_word(entry.get("quality_score") or {}, "score"),
            reason=None if entry.get("rejected_reason") in {None, "NONE"} else str(entry["rejected_reason"]),
        )
        for entry in entries
        if isinstance(entry.get("name"), str) and isinstance(entry.get("language"), str)
    ]


def _ends_a_pause(value: Mapping[str, Any]) -> bool:
    """Meta says so in the title alone; no page of its names the ``event`` that comes with it."""
    return _word(value.get("other_info") or {}, "title") == "UNPAUSE"


def _key(value: Mapping[str, Any]) -> TemplateKey | None:
    name, language = value.get("message_template_name"), value.get("message_template_language")
    return (name, language) if isinstance(name, str) and isinstance(language, str) else None


def _word(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found.upper() if isinstance(found, str) and found else None


def _reason(value: Mapping[str, Any]) -> str | None:
    """Why it was rejected, paused or disabled, as Meta says it; ``reason`` may be null or NONE."""
    details = value.get("rejection_info"), value.get("other_info")
    found = [value.get("reason"), *(each.get(key) for each in details if isinstance(each, Mapping) for key in _DETAILS)]
    reasons = [text for text in found if isinstance(text, str) and text and text != "NONE"]
    return ": ".join(dict.fromkeys(reasons)) or None


_DETAILS = ("title", "description", "reason")
