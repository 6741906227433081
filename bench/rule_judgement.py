"""Judges a folder of rule files as a verb of ``stet rules`` does; prints the CPU seconds and the megabytes it took.

It runs as a process of its own, which loads what the verb loads and nothing of the bench. ``read`` is the floor of a
check: the files are read, and libyaml's parser goes over them.
"""

import json
import resource
import sys
import time
from enum import StrEnum
from pathlib import Path

from shared.runtime.startup import collect_garbage_seldom


class MeasuredVerb(StrEnum):
    READ = "read"
    CHECK = "check"
    TEST = "test"
    PROVE = "prove"


def _read(folder: Path) -> bool:
    from yaml._yaml import CParser  # noqa: PLC0415 -- a verb loads its own parts alone

    for path in folder.rglob("*.yaml"):
        parser = CParser(path.read_text("utf-8"))
        while parser.get_event() is not None:
            pass
        parser.dispose()
    return True


def _judge(judgement: MeasuredVerb, folder: Path) -> bool:
    """Whether all is well with the folder."""
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
    if not (_read(_folder) if _verb is MeasuredVerb.READ else _judge(_verb, _folder)):
        sys.exit(1)
    sys.stdout.write(json.dumps((time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)))
