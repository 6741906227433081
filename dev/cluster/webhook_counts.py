"""``python -m dev.cluster.webhook_counts``: how many webhooks and messages both simulators count, as JSON."""

import asyncio
from typing import Any

import aiohttp
import orjson

from dev.cluster.in_cluster import CONSONANCE_URL, WHATSAPP_URL


def failed_attempts(pushes: list[dict[str, Any]]) -> int:
    """Requests of Consonance that were not answered 2xx; no answer counts as one."""
    return sum(not 200 <= status < 300 for push in pushes for status in push["statuses"])


async def _count() -> dict[str, int]:
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.get(f"{CONSONANCE_URL}/_simulator/pushes") as answer:
            pushes = await answer.json()
        async with session.get(f"{WHATSAPP_URL}/_simulator/counts") as answer:
            counts = await answer.json()
    webhooks = counts["webhooks"]
    return {
        "accepted": webhooks.get("delivered", 0) + sum(push["state"] == "taken" for push in pushes),
        "refused": webhooks.get("refused", 0) + failed_attempts(pushes),
        "sends": counts["sends"],
        "repeated": len(counts["repeated_callbacks"]),
    }


if __name__ == "__main__":
    print(orjson.dumps(asyncio.run(_count())).decode())
