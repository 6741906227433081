"""The simulator as the stack starts it: a process that says where it is and ends when asked."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from dev.consonance import command
from tests.dev.command_lines import options_of
from tests.dev.consonance.simulator_under_test import KEY, SECRET

_ROOT = Path(__file__).parents[3]


@pytest.fixture
async def process() -> AsyncIterator[asyncio.subprocess.Process]:
    command = ("-m", "dev.consonance", "--port", "0", "--key", KEY, "--webhook-secret", SECRET)
    started = await asyncio.create_subprocess_exec(
        sys.executable, *command, "--profile", "documented", cwd=_ROOT, stdout=asyncio.subprocess.PIPE
    )
    yield started
    if started.returncode is None:
        started.kill()
        await started.wait()


async def test_the_process_prints_its_url_and_ends_on_a_signal(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    async with aiohttp.ClientSession() as session, session.get(f"{ready['url']}/healthz") as answer:
        assert await answer.json() == {"ok": True}
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


def test_a_webhook_secret_that_signs_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options_of(command, ["--port", "0", "--key", KEY, "--webhook-secret", "whsec_x"])
    assert "--webhook-secret" in capsys.readouterr().err
