"""The libraries that a service or the command line loads at its start: each costs CPU and memory every time."""

import os
import subprocess
import sys
from collections.abc import Mapping
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
        ("dispatcher", {*_OF_PEOPLE, *_OF_FILES, "aiohttp", "graphql", "ruamel.yaml", "rich", "pygments"}),
        ("writeback", {*_OF_PEOPLE, *_OF_FILES, "aiohttp", "rich", "pygments", "ruamel.yaml"}),
        ("ingest", {"ruamel.yaml", "rich", "pygments", "graphql", "faststream", "holidays", *_OF_FILES, "aiohttp"}),
        ("rules", {"graphql", "rich", "pygments", "filetype", "aiohttp", "stdnum"}),
    ],
)
def test_a_service_loads_no_library_that_it_does_not_use(service: str, never: set[str]) -> None:
    loaded = set(_import_app(service, 'print("\\n".join(sys.modules))').split())
    assert f"services.{service}.app" in loaded
    assert loaded & (never | _OF_THE_COLLECTOR) == set()


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel tells it on Linux alone")
def test_a_service_takes_no_more_memory_than_its_libraries_need(tmp_path: Path) -> None:
    """Private memory in MiB once its modules are loaded; a sixth more than measured, as versions of Python differ."""
    most = {"ingest": 45, "dispatcher": 45, "rules": 53, "writeback": 52}
    measure = 'print(re.search(r"Private_Dirty: +(\\d+)", open("/proc/self/smaps_rollup").read())[1])'
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    for service in most:
        _import_app(service, measure, environment)  # compiles, which takes memory of its own
    taken = {service: int(_import_app(service, measure, environment)) / 1024 for service in most}
    assert {service: size for service, size in taken.items() if size > most[service]} == {}


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


def _import_app(service: str, then: str, environment: Mapping[str, str] | None = None) -> str:
    """The output of ``then`` in a process of the service that has imported its parts, as its entry point does."""
    code = f"""
import re, runpy, sys
import shared.runtime.startup as startup
imported = startup.import_structlog_without_rich

def import_and_end():
    imported()
    import services.{service}.app
    {then}
    sys.exit(0)

startup.import_structlog_without_rich = import_and_end
runpy.run_module("services.{service}", run_name="__main__")
"""
    return subprocess.run(  # noqa: S603 -- our own
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, env=environment
    ).stdout
