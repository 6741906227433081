"""Receives alerts as an Alertmanager does, and knows when each one came last."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dev.ports import LOOPBACK


@dataclass
class AlertReceiver:
    """``received_at`` is when each alert came last (machine time), ``alerts`` its last document, both by name."""

    address: str = ""
    received_at: dict[str, float] = field(default_factory=dict)
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @staticmethod
    @asynccontextmanager
    async def open() -> AsyncIterator["AlertReceiver"]:
        receiver = AlertReceiver()
        app = web.Application()
        app.add_routes([web.post("/api/v2/alerts", receiver._receive)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, LOOPBACK, 0).start()
            host, port = runner.addresses[0][:2]
            receiver.address = f"{host}:{port}"
            yield receiver
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        for alert in await request.json():
            name = alert["labels"]["alertname"]
            self.received_at[name], self.alerts[name] = time.monotonic(), alert
        return web.json_response({})

    def seconds_since(self, name: str) -> float:
        """Seconds since the alert came last; infinite where it never came."""
        return time.monotonic() - self.received_at.get(name, float("-inf"))
