"""Limits that WhatsApp reports of an account in webhooks: people a day, throughput of a number, restrictions.

Meta, "Messaging limits", "Throughput" and "Policy enforcement": docs/reference/whatsapp.md, 3. A report changes exactly
its own scope: the portfolio's people, one number, or what a restriction names.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec import Struct

from shared.contracts.whatsapp import AccountReported

UPGRADED_THROUGHPUT = 1_000
"""Messages a second after Meta's automatic upgrade."""

_THOUSAND = "K"
_LIMIT_KEYS = ("max_daily_conversations_per_business", "max_daily_conversation_per_phone", "current_limit")
_FIELDS = frozenset({"phone_number_quality_update", "business_capability_update", "account_update"})
_ENDS_A_BAN = frozenset({"REINSTATE", "REINSTATED"})
_BANS = frozenset({"DISABLE", "DISABLED"})
_UNLIMITED = "UNLIMITED"
_MOST_DIGITS = 9
_LONGEST_WORD = 60
_WARNED_FOR = timedelta(days=7)  # as long as Meta counts blocks and reports


class LimitKind(StrEnum):
    MESSAGING = "messaging"
    THROUGHPUT = "throughput"
    RESTRICTION = "restriction"
    WARNING = "warning"


class Restriction(StrEnum):
    """Meta's words; ``ACCOUNT_DISABLED`` is ours for a ban, a deletion and an account that left the platform."""

    BUSINESS_INITIATED = "RESTRICTED_BIZ_INITIATED_MESSAGING"
    CUSTOMER_INITIATED = "RESTRICTED_CUSTOMER_INITIATED_MESSAGING"
    ACCOUNT_DISABLED = "ACCOUNT_DISABLED"


class LimitReport(Struct, frozen=True):
    """``value`` is people (None: unlimited), messages a second, 1 for a warning or a restriction, 0 once that is
    lifted.
    """

    kind: LimitKind
    name: str = ""
    value: int | None = None
    until: datetime | None = None


class StoredLimit(Struct, frozen=True):
    """A row of the table ``account_limits``."""

    account: str
    kind: str
    name: str
    value: int | None
    until: datetime | None
    reported_at: datetime


class AccountLimits(Struct, frozen=True):
    """The limits in force. ``messaging`` is None where Meta set none or reported none.

    ``restrictions``: (account, restriction) → its end, the greatest datetime where Meta named none.
    """

    messaging: int | None = None
    throughput: Mapping[str, int] = {}
    restrictions: Mapping[tuple[str, Restriction], datetime] = {}

    def until(self, restriction: Restriction, account: str | None, now: datetime) -> datetime | None:
        """The end of a restriction that holds. ``account`` None: that of the line is not known, so any counts."""
        ends = [
            end
            for (restricted, kind), end in self.restrictions.items()
            if kind is restriction and account in {None, restricted} and end > now
        ]
        return max(ends, default=None)


def parse_limit_reports(report: AccountReported) -> list[LimitReport]:
    """The limits that a webhook names; empty for one that changes none. Never raises: Meta's fields vary."""
    if report.field not in _FIELDS:
        return []
    value = report.value
    event = str(value.get("event", "")).upper()
    found = [*_messaging_limit(value)]
    if event == "THROUGHPUT_UPGRADE":
        name = "".join(filter(str.isdigit, str(value.get("display_phone_number", ""))))
        found.append(LimitReport(LimitKind.THROUGHPUT, name, UPGRADED_THROUGHPUT))
    if report.field == "account_update":
        found += _restrictions(event, value)
    return found


def warning_report(warning: str, at: datetime) -> LimitReport:
    """A warning as it is kept: it is shown for seven days."""
    return LimitReport(LimitKind.WARNING, warning, 1, at + _WARNED_FOR)


