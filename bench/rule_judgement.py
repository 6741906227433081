"""Judges a folder of rule files as a verb of ``stet rules`` does; prints the CPU seconds and the megabytes it took.

It runs as a process of its own, which loads what the verb loads and nothing of the bench. ``read`` is the floor of a
check: the files are read, and libyaml's parser goes over them. ``check-command`` is the command itself, which plays the
stories, too.
"""

import json
import resource
import sys
import time
from contextlib import redirect_stdout
from enum import StrEnum
from io import StringIO
from pathlib import Path

from shared.runtime.startup import collect_garbage_seldom


class MeasuredVerb(StrEnum):
    READ = "read"
    CHECK = "check"
    TEST = "test"
    PROVE = "prove"
    CHECK_COMMAND = "check-command"


def _read(folder: Path) -> bool:
    from yaml._yaml import CParser  # noqa: PLC0415 -- a verb loads its own parts alone

    for path in folder.rglob("*.yaml"):
        parser = CParser(path.read_text("utf-8"))
        while parser.get_event() is not None:
            pass
        parser.dispose()
    return True


def _run_check(folder: Path) -> bool:
    """Whether ``stet rules check`` ends with 0. Its output is left out."""
    from ops.__main__ import app  # noqa: PLC0415 -- as above

    with redirect_stdout(StringIO()):
        return not app(["rules", "check", str(folder)], standalone_mode=False)


def _judge(judgement: MeasuredVerb, folder: Path) -> bool:
    """Whether all is well with the folder."""
    if judgement is MeasuredVerb.READ:
        return _read(folder)
    if judgement is MeasuredVerb.CHECK_COMMAND:
        return _run_check(folder)
    from services.rules.scenario.folder_check import check_folder, play_stories  # noqa: PLC0415 -- as above

    checked = check_folder(folder)
    if checked.faults:
        return False
    if judgement is MeasuredVerb.TEST:
        return not any(faults for _, faults in play_stories(checked))
    if judgement is MeasuredVerb.PROVE:
        from services.rules.analysis.proof import prove  # noqa: PLC0415 -- as above

        *_, proof = prove(checked.rulebook)
        return not proof.undecided  # counterexamples are findings too; a rule that cannot be decided is neither
    return True


if __name__ == "__main__":
    collect_garbage_seldom()
    _verb, _folder = MeasuredVerb(sys.argv[1]), Path(sys.argv[2])
    if not _judge(_verb, _folder):
        sys.exit(1)
    sys.stdout.write(json.dumps((time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)))
