"""Babel's data without what Stet does not read: every language gives the same dates, numbers, lists and names."""

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from dev.image.babel_data import LEFT_OUT, main

_ROOT = Path(__file__).parents[3]


def values(*folder: str) -> dict[str, object]:
    """The output of babel_values.py, with Babel's data of a folder or the installed one."""
    ran = subprocess.run(  # noqa: S603 -- this interpreter, with a module of this folder
        [sys.executable, "-m", "tests.dev.image.babel_values", *folder],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    found: dict[str, object] = json.loads(ran.stdout)
    return found


@pytest.fixture
def reduced(tmp_path: Path) -> Path:
    """A copy of the installed data, as the image has it."""
    for file in resources.files("babel").joinpath("locale-data").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert main(tmp_path) == 0
    return tmp_path


def test_every_language_has_the_same_values_without_what_is_left_out(reduced: Path) -> None:
    whole = values()
    assert len(whole) > 700
    assert values(str(reduced)) == whole


def test_the_data_is_a_third_of_what_it_was_and_a_kind_that_is_left_out_is_an_error(reduced: Path) -> None:
    before = sum(len(file.read_bytes()) for file in resources.files("babel").joinpath("locale-data").iterdir())
    assert sum(file.stat().st_size for file in reduced.iterdir()) < before * 0.4
    script = (
        "import sys; from babel import Locale, localedata; localedata._dirname = sys.argv[1]; Locale('fr').currencies"
    )
    ran = subprocess.run(  # noqa: S603 -- this interpreter, with the script above
        [sys.executable, "-c", script, str(reduced)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "KeyError: 'currency_names'" in ran.stderr
    assert "currency_names" in LEFT_OUT


def test_a_folder_without_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path) == 1
    assert "no locale data" in capsys.readouterr().err
