"""``stet rules rollout``: what an operator is refused, and how a trial is told."""

import pytest

from ops.command_line import ExitCode
from ops.rules.rollout import _trial_bounds, _trial_state
from services.rules.rollout.activations import TrialKind, TrialResult
from tests.ops.stet_command import WHY, run_stet


def test_a_canary_is_for_a_share_or_for_imprints(capsys: pytest.CaptureFixture[str]) -> None:
    command = ("rules", "rollout", "canary", "4f2a", "--share", "10", "--imprint", "7", "--yes", *WHY)
    assert run_stet(*command) == ExitCode.CANNOT_RUN
    assert "a canary of an imprint decides for all its works" in capsys.readouterr().err


def test_the_state_and_the_bounds_of_a_canary_are_in_words() -> None:
    trial = {
        "kind": TrialKind.CANARY,
        "ended_at": "2027-03-03",
        "result": TrialResult.TURNED_BACK,
        "cause": "opt_out: 1",
        "opt_outs": 1,
        "max_opt_outs": 0,
        "failures": 2,
        "max_failures": 10,
        "disagreements": 0,
        "max_disagreements": 0,
    }
    assert _trial_state(trial) == "turned back: opt-out: 1"
    assert _trial_bounds(trial) == "opt-outs 1 (at most 0), failures 2 (at most 10), disagreements 0 (at most 0)"
