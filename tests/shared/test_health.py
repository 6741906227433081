"""What a probe hears, over a real socket."""

import aiohttp

from dev.ports import LOOPBACK, free_ports
from shared.runtime.health import Check, Detail, Health


async def readiness(checks: dict[str, Check], *details: Detail) -> tuple[int, str]:
    (port,) = free_ports(1)
    health, url = Health(driven=False, checks=checks, details=list(details)), f"http://{LOOPBACK}:{port}/readyz"
    async with health.serving(LOOPBACK, port), aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def no() -> bool:
    return False


async def yes() -> bool:
    return True


async def test_what_is_waited_for_is_named() -> None:
    assert await readiness({"kafka": no, "relay": yes, "poll": no}) == (503, "kafka\npoll\n")
    assert await readiness({"kafka": yes}) == (200, "ready\n")


async def test_a_part_may_start_while_a_probe_asks() -> None:
    checks: dict[str, Check] = {}

    async def starts_another() -> bool:
        checks["relay"] = no
        return False

    checks["kafka"] = starts_another
    assert await readiness(checks) == (503, "kafka\n")


async def test_a_refused_secret_is_named_and_takes_nothing_out_of_service() -> None:
    async def refused() -> str:
        return "STET_CONSONANCE_KEY: refused"

    async def accepted() -> str:
        return ""

    assert await readiness({"kafka": yes}, refused, accepted) == (200, "ready\nSTET_CONSONANCE_KEY: refused\n")
    assert await readiness({"kafka": no}, refused) == (503, "kafka\nSTET_CONSONANCE_KEY: refused\n")


async def test_who_must_know_hears_of_an_answer_that_keeps_requests_away() -> None:
    heard: list[str] = []
    health = Health(driven=False, checks={"kafka": yes})
    health.on_unready.append(lambda: heard.append("unready"))
    assert (await health.failing_checks(), heard) == ([], [])
    health.checks["relay"] = no
    assert (await health.failing_checks(), heard) == (["relay"], ["unready"])
