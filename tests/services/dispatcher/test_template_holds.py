"""A known state of a template holds its messages before they are sent, or sends the fallback."""

from datetime import timedelta

import pytest

from services.dispatcher.template_reader import TemplateReader
from shared.clients.whatsapp_templates import TemplateClient, TemplateEndpoint
from shared.contracts.messages import TemplateCall
from shared.contracts.whatsapp import AccountReported
from tests.dev.whatsapp.simulator_under_test import ACCOUNT, TOKEN
from tests.services.dispatcher.dispatcher_under_test import (
    DispatcherUnderTest,
    person_observed,
    send_request,
    template_update,
)

pytestmark = pytest.mark.integration


async def test_a_fallback_goes_in_place_of_a_rejected_template(dispatcher: DispatcherUnderTest) -> None:
    await dispatcher.simulator.tell(
        "templates", {"name": "plain_request_v1", "language": "en", "body": "A question for {{person}} waits"}
    )
    plain = TemplateCall(name="plain_request_v1", language="en", parameters={"person": "Ada"})
    await dispatcher.handle(
        template_update(dispatcher.clock.now(), "REJECTED"), person_observed(), send_request(fallback=plain)
    )
    await dispatcher.wait_for_state("accepted")
    assert [message["template"] for message in await dispatcher.sent()] == ["plain_request_v1"]


async def test_a_template_moved_to_marketing_goes_only_to_those_who_consented(dispatcher: DispatcherUnderTest) -> None:
    moved = {
        "message_template_name": "rights_request_v3",
        "message_template_language": "en",
        "previous_category": "UTILITY",
        "new_category": "MARKETING",
    }
    now = dispatcher.clock.now()
    report = AccountReported(account=ACCOUNT, field="template_category_update", value=moved, at=now)
    consenting = send_request("m2", "p2", marketing_consent=True)
    await dispatcher.handle(
        report, person_observed(), person_observed("p2", "+441632960002"), send_request(), consenting
    )
    await dispatcher.wait_for_state("accepted", "m2")
    await dispatcher.wait_for_reason("template_recategorised")
    assert await dispatcher.parts.handler.account.count_templates(dispatcher.pool) == ({"APPROVED": 1}, 1)


async def test_a_template_that_the_account_does_not_have_is_waited_for(dispatcher: DispatcherUnderTest) -> None:
    endpoint = TemplateEndpoint(dispatcher.simulator.url, "v25.0", ACCOUNT, TOKEN)
    account, parts = dispatcher.parts.handler.account, dispatcher.parts
    reader = TemplateReader(dispatcher.pool, dispatcher.clock, account, parts.sender, endpoint, timedelta(minutes=10))
    unknown = TemplateCall(name="unknown_v1", language="en")
    async with TemplateClient(endpoint) as client:
        await reader.read(client)
        await dispatcher.handle(person_observed(), send_request(template=unknown))
        await dispatcher.wait_for_reason("template_missing")
        await dispatcher.simulator.tell("templates", {"name": "unknown_v1", "language": "en", "body": "Good morning"})
        dispatcher.advance_clock(timedelta(seconds=1))
        await reader.read(client)
        await dispatcher.wait_for_state("accepted")
