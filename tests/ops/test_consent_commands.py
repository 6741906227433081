"""Opt-ins from a list are previewed, recorded and shown on a real database."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.__main__ import app
from tests.ops.stet_command import WHY

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("people")
def test_opt_ins_are_previewed_recorded_with_their_evidence_and_shown(stet: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "optins.csv"
    as_whatsapp_names_it = "+44 7700 900902"
    file.write_text(
        "contact,phone,at,evidence\n,+44 7700 900806,2026-03-01,sheet 14\n900,,2026-03-01,sheet 15\n"
        f",{as_whatsapp_names_it},2026-03-01,sheet 16\n"
    )
    preview = stet.invoke(app, ["consent", "import", str(file)])
    assert (preview.exit_code, "3 recorded; a preview" in preview.stdout) == (0, True), preview.output
    assert "7700" not in preview.stdout
    assert stet.invoke(app, ["consent", "show", "806", *WHY]).exit_code == 1
    assert stet.invoke(app, ["consent", "import", str(file), "--apply"]).exit_code == 2
    done = stet.invoke(app, ["consent", "import", str(file), "--apply", "--reason", "fair of May", "--yes"])
    assert done.exit_code == 0, done.output
    shown = stet.invoke(app, ["consent", "show", "806", *WHY, "--format", "json"])
    assert shown.exit_code == 0, shown.output
    (found,) = map(json.loads, shown.stdout.splitlines())
    assert [(each["role"], each["ground"]) for each in found["grounds"]] == [("newsletter", "opt_in")]
    assert [(each["change"], each["source"], each["evidence"]) for each in found["ledger"]] == [
        ("opt_in", "import", "sheet 14")
    ]
    again = stet.invoke(app, ["consent", "import", str(file), "--format", "json"])
    assert {json.loads(line)["outcome"] for line in again.stdout.splitlines()} == {"known already"}
    entries = map(json.loads, stet.invoke(app, ["audit-log", "--format", "json"]).stdout.splitlines())
    changed = [(each["action"], each["result"]) for each in entries if each["action"] != "show consent"]
    assert changed == [("import consent", "recorded 3 of 3")]


@pytest.mark.usefixtures("people")
def test_a_list_with_a_fault_records_nothing(stet: CliRunner, tmp_path: Path) -> None:
    file = tmp_path / "optins.csv"
    file.write_text("contact,at,evidence\n806,2026-03-01,sheet 14\n807,2026-03-01,sheet 15\n")
    done = stet.invoke(app, ["consent", "import", str(file), "--apply", "--reason", "fair of May", "--yes"])
    assert (done.exit_code, "no such person" in done.stdout) == (1, True), done.output
    assert stet.invoke(app, ["consent", "show", "806", *WHY]).exit_code == 1
    assert stet.invoke(app, ["consent", "import", "nowhere.csv"]).exit_code == 2
