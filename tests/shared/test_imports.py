"""The libraries that a service or the command line loads at its start: each costs CPU and memory every time."""

import subprocess
import sys
from pathlib import Path

import pytest

from shared.contracts.topics import SERVICES

ROOT = Path(__file__).parents[2]
_OF_THE_COLLECTOR = {"google.protobuf", "opentelemetry.exporter.otlp", "opentelemetry.sdk"}
_OF_PEOPLE = {"phonenumbers", "babel", "holidays"}
_OF_FILES = {"filetype", "obstore"}


@pytest.mark.parametrize(
    ("service", "never"),
    [
        ("dispatcher", {*_OF_PEOPLE, "graphql", "ruamel.yaml", "rich", "pygments"}),
        ("writeback", {*_OF_PEOPLE, "rich", "pygments"}),
        ("ingest", {"ruamel.yaml", "rich", "pygments", "graphql", "faststream", "holidays", *_OF_FILES, "aiohttp"}),
        ("rules", {"graphql", "rich", "pygments", "filetype", "aiohttp"}),
    ],
)
def test_a_service_loads_no_library_that_it_does_not_use(service: str, never: set[str]) -> None:
    code = f"""
import runpy, sys
import shared.runtime.startup as startup
imported = startup.import_structlog_without_rich

def import_and_end():
    imported()
    import services.{service}.app
    print("\\n".join(sys.modules))
    sys.exit(0)

startup.import_structlog_without_rich = import_and_end
runpy.run_module("services.{service}", run_name="__main__")
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 -- our own
    loaded = set(found.stdout.split())
    assert f"services.{service}.app" in loaded
    assert loaded & (never | _OF_THE_COLLECTOR) == set()


@pytest.mark.parametrize(
    ("module", "part"),
    [*((f"services.{service}", f"services.{service}.app") for service in SERVICES), ("ops", "ops.rules.check")],
)
def test_a_process_looks_seldom_for_garbage_before_it_imports_its_parts(module: str, part: str) -> None:
    """Python's own threshold, of 700 new objects, makes a start a fifth more expensive."""
    code = f"""
import gc, runpy, sys
from importlib.abc import MetaPathFinder

class Watch(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{part}":
            print(gc.get_threshold()[0])
            sys.exit(0)

sys.meta_path.insert(0, Watch())
sys.argv = ["stet", "rules", "check", "--help"]
runpy.run_module("{module}", run_name="__main__")
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 -- our own
    assert int(found.stdout) >= 10_000


def test_a_check_of_rules_loads_the_holidays_of_the_countries_it_asks_for() -> None:
    """The modules of all countries, and a second reader of YAML, are a tenth of what a check keeps in memory."""
    code = """
import sys
from pathlib import Path
from services.rules.scenario.folder_check import check_folder
check_folder(Path("rules"))
print("\\n".join(sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 -- our own
    loaded = set(found.stdout.split())
    countries = {name for name in loaded if name.startswith("holidays.countries.")}
    assert (countries, "ruamel.yaml" in loaded) == ({"holidays.countries.united_kingdom"}, False)
