"""The metrics of running replicas, read from the ``/metrics`` of their health ports."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT = aiohttp.ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class ReplicaMetrics:
    """``samples``: name, labels and value of each, over all replicas. ``away``: the addresses that did not answer."""

    asked: int = 0
    samples: Sequence[tuple[str, Mapping[str, str], float]] = ()
    away: Mapping[str, str] = field(default_factory=dict)

    def values(self, name: str) -> Iterator[tuple[Mapping[str, str], float]]:
        return ((labels, value) for sample, labels, value in self.samples if sample == name)

    def total(self, name: str) -> float:
        return sum(value for _, value in self.values(name))


async def fetch_metrics(urls: Sequence[str]) -> ReplicaMetrics:
    """Ask all at once; one that does not answer is named, and the others count."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        pages = await asyncio.gather(*(_page(session, url) for url in urls), return_exceptions=True)
    samples, away = [], {}
    for url, page in zip(urls, pages, strict=True):
        if isinstance(page, BaseException):
            away[url] = type(page).__name__
        else:
            samples += [
                (sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(page)
                for sample in family.samples
            ]
    return ReplicaMetrics(len(urls), samples, away)


async def _page(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(f"{url.rstrip('/').removesuffix('/metrics')}/metrics") as answer:
        answer.raise_for_status()
        return await answer.text()
