"""A critical block on a Friday afternoon goes from person to person until one takes it; one at night just passes."""

from dev.demo.stage import Stage
from dev.demo.story import Story, london

_OWNER, _FIRST, _SECOND = 71, 12, 11
_TAKE = ("Take it", "Not me")
_STUCK = "“Winter Ferries” cannot move and nobody has taken it yet"


async def play(stage: Stage) -> None:
    await stage.at(london(4, 14, 23))
    await _at_night(stage)
    await stage.at(london(4, 16, 16))
    await _on_a_friday(stage)


async def _at_night(stage: Stage) -> None:
    await _blocked(stage, 61425, "info", "the foreword’s proofs came back without a mark")
    stage.silence()
    await stage.at(london(4, 15, 6, 30))
    await _unblocked(stage, 61425)
    await stage.at(london(4, 15, 12))
    stage.silence()


async def _on_a_friday(stage: Stage) -> None:
    """Four working hours from Friday at four are Monday at eleven."""
    cast = stage.world.cast
    await _blocked(stage, 61424, "critical", "the printer has no signed-off cover")
    stage.hears(cast[_OWNER], "“Winter Ferries” cannot move: the printer has no signed-off cover", buttons=_TAKE)
    await stage.at(london(4, 19, 10, 59))
    stage.silence()
    await stage.at(london(4, 19, 11, 20))
    stage.hears(cast[_FIRST], _STUCK, buttons=_TAKE, at=london(4, 19, 11))
    stage.silence()
    await stage.taps(cast[_FIRST], "Not me")
    stage.hears(cast[_FIRST], "Your answer is noted")
    stage.hears(cast[_SECOND], _STUCK, buttons=_TAKE)
    await stage.at(london(4, 19, 11, 45))
    await stage.taps(cast[_SECOND], "Take it")
    stage.hears(cast[_SECOND], "You have taken Winter Ferries", buttons=("Done", "Give it back"))
    stage.silence()
    await stage.at(london(4, 19, 15))
    await _unblocked(stage, 61424)


async def _blocked(stage: Stage, work: int, severity: str, detail: str) -> None:
    escalation = [{"contact_id": _FIRST, "role": "escalation_1"}, {"contact_id": _SECOND, "role": "escalation_2"}]
    await stage.push(
        f"a title is blocked ({severity}): {detail}", "work.blocked",
        work=work, block_id=f"B-{work}", cause="missing_approval", detail=detail, blocking="files_to_press",
        owner={"contact_id": _OWNER, "role": "owner"}, escalation=escalation, severity=severity,
        since=stage.now.isoformat(),
    )  # fmt: skip


async def _unblocked(stage: Stage, work: int) -> None:
    user = {"type": "user", "id": str(_SECOND)}
    await stage.push("it is unblocked", "work.unblocked", work=work, block_id=f"B-{work}", resolved_by=user)


STORY = Story(
    title="Two blocked titles: one is taken up, one never mentioned",
    about=("Winter Ferries", "Small Hours"),
    roles={_OWNER: "owner", _FIRST: "first escalation contact", _SECOND: "second escalation contact"},
    play=play,
)
