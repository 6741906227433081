"""An OpenTelemetry collector: takes spans over HTTP as any other would, and keeps them."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dev.ports import LOOPBACK, free_ports
from tests.web_servers import serving


@dataclass
class Collector:
    spans: dict[bytes, Span] = field(default_factory=dict)
    url: str = ""

    def ways(self, name: str) -> set[tuple[str, ...]]:
        """For every span of this name: its own and its ancestors' names, up to where the trace began."""
        return {tuple(self._up(span)) for span in self.spans.values() if span.name == name}

    def text(self) -> str:
        """All that spans say besides when they were."""
        return "\n".join(f"{s.name} {s.attributes} {s.events} {s.links} {s.status}" for s in self.spans.values())

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans.values() if span.name == name]

    def attributes(self, span: Span) -> dict[str, str | int]:
        return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}

    def ways_of(self, span: Span) -> tuple[str, ...]:
        """Its own and its ancestors' names."""
        return tuple(self._up(span))

    def names_in(self, traces: Iterable[bytes]) -> set[str]:
        """The names of all spans of these traces."""
        wanted = set(traces)
        return {span.name for span in self.spans.values() if span.trace_id in wanted}

    def _up(self, span: Span | None) -> Iterator[str]:
        while span is not None:
            yield span.name
            if not span.parent_span_id:
                return
            span = self.spans.get(span.parent_span_id)
        yield "?"

    async def take(self, request: web.Request) -> web.Response:
        taken = ExportTraceServiceRequest.FromString(await request.read())
        for resource in taken.resource_spans:
            for scope in resource.scope_spans:
                self.spans.update((span.span_id, span) for span in scope.spans)
        return web.Response()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    (port,) = free_ports(1)
    collector = Collector(url=f"http://{LOOPBACK}:{port}")
    async with serving([web.post("/v1/traces", collector.take)], port, largest_body=2**24):
        yield collector
