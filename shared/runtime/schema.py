"""A service's schema in PostgreSQL: the migration files it is made of, and whether a database has them all."""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from shared.contracts.errors import Misconfigured

ROOT = Path(__file__).resolve().parents[2]


class Migration(NamedTuple):
    """``name`` is what the schema's table ``migrations`` keeps of it, beside its ``digest``."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        return sha256(self.text.encode()).hexdigest()


class SchemaOutdated(Exception):
    """The code is newer than the schema, which lacks these migrations."""

    def __init__(self, lacking: list[str]) -> None:
        self.lacking = lacking
        super().__init__(f"the schema lacks {', '.join(lacking)}")


def migrations_of(service: str) -> list[Migration]:
    """The shared ones first, then the service's own, by number."""
    folders = {"shared": Path(__file__).with_name("migrations"), service: ROOT / "services" / service / "migrations"}
    files = [(owner, path) for owner, folder in folders.items() for path in sorted(folder.glob("*.sql"))]
    return [Migration(f"{owner}/{path.name}", path.read_text()) for owner, path in files]


def require_migrations(service: str, applied: dict[str, str]) -> None:
    """Raises SchemaIsOlder where the schema lacks what this code was written for."""
    if older := missing_migrations(service, applied):
        raise SchemaOutdated([migration.name for migration in older])


def missing_migrations(service: str, applied: dict[str, str]) -> list[Migration]:
    """Those a schema lacks that has ``applied`` (name → digest). One it has beyond ours is a newer version's.

    Raises Misconfigured for a file that was changed after it was applied.
    """
    ours = migrations_of(service)
    for migration in ours:
        if applied.get(migration.name, migration.digest) != migration.digest:
            raise Misconfigured(migration.name, "this migration was changed after it was applied; write a new one")
    return [migration for migration in ours if migration.name not in applied]