def warning_of(report: AccountReported) -> str | None:
    """Meta's warning before it restricts an account, in its own words; None for a report that warns of nothing."""
    value = report.value
    match report.field, str(value.get("event", "")).upper():
        case "account_update", "ACCOUNT_VIOLATION" as event:
            return _words(event, value.get("violation_info"), "violation_type")
        case "account_update", "DISABLED_UPDATE" as event if _ban_state(value) not in _BANS | _ENDS_A_BAN:
            return _words(event, value.get("ban_info"), "waba_ban_state", "waba_ban_date")
        case "account_alerts", _:
            return _words("ACCOUNT_ALERT", value.get("alert_info", value), "alert_severity", "alert_type")
        case "account_review_update", _ if str(value.get("decision", "")).upper() != "APPROVED":
            return _words("ACCOUNT_REVIEW", value, "decision")
        case _:
            return None


def _words(event: str, details: object, *names: str) -> str:
    found = [details.get(name) for name in names] if isinstance(details, Mapping) else []
    return " ".join([event, *(text[:_LONGEST_WORD] for text in found if isinstance(text, str))])


def read_limits(throughput: str | None, display_number: str, people: str | None) -> list[LimitReport]:
    """The limits of a number as the Graph API says them: people a day, and the throughput if it is upgraded."""
    found = []
    if (count := _people(people)) is not None:
        found.append(LimitReport(LimitKind.MESSAGING, value=count or None))
    if throughput == "HIGH" and display_number:
        found.append(LimitReport(LimitKind.THROUGHPUT, display_number, UPGRADED_THROUGHPUT))
    return found


def limits_in_force(rows: Sequence[StoredLimit]) -> AccountLimits:
    """The newest report of the messaging limit counts for all accounts, because the limit is the portfolio's."""
    messaging = [row for row in rows if row.kind == LimitKind.MESSAGING]
    newest = max(messaging, key=lambda row: row.reported_at, default=None)
    known = {restriction.value for restriction in Restriction}
    return AccountLimits(
        messaging=newest.value if newest else None,
        throughput={row.name: row.value for row in rows if row.kind == LimitKind.THROUGHPUT and row.value},
        restrictions={
            (row.account, Restriction(row.name)): row.until or datetime.max.replace(tzinfo=UTC)
            for row in rows
            if row.kind == LimitKind.RESTRICTION and row.value and row.name in known
        },
    )


def _messaging_limit(value: Mapping[str, Any]) -> Iterable[LimitReport]:
    """The first of the fields that says a limit: a number, or a tier such as TIER_2K."""
    for key in _LIMIT_KEYS:
        if (people := _people(value.get(key))) is not None:
            yield LimitReport(LimitKind.MESSAGING, value=people or None)
            return


def _people(limit: object) -> int | None:
    """0 for unlimited; None for what cannot be read."""
    if isinstance(limit, int) and not isinstance(limit, bool):
        return max(limit, 0)
    if not isinstance(limit, str):
        return None
    tier = limit.upper().removeprefix("TIER_")
    digits = tier.removesuffix(_THOUSAND)
    if tier == _UNLIMITED:
        return 0
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return None
    return int(digits) * (1_000 if tier.endswith(_THOUSAND) else 1)


def _restrictions(event: str, value: Mapping[str, Any]) -> Iterable[LimitReport]:
    disabled = Restriction.ACCOUNT_DISABLED.value
    if event == "ACCOUNT_RESTRICTION":
        for one in value.get("restriction_info") or ():
            if isinstance(one, dict) and isinstance(name := one.get("restriction_type"), str):
                yield LimitReport(LimitKind.RESTRICTION, name, 1, _instant(one.get("expiration")))
    elif event == "DISABLED_UPDATE":
        state = _ban_state(value)
        if state in _BANS | _ENDS_A_BAN:
            yield LimitReport(LimitKind.RESTRICTION, disabled, int(state in _BANS))
    elif event in {"ACCOUNT_DELETED", "ACCOUNT_OFFBOARDED"}:
        yield LimitReport(LimitKind.RESTRICTION, disabled, 1)
    elif event == "ACCOUNT_RECONNECTED":
        yield LimitReport(LimitKind.RESTRICTION, disabled, 0)


def _ban_state(value: Mapping[str, Any]) -> str:
    ban = value.get("ban_info")
    return str(ban.get("waba_ban_state", "")).upper() if isinstance(ban, dict) else ""


def _instant(seconds: object) -> datetime | None:
    """Meta's seconds since 1970; None where it named no end, or none that can be read."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC) if isinstance(seconds, int | str) else None
    except (ValueError, OverflowError, OSError):
        return None
