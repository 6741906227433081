"""The account's templates over a real socket: review, limits on edits, pauses, categories, pages."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ops.template_plan import TemplateAction, plan_templates, wanted_templates
from shared.clients.whatsapp_templates import TemplateClient, TemplateEndpoint, TemplateRefused
from shared.runtime.clock import DevelopmentClock
from tests.dev.whatsapp.simulator_under_test import (
    ACCOUNT,
    TOKEN,
    RecordingWebhook,
    SimulatorUnderTest,
    filled,
    templated,
)
from tests.services.rules.rulebooks import good_book

NEWS: dict[str, Any] = {
    "name": "news_v1",
    "language": "en",
    "category": "UTILITY",
    "parameter_format": "NAMED",
    "components": [
        {
            "type": "BODY",
            "text": "There is news of {{title}} for you today.",
            "example": {"body_text_named_params": [{"param_name": "title", "example": "Winter Ferries"}]},
        }
    ],
}
ANA = "+447700900123"


def other_words(text: str) -> dict[str, Any]:
    return {"components": [{**NEWS["components"][0], "text": text}]}


def client_of(simulator: SimulatorUnderTest) -> TemplateClient:
    return TemplateClient(TemplateEndpoint(simulator.url, "v25.0", ACCOUNT, TOKEN))


def pass_time(clock_file: Path, by: timedelta) -> None:
    clock = DevelopmentClock(clock_file)
    clock.set(clock.now() + by)


async def entry(client: TemplateClient, name: str = "news_v1") -> dict[str, Any]:
    return next(each for each in await client.list() if each["name"] == name)


async def test_a_template_is_reviewed_before_it_may_be_sent(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook, clock_file: Path
) -> None:
    async with client_of(simulator) as client:
        assert (await client.create(NEWS))["status"] == "PENDING"
        send = templated(ANA, "news_v1", filled(title="Dune"))
        assert (await simulator.send(send)).code == 132001
        pass_time(clock_file, timedelta(minutes=2))
        await simulator.rest()
        assert (await entry(client))["status"] == "APPROVED"
        assert (await simulator.send(send)).status == 200
    events = [value["event"] for value in webhook.values() if "event" in value]
    assert events == ["APPROVED"]


async def test_a_rejection_has_a_reason_in_the_webhook_and_in_the_list(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook, clock_file: Path
) -> None:
    await simulator.tell("reviews", {"name": "news_v1", "rejected": "INVALID_FORMAT"})
    async with client_of(simulator) as client:
        await client.create(NEWS)
        pass_time(clock_file, timedelta(minutes=2))
        await simulator.rest()
        assert (await entry(client))["rejected_reason"] == "INVALID_FORMAT"
    assert [value["reason"] for value in webhook.values() if "event" in value] == ["INVALID_FORMAT"]


async def test_an_approved_template_takes_one_edit_a_day(simulator: SimulatorUnderTest, clock_file: Path) -> None:
    async with client_of(simulator) as client:
        await client.create(NEWS)
        pass_time(clock_file, timedelta(minutes=2))
        await simulator.rest()
        template_id = (await entry(client))["id"]
        await client.edit(template_id, other_words("Good news of {{title}} for you today."))
        assert (await entry(client))["status"] == "PENDING"
        pass_time(clock_file, timedelta(minutes=2))
        await simulator.rest()
        with pytest.raises(TemplateRefused, match="once in 24 hours"):
            await client.edit(template_id, other_words("More news of {{title}} for you today."))
        pass_time(clock_file, timedelta(hours=25))
        await client.edit(template_id, other_words("More news of {{title}} for you today."))


async def test_a_bad_quality_pauses_twice_and_then_disables(
    simulator: SimulatorUnderTest, webhook: RecordingWebhook, clock_file: Path
) -> None:
    red = {"name": "rights_request_v3", "language": "en", "quality": "RED"}
    await simulator.tell("templates", {"name": "rights_request_v3", "language": "en", "body": "Hello {{person}} there"})
    for _ in range(2):
        await simulator.tell("template_changes", red)
        pass_time(clock_file, timedelta(hours=6, minutes=1))
        await simulator.rest()
    await simulator.tell("template_changes", red)
    await simulator.rest()
    events = [value["event"] for value in webhook.values() if "event" in value]
    assert events == ["PAUSED", "APPROVED", "PAUSED", "APPROVED", "DISABLED"]


async def test_a_body_that_meta_refuses_is_refused_at_once(simulator: SimulatorUnderTest) -> None:
    async with client_of(simulator) as client:
        for text in ("News of {{title}}.", "“{{title}}” has news", "{{title}} has news"):
            with pytest.raises(TemplateRefused, match="start or end"):
                await client.create({**NEWS, **other_words(text)})


async def test_the_list_comes_in_pages_and_the_rules_plan_is_carried_out(
    simulator: SimulatorUnderTest, clock_file: Path
) -> None:
    wanted = wanted_templates(good_book())[:99]
    async with client_of(simulator) as client:
        for each in wanted:
            await client.create(each.creation())
        pass_time(clock_file, timedelta(minutes=2))
        await simulator.rest()
        listed = await client.list()
        assert {plan.action for plan in plan_templates(wanted, listed)} == {TemplateAction.KEEP}
