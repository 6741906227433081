"""A critical block on a Friday afternoon goes from person to person until one takes it; one at night just passes."""

from dev.demo.story import DemoStory, london
from dev.demo.story_run import StoryRun

_OWNER, _FIRST, _SECOND = 71, 12, 11
_TAKE = ("Take it", "Not me")
_STUCK = "“Winter Ferries” cannot move and nobody has taken it yet"


async def play(run: StoryRun) -> None:
    await run.wait_until(london(4, 14, 23))
    await _at_night(run)
    await run.wait_until(london(4, 16, 16))
    await _on_a_friday(run)


async def _at_night(run: StoryRun) -> None:
    await _blocked(run, 61425, "info", "the foreword’s proofs came back without a mark")
    run.expect_no_message()
    await run.wait_until(london(4, 15, 6, 30))
    await _unblocked(run, 61425)
    await run.wait_until(london(4, 15, 12))
    run.expect_no_message()


async def _on_a_friday(run: StoryRun) -> None:
    """Four working hours from Friday at four are Monday at eleven."""
    people = run.people
    await _blocked(run, 61424, "critical", "the printer has no signed-off cover")
    run.expect_message(
        people[_OWNER], "“Winter Ferries” cannot move: the printer has no signed-off cover", buttons=_TAKE
    )
    await run.wait_until(london(4, 19, 10, 59))
    run.expect_no_message()
    await run.wait_until(london(4, 19, 11, 20))
    run.expect_message(people[_FIRST], _STUCK, buttons=_TAKE, at=london(4, 19, 11))
    run.expect_no_message()
    await run.tap(people[_FIRST], "Not me")
    run.expect_message(people[_FIRST], "Your answer is noted")
    run.expect_message(people[_SECOND], _STUCK, buttons=_TAKE)
    await run.wait_until(london(4, 19, 11, 45))
    await run.tap(people[_SECOND], "Take it")
    run.expect_message(people[_SECOND], "You have taken Winter Ferries", buttons=("Done", "Give it back"))
    run.expect_no_message()
    await run.wait_until(london(4, 19, 15))
    await _unblocked(run, 61424)


async def _blocked(run: StoryRun, work: int, severity: str, detail: str) -> None:
    escalation = [{"contact_id": _FIRST, "role": "escalation_1"}, {"contact_id": _SECOND, "role": "escalation_2"}]
    await run.push(
        f"a title is blocked ({severity}): {detail}", "work.blocked",
        work=work, block_id=f"B-{work}", cause="missing_approval", detail=detail, blocking="files_to_press",
        owner={"contact_id": _OWNER, "role": "owner"}, escalation=escalation, severity=severity,
        since=run.now.isoformat(),
    )  # fmt: skip


async def _unblocked(run: StoryRun, work: int) -> None:
    user = {"type": "user", "id": str(_SECOND)}
    await run.push("it is unblocked", "work.unblocked", work=work, block_id=f"B-{work}", resolved_by=user)


STORY = DemoStory(
    title="Two blocked titles: one is taken up, one never mentioned",
    about=("Winter Ferries", "Small Hours"),
    roles={_OWNER: "owner", _FIRST: "first escalation contact", _SECOND: "second escalation contact"},
    play=play,
)
