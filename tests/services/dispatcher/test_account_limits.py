"""Limits that webhooks of the account name, as Meta documents them, and whom a restriction concerns."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.dispatcher.account_limits import (
    LimitKind,
    LimitReport,
    Restriction,
    StoredLimit,
    limits_in_force,
    parse_limit_reports,
    warning_of,
)
from shared.contracts.whatsapp import AccountReported
from tests.services.dispatcher.builders import NOON

_PHONE = "phone_number_quality_update"
_CAPABILITY = "business_capability_update"
_UPDATE = "account_update"
_BUSINESS, _DISABLED = Restriction.BUSINESS_INITIATED.value, Restriction.ACCOUNT_DISABLED.value


def _people(limit: int | None) -> LimitReport:
    return LimitReport(LimitKind.MESSAGING, value=limit)


def _restricted(name: str, value: int, until: datetime | None = None) -> LimitReport:
    return LimitReport(LimitKind.RESTRICTION, name, value, until)


@pytest.mark.parametrize(
    ("field", "value", "reports"),
    [
        (
            _CAPABILITY,
            {"max_daily_conversations_per_business": 2000, "max_phone_numbers_per_waba": 25},
            [_people(2000)],
        ),
        (_CAPABILITY, {"max_daily_conversations_per_business": "TIER_10K"}, [_people(10_000)]),
        (_CAPABILITY, {"max_daily_conversations_per_business": "TIER_250"}, [_people(250)]),
        (_CAPABILITY, {"max_daily_conversation_per_phone": -1}, [_people(None)]),
        (
            _PHONE,
            {
                "display_phone_number": "+1 555-078-3881",
                "event": "THROUGHPUT_UPGRADE",
                "current_limit": "TIER_UNLIMITED",
            },
            [_people(None), LimitReport(LimitKind.THROUGHPUT, "15550783881", 1000)],
        ),
        (_PHONE, {"display_phone_number": "1", "event": "FLAGGED"}, []),
        (
            _UPDATE,
            {
                "event": "ACCOUNT_RESTRICTION",
                "restriction_info": [
                    {"restriction_type": _BUSINESS, "expiration": 1641330498},
                    {"restriction_type": 7},
                    9,
                ],
            },
            [_restricted(_BUSINESS, 1, datetime(2022, 1, 4, 21, 8, 18, tzinfo=UTC))],
        ),
        (_UPDATE, {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}, [_restricted(_DISABLED, 1)]),
        (
            _UPDATE,
            {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}},
            [_restricted(_DISABLED, 0)],
        ),
        (_UPDATE, {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE"}}, []),
        (_UPDATE, {"event": "ACCOUNT_OFFBOARDED"}, [_restricted(_DISABLED, 1)]),
        (_UPDATE, {"event": "ACCOUNT_RECONNECTED"}, [_restricted(_DISABLED, 0)]),
        (_UPDATE, {"event": "ACCOUNT_RESTRICTION", "restriction_info": "?"}, []),
        (_CAPABILITY, {"max_daily_conversations_per_business": "TIER_²"}, []),
        (_CAPABILITY, {"max_daily_conversations_per_business": "TIER_SOON"}, []),
        (_CAPABILITY, {"max_daily_conversations_per_business": True}, []),
        (_CAPABILITY, {"max_daily_conversations_per_business": "1" * 10}, []),
        (_PHONE, {"event": "ACCOUNT_OFFBOARDED"}, []),
        ("message_template_status_update", {"current_limit": "TIER_250"}, []),
        ("message_template_status_update", {"event": "PAUSED"}, []),
    ],
)
def test_a_report_changes_the_limits_that_it_names(
    field: str, value: dict[str, Any], reports: list[LimitReport]
) -> None:
    assert parse_limit_reports(AccountReported(account="1", field=field, value=value, at=NOON)) == reports


def _stored(kind: LimitKind, name: str = "", value: int | None = 1, **changes: Any) -> StoredLimit:
    given = {"account": "1", "until": None, "reported_at": NOON}
    return StoredLimit(kind=kind.value, name=name, value=value, **(given | changes))


def test_the_newest_report_of_any_account_gives_the_portfolios_people() -> None:
    older = _stored(LimitKind.MESSAGING, value=250)
    newer = _stored(LimitKind.MESSAGING, value=2000, account="2", reported_at=NOON + timedelta(days=1))
    assert limits_in_force([newer, older]).messaging == 2000
    assert limits_in_force([]).messaging is None


def test_a_restriction_concerns_its_own_account_and_ends() -> None:
    limits = limits_in_force(
        [
            _stored(LimitKind.RESTRICTION, _BUSINESS, until=NOON + timedelta(days=3)),
            _stored(LimitKind.RESTRICTION, _DISABLED, value=0),
            _stored(LimitKind.RESTRICTION, "RESTRICTED_ADD_PHONE_NUMBER_ACTION"),
        ]
    )
    assert limits.until(Restriction.BUSINESS_INITIATED, "1", NOON) == NOON + timedelta(days=3)
    assert limits.until(Restriction.BUSINESS_INITIATED, None, NOON) == NOON + timedelta(days=3)
    assert limits.until(Restriction.BUSINESS_INITIATED, "2", NOON) is None
    assert limits.until(Restriction.BUSINESS_INITIATED, "1", NOON + timedelta(days=3)) is None
    assert limits.until(Restriction.ACCOUNT_DISABLED, "1", NOON) is None
    assert limits.until(Restriction.CUSTOMER_INITIATED, "1", NOON) is None


def test_a_ban_without_an_end_holds_until_it_is_lifted() -> None:
    limits = limits_in_force([_stored(LimitKind.RESTRICTION, _DISABLED)])
    assert limits.until(Restriction.ACCOUNT_DISABLED, "1", NOON + timedelta(days=9999)) is not None


def test_of_two_accounts_restrictions_the_later_end_counts_for_an_unknown_one() -> None:
    ends = [NOON + timedelta(days=count) for count in (1, 2)]
    rows = [_stored(LimitKind.RESTRICTION, _BUSINESS, until=end, account=str(end)) for end in ends]
    assert limits_in_force(rows).until(Restriction.BUSINESS_INITIATED, None, NOON) == ends[1]


def test_a_numbers_throughput_is_no_limit_of_people() -> None:
    limits = limits_in_force(
        [_stored(LimitKind.THROUGHPUT, "15550783881", 1000), _stored(LimitKind.MESSAGING, value=250)]
    )
    assert (limits.messaging, limits.throughput) == (250, {"15550783881": 1000})


@pytest.mark.parametrize(
    ("field", "value", "warning"),
    [
        (
            _UPDATE,
            {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SCAM"}},
            "ACCOUNT_VIOLATION SCAM",
        ),
        (_UPDATE, {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": 7}}, "ACCOUNT_VIOLATION"),
        (_UPDATE, {"event": "ACCOUNT_VIOLATION"}, "ACCOUNT_VIOLATION"),
        (
            _UPDATE,
            {
                "event": "DISABLED_UPDATE",
                "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE", "waba_ban_date": "April 17, 2027"},
            },
            "DISABLED_UPDATE SCHEDULE_FOR_DISABLE April 17, 2027",
        ),
        (_UPDATE, {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}}, None),
        (_UPDATE, {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}, None),
        (_UPDATE, {"event": "PARTNER_ADDED"}, None),
        (
            "account_alerts",
            {"alert_info": {"alert_severity": "CRITICAL", "alert_type": "X" * 99, "alert_description": "long"}},
            f"ACCOUNT_ALERT CRITICAL {'X' * 60}",
        ),
        ("account_alerts", {"alert_severity": "WARNING"}, "ACCOUNT_ALERT WARNING"),
        ("account_review_update", {"decision": "REJECTED"}, "ACCOUNT_REVIEW REJECTED"),
        ("account_review_update", {"decision": "APPROVED"}, None),
        (_CAPABILITY, {}, None),
    ],
)
def test_a_warning_before_a_restriction_is_said_in_meta_s_words(
    field: str, value: dict[str, Any], warning: str | None
) -> None:
    assert warning_of(AccountReported(account="1", field=field, value=value, at=NOON)) == warning
