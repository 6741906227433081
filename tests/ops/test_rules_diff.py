"""``stet rules bundle`` and ``stet rules diff``: what a bundle of stories is for, and what it is not."""

from pathlib import Path

import pytest

from ops.command_line import ExitCode
from tests.ops.stet_command import run_stet
from tests.services.rules.rulebooks import BOOK


def test_a_bundle_of_stories_is_replayed_and_a_diff_with_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "stories.jsonl.gz"
    assert run_stet("rules", "bundle", "--stories", f"{BOOK}", "--out", f"{bundle}") == ExitCode.FINE
    assert run_stet("rules", "replay", f"{bundle}") == ExitCode.FINE
    assert run_stet("rules", "diff", f"{BOOK}", f"{BOOK}", "--bundle", f"{bundle}") == ExitCode.CANNOT_RUN
    assert "no events. Leave --bundle out to play the stories of both" in capsys.readouterr().err
    assert run_stet("rules", "diff", f"{BOOK}", f"{BOOK}") == ExitCode.FINE
