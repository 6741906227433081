"""A real Prometheus beside a stack: it scrapes the services, evaluates our rules, and answers queries."""

import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from dev.observability.durations import TimeScale
from dev.observability.rule_files import read_rule_files
from dev.observability.rule_rendering import rule_groups, to_yaml
from dev.ports import LOOPBACK, free_ports
from dev.processes import Child, Command
from dev.tools import program

Firing = tuple[str, str]
"""The name of an alert that fires, and its label ``service``, which may be empty."""

_READY_SECONDS = 20


class InvalidExpression(Exception):
    """Prometheus does not accept an expression; the text is its own."""


@dataclass(frozen=True)
class Prometheus:
    """``url`` is its address; ``folder`` has its configuration, its data and its log."""

    url: str
    session: aiohttp.ClientSession
    child: Child

    @staticmethod
    @asynccontextmanager
    async def open(
        folder: Path, targets: Mapping[str, str], scale: TimeScale, receiver: str, interval: str = "1s"
    ) -> AsyncIterator["Prometheus"]:
        """Scrape ``targets`` (an address by the name of its instance) each ``interval`` until the block ends.

        Alerts are sent to ``receiver``, a host and port, as to an Alertmanager.
        """
        port = free_ports(1)[0]
        child = Child(_command(folder, targets, scale, receiver, interval, port), folder)
        async with aiohttp.ClientSession() as session:
            prometheus = Prometheus(f"http://{LOOPBACK}:{port}", session, child)
            try:
                await child.start()
                await child.wait_until(prometheus.is_ready, _READY_SECONDS)
                yield prometheus
            finally:
                await child.stop()

    async def kill(self) -> None:
        """Kill it; nothing is flushed or answered any more."""
        await self.child.kill()

    async def is_ready(self) -> bool:
        with suppress(aiohttp.ClientError):
            async with self.session.get(f"{self.url}/-/ready") as answer:
                return answer.ok
        return False

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that the expression has now. Raises InvalidExpression."""
        return list((await self._get("query", query=expression))["result"])

    async def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series between two instants. Raises InvalidExpression."""
        arguments = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return list((await self._get("query_range", query=expression, **arguments))["result"])

    async def firing(self) -> set[Firing]:
        """The alerts that fire now."""
        alerts = (await self._get("alerts"))["alerts"]
        labels = [alert["labels"] for alert in alerts if alert["state"] == "firing"]
        return {(one["alertname"], one.get("service", "")) for one in labels}

    async def scraped(self) -> int:
        """How many scrapes have succeeded; the first ones come some seconds after the start."""
        found = await self.query("sum(sum_over_time(up[1h]))")
        return int(float(found[0]["value"][1])) if found else 0

    async def metric_names(self) -> set[str]:
        """The names that the scraped targets describe, and those of all series."""
        described = await self._get("metadata")
        series = await self._get("label/__name__/values")
        return {*described, *series}

    async def failed_rules(self) -> list[str]:
        """A sentence for each rule whose last evaluation failed."""
        groups = (await self._get("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")]

    async def _get(self, path: str, **arguments: str) -> Any:
        async with self.session.get(f"{self.url}/api/v1/{path}", params=arguments) as answer:
            document = await answer.json()
        if document["status"] != "success":
            raise InvalidExpression(document["error"])
        return document["data"]


def without_variables(expression: str, window: str) -> str:
    """A query of a dashboard as Grafana sends it with all variables set to All, over ``window``, like ``60s``."""
    for name in ("namespace", "service", "instance"):
        expression = expression.replace(f"${name}", ".*")
    return expression.replace("$__range", window).replace("$__rate_interval", window)


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    return subprocess.run([program("promtool"), *arguments], check=False, capture_output=True, text=True)


def _command(
    folder: Path, targets: Mapping[str, str], scale: TimeScale, receiver: str, interval: str, port: int
) -> Command:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yaml").write_text(to_yaml(rule_groups(read_rule_files(), scale)))
    (folder / "prometheus.yaml").write_text(to_yaml(_configuration(targets, receiver, interval)))
    argv = (
        str(program("prometheus")),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--enable-feature=exemplar-storage",
        "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    )
    return Command("prometheus", argv)


def _configuration(targets: Mapping[str, str], receiver: str, interval: str) -> dict[str, Any]:
    static = [
        {"targets": [url.removeprefix("http://")], "labels": {"instance": name, "namespace": "stet"}}
        for name, url in targets.items()
    ]
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [receiver]}]}]},
        "scrape_configs": [{"job_name": "stet", "static_configs": static}],
    }
