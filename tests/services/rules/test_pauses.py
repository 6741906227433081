"""Nothing of a rule or tenant that an operator has paused happens by time; it goes on when it is resumed."""

from datetime import timedelta

import pytest

from tests.services.rules.rules_service import (
    NOW,
    STAFF,
    golden_event,
    message_accepted,
    party_ref,
    person_observed,
    person_of,
    rules_under_test,
    work_observed,
)

pytestmark = pytest.mark.integration
AUTHOR = person_of(801)
REMINDED = (AUTHOR, "metadata_reminder")


@pytest.mark.parametrize(
    ("tenant", "kind", "name", "waits"),
    [
        ("penrose", "rule", "metadata-confirmation", True),
        ("penrose", "tenant", "penrose", True),
        ("penrose", "rule", "rights-approval", False),
        ("another", "rule", "metadata-confirmation", False),
        ("another", "tenant", "another", False),
    ],
)
async def test_a_reminder_waits_for_the_end_of_a_pause_of_its_rule_or_tenant_alone(
    postgres_database: str, tenant: str, kind: str, name: str, *, waits: bool
) -> None:
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(*map(person_observed, (*STAFF, 801)), work_observed((801, "author")))
        known = party_ref(801, "author")
        confirmer = {
            "person_id": known.person_id, "contact_id": 801, "kind": "person", "display_name": known.display_name,
            "role": "author",
        }  # fmt: skip
        asking = golden_event("consonance.metadata.confirmation_requested.v1", confirmers=[confirmer], quorum="first")
        await service.receive(asking)
        question = await service.last_to(AUTHOR)
        await service.receive(message_accepted(question.message_id, AUTHOR, NOW))
        pause = "insert into pauses values ($1, $2, $3, now(), 'ada', 'a test')"
        await service.pool.execute(pause, tenant, kind, name)
        await service.pass_time(timedelta(days=1))
        assert (REMINDED in await service.requested()) is not waits
        await service.pool.execute("delete from pauses")
        await service.pass_time(timedelta(hours=1))
        assert (await service.requested()).count(REMINDED) == 1
