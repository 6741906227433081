"""The programs that ``make`` runs explain themselves, and take no argument that they do not know."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_RUN = re.compile(r"\$\(PYTHON\) -m (dev[\w.]*)")
_PROGRAMS = sorted(
    {*_RUN.findall((ROOT / "Makefile").read_text()), "dev.metrics_page", "dev.privacy_page", "dev.deploy"}
)


def _source_of(program: str) -> str:
    module = program if not (ROOT / program.replace(".", "/")).is_dir() else f"{program}.__main__"
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_text()


@pytest.mark.parametrize("program", _PROGRAMS)
def test_a_program_that_make_runs_reads_its_command_line_with_typer(program: str) -> None:
    assert re.search(
        r'^if __name__ == "__main__":\n    (typer\.run\(main\)|app\(\))$', _source_of(program), re.MULTILINE
    )


@pytest.mark.parametrize(
    ("argument", "code", "said"), [("--help", 0, "Ctrl-C"), ("--helm", 2, "No such option: --helm")]
)
def test_the_stack_is_not_started_by_a_command_line_that_does_not_ask_for_it(
    argument: str, code: int, said: str
) -> None:
    command = [sys.executable, "-m", "dev", argument]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)  # noqa: S603 -- our own
    assert ended.returncode == code
    assert said in ended.stdout + ended.stderr
