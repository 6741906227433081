"""The signed example in docs/operations/push-api.md works as it stands there."""

import asyncio
import json
import os
import re
import shutil

import pytest

from shared.contracts.consonance import WorkUnblocked
from shared.contracts.topics import CONSONANCE_EVENTS
from tests.services.ingest.service import ROOT, WEBHOOK_SECRET, IngestProcess

pytestmark = pytest.mark.integration

EXAMPLE = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/operations/push-api.md").read_text(), re.DOTALL)[0]


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="the example calls curl and openssl")
async def test_the_example_of_the_page_pushes_one_event(running_ingest: IngestProcess) -> None:
    script = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-c", EXAMPLE),
        env={**os.environ, "PUSH_URL": running_ingest.url, "PUSH_SECRET": WEBHOOK_SECRET},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await script.communicate()
    assert (script.returncode, json.loads(printed)) == (0, {"accepted": 1})
    pushed = [event for event in await running_ingest.read(CONSONANCE_EVENTS) if event.id.startswith("evt-example-")]
    assert [type(event.data) for event in pushed] == [WorkUnblocked]
