"""Two minutes of load while every service, the broker and the database are killed, frozen, shut and filled.

The whole command is run as a person runs it; the code that judges imports nothing of the product.
"""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]

_SEED, _MINUTES = 1, 2


def test_the_delivery_promise_holds_under_load_and_strikes() -> None:
    arguments = ("--name", "flow-chaos", "--seed", str(_SEED), "--minutes", str(_MINUTES))
    run = subprocess.run([sys.executable, "-m", "dev.chaos", *arguments], check=False, capture_output=True, text=True)  # noqa: S603 -- our own command
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
