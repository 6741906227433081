"""The clock file of a simulator: each folder's own ``clock_start`` says at which instant it begins."""

from datetime import datetime
from pathlib import Path

import pytest

from shared.runtime.clock import DevelopmentClock


@pytest.fixture
def clock_file(tmp_path: Path, clock_start: datetime) -> Path:
    path = tmp_path / "clock"
    DevelopmentClock.create(path, clock_start)
    return path


@pytest.fixture
def clock(clock_file: Path) -> DevelopmentClock:
    return DevelopmentClock(clock_file)
