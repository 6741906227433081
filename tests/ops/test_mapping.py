"""``stet mapping`` with files of mistakes, and against simulators of two kinds of Consonance over real sockets."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from dev.consonance.schema import Profile
from ops.mapping import input_rows
from shared.contracts.writes import WriteOperation
from tests.dev.consonance.simulator_under_test import KEY, running_simulator
from tests.ops.stet_command import run_stet

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "consonance-mapping.md"
OWN = """\
extends: extended.yaml
operations:
  work title:
    operation: metadata.apply
    when: {field: title, level: work}
    read:
      document: "query T($target: Int!) { work(workSearch: {idEq: $target}) { id heading } }"
      variables: {target: target_id}
      found: work.id
      values: {current: work.heading}
    write:
      document: |
        mutation S($target: Int!, $value: String!) { updateWork(input: {id: $target, title: $value}) { work { id } } }
      variables: {target: target_id, value: value}
"""


@pytest.fixture(params=[Profile.DOCUMENTED, Profile.EXTENDED])
async def profile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Profile]:
    """A running Consonance of this profile, named by the settings."""
    async with running_simulator(profile=request.param) as simulator:
        monkeypatch.setenv("STET_CONSONANCE_URL", simulator.url)
        monkeypatch.setenv("STET_CONSONANCE_KEY", KEY)
        yield request.param


async def stet(*arguments: str | Path) -> int:
    """In a thread, since the simulator answers in this one."""
    return await asyncio.to_thread(run_stet, "mapping", *map(str, arguments))


async def test_capabilities_show_for_each_operation_whether_consonance_takes_it(
    profile: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await stet("capabilities", "--format", "json")
    printed = capsys.readouterr()
    rows = {row["name"]: row for row in map(json.loads, printed.out.splitlines())}
    is_extended = profile is Profile.EXTENDED
    assert code == (0 if is_extended else 1)
    assert (rows["work title"]["read"], rows["work title"]["written"]) == ("yes", "yes")
    assert rows["milestone"]["written"] == ("yes" if is_extended else "a task for a person")
    assert ("milestone: " in printed.err) is not is_extended


async def test_a_file_of_ones_own_replaces_an_operation_by_its_name(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    assert await stet("capabilities", tmp_path / "own.yaml", "--format", "json") == 1
    printed = capsys.readouterr()
    rows = {row["name"]: row for row in map(json.loads, printed.out.splitlines())}
    assert (rows["work title"]["read"], rows["work title"]["written"]) == ("no", "a task for a person")
    assert "work title: Cannot query field 'heading' on type 'Work'" in printed.err
    assert rows["work subtitle"]["written"] == "yes", profile


async def test_a_kind_of_write_that_the_file_lacks_becomes_a_task(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text("operations: {}\n", encoding="utf-8")
    assert await stet("capabilities", tmp_path / "own.yaml", "--format", "json") == 1, profile
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["operation"] for row in rows} == {operation.value for operation in WriteOperation}
    assert {row["written"] for row in rows} == {"a task for a person"}


async def test_a_refused_key_is_named(
    profile: Profile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STET_CONSONANCE_KEY", "j" * 32)
    assert await stet("capabilities") == 2, profile
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "secret.refused" in printed.err
    assert printed.err.splitlines()[-1].startswith("STET_CONSONANCE_KEY: ")


def test_a_fault_is_printed_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text(OWN.replace("found:", "fownd:"), encoding="utf-8")
    assert run_stet("mapping", "check", str(tmp_path / "own.yaml")) == 1
    assert "own.yaml:9:7: 'fownd' is not a key here; did you mean 'found'?" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stet("mapping", "check", str(tmp_path / "none.yaml")) == 2
    assert "none.yaml: No such file or directory" in capsys.readouterr().err


def test_the_page_has_every_input_and_value_of_every_operation() -> None:
    rows = input_rows()
    of_all = set.intersection(*(set(row["inputs"]) for row in rows))
    text = PAGE.read_text("utf-8")
    assert [name for name in of_all if f"`{name}`" not in text] == []
    written = [
        _row(row["operation"], (each for each in row["inputs"] if each not in of_all), row["values"]) for row in rows
    ]
    assert [line for line in written if line not in text] == []


def test_the_file_that_the_page_shows_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It extends one that comes along, whose operations it has as well."""
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "own.yaml").write_text(shown, encoding="utf-8")
    assert run_stet("mapping", "check", str(tmp_path / "own.yaml"), "--format", "json") == 0
    names = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert {"milestone", "work title"} <= set(names)


def _row(operation: str, *lists: Iterable[str]) -> str:
    cells = [[operation], *lists]
    return f"| {' | '.join(' '.join(f'`{name}`' for name in cell) for cell in cells)} |"
