"""The checks of the dispatcher's conservation audit: messages, attempts and uncertain sends end, statuses come."""

from collections.abc import Iterable
from datetime import timedelta

from shared.runtime.audit import Hop, StateHop
from shared.runtime.postgres import load_queries

QUERIES = load_queries(__file__, "audit.sql")

EXPIRY_BUDGET = timedelta(minutes=10)
"""An expired message is dropped within seconds, but not while a new leader still reads what came before it."""

ATTEMPT_BUDGET = timedelta(minutes=5)
"""After the end of its lease: another leader then finds it within seconds."""

SETTLEMENT_BUDGET = timedelta(days=1)
"""Silence settles after STET_UNPROVEN_AFTER_SECONDS what the policy lets it settle; a person has a day for the rest."""

STATUS_BUDGET = timedelta(hours=1)
"""WhatsApp reports "sent" within seconds, also of a phone that is switched off."""


def audit_hops() -> Iterable[Hop]:
    yield StateHop("message", QUERIES.overdue_messages, QUERIES.plant_waiting_message, EXPIRY_BUDGET)
    yield StateHop("attempt", QUERIES.unended_attempts, QUERIES.plant_attempt, ATTEMPT_BUDGET, is_business_time=False)
    yield StateHop("uncertain_send", QUERIES.unsettled_sends, QUERIES.plant_uncertain_send, SETTLEMENT_BUDGET)
    yield StateHop("status", QUERIES.sends_without_status, QUERIES.plant_accepted_send, STATUS_BUDGET)
