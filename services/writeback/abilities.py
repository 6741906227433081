"""What this tenant's Consonance could do when it was last introspected; doubted as soon as it refuses a document."""

from typing import Protocol

from graphql import GraphQLSchema

from services.writeback.capability import Capabilities, Support, choose, examine
from services.writeback.changes import Change
from services.writeback.ways import Ways
from shared.contracts.errors import Unavailable
from shared.runtime.telemetry import gauge, get_logger

log = get_logger()


class Introspected(Protocol):
    async def fetch_schema(self) -> GraphQLSchema: ...


class Abilities:
    def __init__(self, ways: Ways) -> None:
        self._ways = ways
        self._capabilities: Capabilities = ()
        self.doubted = True

    def doubt(self) -> None:
        """Look again before the next write."""
        self.doubted = True

    async def renew(self, consonance: Introspected) -> None:
        """Raises Unavailable where Consonance cannot be asked, or describes what cannot be examined."""
        schema = await consonance.fetch_schema()
        try:
            self._capabilities = examine(schema, self._ways)
        except Exception as error:  # a schema may be valid and yet of a shape no mapping foresaw
            raise Unavailable(f"Consonance's schema cannot be examined: {type(error).__name__}") from error
        self.doubted = False
        able = gauge("stet_writeback_way_supported", "1 where Consonance offers a way of the mapping", "way")
        for support in self._capabilities:
            able.labels(support.name).set(support.write is not None)
            if support.refusals:
                log.info("way.unsupported", way=support.name, refusals=support.refusals[:3])

    def choose(self, change: Change) -> Support | None:
        return choose(self._capabilities, change.operation, change.facts)
