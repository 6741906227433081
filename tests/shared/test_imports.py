"""The libraries that a service loads at its start: those that it does not need cost CPU and memory in every replica."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_OF_THE_COLLECTOR = {"google.protobuf", "opentelemetry.exporter.otlp"}
_OF_PEOPLE = {"phonenumbers", "babel", "holidays"}


@pytest.mark.parametrize(
    ("service", "never"),
    [
        ("dispatcher", {*_OF_PEOPLE, "graphql", "ruamel.yaml", "rich", "pygments"}),
        ("writeback", {*_OF_PEOPLE, "rich", "pygments"}),
        ("ingest", {"ruamel.yaml", "rich", "pygments"}),
        ("rules", {"graphql"}),
    ],
)
def test_a_service_loads_no_library_that_it_does_not_use(service: str, never: set[str]) -> None:
    code = f"import sys, services.{service}.app; print('\\n'.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 -- our own
    assert set(found.stdout.split()) & (never | _OF_THE_COLLECTOR) == set()
