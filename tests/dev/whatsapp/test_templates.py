"""The account's templates over a real socket: review, limits on edits, pauses, categories, pages."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from ops.template_plan import TemplateAction, plan_templates, wanted_templates
from shared.clients.graph_api import TemplateClient, TemplateEndpoint, TemplateRefused
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


APP, PDF = "670843887433847", b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n%%EOF\n"


def with_document(handle: str) -> dict[str, Any]:
    header = {"type": "HEADER", "format": "DOCUMENT", "example": {"header_handle": [handle]}}
    return {**NEWS, "components": [header, *NEWS["components"]]}


async def test_a_template_with_a_document_takes_the_handle_of_an_upload_and_no_other(
    simulator: SimulatorUnderTest,
) -> None:
    async with client_of(simulator) as client:
        with pytest.raises(TemplateRefused, match="header_handle"):
            await client.create(with_document("4::made-up"))
        handle = await client.upload(APP, "statement.pdf", "application/pdf", PDF)
        assert (await client.create(with_document(handle)))["status"] == "PENDING"


@pytest.mark.parametrize(
    ("app", "mime", "content", "said"),
    [
        (APP, "text/plain", b"Dear author", "file_type"),
        (APP, "application/pdf", b"\x89PNG\r\n\x1a\n" + bytes(16), "the content is not application/pdf"),
        (APP, "application/pdf", b"", "file_length"),
        ("17", "application/pdf", PDF, "does not exist"),
    ],
)
async def test_an_upload_that_meta_does_not_take_is_refused(
    simulator: SimulatorUnderTest, app: str, mime: str, content: bytes, said: str
) -> None:
    async with client_of(simulator) as client:
        with pytest.raises(TemplateRefused, match=said):
            await client.upload(app, "statement.pdf", mime, content)


async def test_an_upload_goes_on_from_the_byte_up_to_which_it_came(simulator: SimulatorUnderTest) -> None:
    begin = f"{simulator.url}/v25.0/{APP}/uploads"
    query = {"file_name": "a.pdf", "file_length": str(len(PDF)), "file_type": "application/pdf"}
    bearer, oauth = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"OAuth {TOKEN}"}
    async with simulator.session.post(begin, params=query, headers=bearer) as answer:
        session = URL(f"{simulator.url}/v25.0/{(await answer.json())['id']}", encoded=True)
    async with simulator.session.post(session, data=PDF[:10], headers={**oauth, "file_offset": "0"}) as answer:
        assert (await answer.json())["file_offset"] == 10
    async with simulator.session.get(session, headers=oauth) as answer:
        assert (await answer.json())["file_offset"] == 10
    async with simulator.session.post(session, data=PDF[10:], headers={**oauth, "file_offset": "9"}) as answer:
        assert answer.status == 400
    async with simulator.session.post(session, data=PDF[10:], headers={**oauth, "file_offset": "10"}) as answer:
        assert (await answer.json())["h"]
    async with simulator.session.post(session, data=b"x", headers={**bearer, "file_offset": "0"}) as answer:
        assert (await answer.json())["error"]["code"] == 190
