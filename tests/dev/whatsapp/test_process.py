"""The simulator as a process of its own: it starts, says where, serves fast and in bounded memory, and ends."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import psutil
import pytest

from dev.layout import ROOT
from dev.whatsapp import command
from dev.whatsapp.simulator import WhatsAppSimulator
from tests.dev.command_lines import options_of
from tests.dev.whatsapp.simulator_under_test import ACCOUNT, MAIN, SECRET, TOKEN, VERIFY, SimulatorUnderTest, templated

REQUIRED = [
    *("--app-secret", SECRET, "--verify-token", VERIFY, "--token", TOKEN),
    *("--business-account", ACCOUNT, "--lines", f"main={MAIN}"),
]
ASK = templated("+447700900123", "anything")


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[tuple[SimulatorUnderTest, asyncio.subprocess.Process]]:
    command = [sys.executable, "-m", "dev.whatsapp", "--port", "0", *REQUIRED, *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    async with aiohttp.ClientSession() as session:
        yield SimulatorUnderTest(ready["url"], session), process
    if process.returncode is None:
        process.terminate()
    assert await process.wait() == 0


async def burst(simulator: SimulatorUnderTest, number: int) -> int:
    waiting = iter(range(number))

    async def sender() -> int:
        return sum([(await simulator.send(ASK)).status == 200 for _ in waiting])

    return sum(await asyncio.gather(*(sender() for _ in range(32))))


async def test_it_answers_and_ends_on_sigterm() -> None:
    async with started() as (simulator, process), simulator.session.get(f"{simulator.url}/healthz") as answer:
        assert answer.status == 200
        assert process.returncode is None


async def test_a_held_connection_does_not_keep_it_alive() -> None:
    async with started("--accept-any-template") as (simulator, _):
        await simulator.tell("faults", {"kind": "timeout_before"})
        with pytest.raises(TimeoutError):
            await simulator.send(ASK, within=0.2)


async def test_fast_mode_takes_thousands_of_sends_and_keeps_few() -> None:
    async with started("--fast", "--accept-any-template", "--keep", "100") as (simulator, process):
        assert await burst(simulator, 2000) == 2000
        before = psutil.Process(process.pid).memory_info().rss
        assert await burst(simulator, 4000) == 4000
        grown = psutil.Process(process.pid).memory_info().rss - before
        assert (await simulator.ask("counts"))["sends"] == 6000
        assert len(await simulator.ask("messages")) == 100
        assert grown < 8 << 20


def test_the_templates_of_a_rule_folder_are_registered_from_the_start_and_after_a_reset() -> None:
    simulator = WhatsAppSimulator(options_of(command, ["--port", "0", *REQUIRED, "--rules", str(ROOT / "rules")]))
    registered = {(template.name, template.language) for template in simulator.options.templates}
    simulator.reset()
    assert registered
    for name, language in registered:
        assert simulator.templates.find(name, language) is not None


def test_fast_means_no_disorder_and_a_cap() -> None:
    options = options_of(command, ["--port", "0", *REQUIRED, "--fast"])
    assert (options.disorder, options.keep) == (0.0, 10_000)


@pytest.mark.parametrize("wrong", [["--lines", "main"], ["--disorder", "2"]])
def test_a_wrong_option_is_named(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options_of(command, ["--port", "0", *REQUIRED, *wrong])
    assert wrong[0] in capsys.readouterr().err
