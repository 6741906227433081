"""The inputs of a decision are in the database: an operator can explain it and bundle it; an erasure deletes it."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from dev.postgres import login_of
from ops.command_settings import CommandSettings
from ops.database import operator_pool
from ops.rules.explain import explanation_lines
from ops.rules.history import History
from services.rules.analysis.bundle import Bundle, BundleHead
from services.rules.analysis.explain import explain
from services.rules.analysis.pseudonyms import Pseudonyms, contacts_named
from services.rules.analysis.replay import BundleRecorder, NotAdded, Replayer, replay_bundle
from services.rules.recorded_inputs import input_expiries
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, Revision, partition_key
from shared.runtime.clock import machine_now
from shared.runtime.retention import delete_expired_once
from tests.services.rules.rules_service import (
    NOW,
    TENANT,
    golden_event,
    person_observed,
    person_of,
    rules_under_test,
    work_observed,
)

pytestmark = pytest.mark.integration


def _blocked() -> Event:
    event = golden_event(
        "consonance.work.blocked.v1", block_id="BL-1", work={"work_id": 61417, "title": "The Salt Road"}
    )
    return event.replace(id=EventId("blocked"), partitionkey=partition_key(TENANT, "works", 61417))


async def test_a_decision_of_the_service_is_explained_bundled_and_erased(postgres_database: str) -> None:
    async with rules_under_test(postgres_database, NOW) as service:
        service.rules.keep_inputs = True
        await service.receive(*map(person_observed, (11, 12, 21, 22, 40)), work_observed((801, "author")))
        await service.receive(_blocked())
        await service.pass_time(timedelta(days=2))

        settings = CommandSettings(postgres_dsn=SecretStr(login_of(postgres_database, "operator")))
        async with operator_pool(settings) as pool:
            history = History(pool, TENANT)
            inputs = await history.inputs(NOW, NOW + timedelta(days=3))
            await history.load_for(inputs)
            replayer = Replayer(history.rulebook)
            assert len(inputs) >= 2

            explanation, _ = explain(inputs[0], replayer, history.fact)
            assert explanation.repeated
            assert "blocked-title" in "\n".join(explanation_lines(explanation))

            bundle = Bundle(BundleHead(tenant=TENANT, written_at=NOW))
            recorder = BundleRecorder(
                bundle,
                replayer,
                Pseudonyms(b"key", TENANT, contacts_named(history.rulebook(inputs[0].revision))),
                history.files,
            )
            assert [recorder.add(one, history.fact) for one in inputs] == [None] * len(inputs)
            unknown = inputs[0].replace(revision=Revision("not stored"))
            assert recorder.add(unknown, history.fact) is NotAdded.RULEBOOK_MISSING
            assert all(each.same for each in replay_bundle(bundle))
            assert not any(b'"Person 21"' in raw for raw in bundle.facts.values())

        facts = "select count(*) from recorded_facts where person_id = $1"
        assert await service.pool.fetchval(facts, person_of(21))
        await service.receive(person_observed(21).replace(version=9, erased=True))
        assert not await service.pool.fetchval(facts, person_of(21))

        rows = "select (select count(*) from decision_inputs) + (select count(*) from recorded_facts)"
        assert (kept := await service.pool.fetchval(rows)) > 0
        expiries = input_expiries(service.pool, 14)
        assert await delete_expired_once(machine_now() + timedelta(days=13), expiries) == 0
        assert await delete_expired_once(machine_now() + timedelta(days=16), expiries) == kept
