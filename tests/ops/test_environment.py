"""The settings of a command: those of a stack on this machine, or the environment's."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from typer.testing import CliRunner

from ops import environment
from ops.__main__ import app
from ops.changes import current_person
from ops.command_line import ExitCode
from ops.environment import StackDocument, current_stack, use_stack


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The document of a stack, and an operator's name as the only variable."""
    file = tmp_path / "stack.json"
    file.write_bytes(msgspec.json.encode(StackDocument({}, {}, {"STET_TENANT": "penrose"})))
    monkeypatch.setattr(environment, "_found", [])
    monkeypatch.setattr(environment, "DEFAULT_STACK", file)
    with mock.patch.dict(os.environ, {"STET_OPERATOR": "ada"}, clear=True):
        yield file


@pytest.mark.parametrize("is_named", [True, False])
def test_the_operator_is_known_beside_the_settings_of_a_stack(stack: Path, *, is_named: bool) -> None:
    use_stack(stack if is_named else None)
    assert current_stack() is not None
    assert os.environ["STET_TENANT"] == "penrose"
    assert current_person() == "ada"


def test_settings_of_the_environment_stand_for_no_stack_and_give_way_to_one_that_is_named(stack: Path) -> None:
    os.environ |= {"STET_TENANT": "other", "STET_POSTGRES_POOL": "3"}
    use_stack(None)
    assert (current_stack(), os.environ["STET_TENANT"]) == (None, "other")
    use_stack(stack)
    assert {name for name in os.environ if name.startswith("STET_")} == {"STET_TENANT", "STET_OPERATOR"}


def test_the_stack_that_run_names_is_found_without_an_option(stack: Path) -> None:
    named = stack.parent / "second" / "stack.json"
    named.parent.mkdir()
    named.write_bytes(msgspec.json.encode(StackDocument({}, {}, {"STET_TENANT": "second"})))
    os.environ["RUN"] = "second"
    assert use_stack(None) == named
    assert os.environ["STET_TENANT"] == "second"


@pytest.mark.parametrize("command", [["status"], ["trace", "m1"], ["rules", "explain", "m1"], ["doctor"]])
def test_a_command_without_settings_names_the_stack_that_runs(stack: Path, command: list[str]) -> None:
    named = stack.parent / "second" / "stack.json"
    named.parent.mkdir()
    stack.replace(named)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == ExitCode.CANNOT_RUN
    assert f"let --stack, before the command, name the stack.json of a stack, such as {named}" in result.stderr
