"""``stet rules explain``, ``why-not``, ``bundle`` and ``diff`` on what the services decided on a real stack.

A permission is asked of an agent and given, another one waits, a designer has written STOP, and one stage starts no
rule. Then the commands are run as an operator runs them, in the middle of what is going on.
"""

import asyncio
import contextlib
import gzip
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dev.demo.runner import POLLED_ON_REQUEST, play_stories
from dev.demo.story import STARTS_AT, DemoStory, london
from dev.demo.story_run import StoryRun
from dev.layout import ROOT
from dev.stack import Stack
from ops.command_line import ExitCode
from tests.ops.stet_command import run_stet

pytestmark = [pytest.mark.flow, pytest.mark.timeout(120)]

_AUTHOR, _HOLDER, _WAITS, _AGENT, _DESIGNER, _COORDINATOR, _MANAGER = 801, 812, 814, 900, 831, 22, 40
_STAGED, _NOT_STAGED, _DATED = "61417", "61420", "milestone_id=M-2027-26"
_GIVEN, _OPEN = "request_id=R-2027-18", "request_id=R-2027-20"
_WORDS = ("Le héron cendré est revenu", "My grandmother’s heron must stay")


@dataclass(frozen=True)
class CommandOutput:
    """The output of a command. ``code`` is its exit code."""

    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Commands:
    """The commands with what they printed, by a name; a folder of their own for files."""

    folder: Path
    said: dict[str, CommandOutput] = field(default_factory=dict)
    personal: set[str] = field(default_factory=set)

    @property
    def bundle(self) -> Path:
        return self.folder / "two-weeks.bundle.gz"

    async def run(self, run: StoryRun, name: str, *arguments: str) -> CommandOutput:
        assert isinstance(run.context.stack, Stack)
        settings = run.context.stack.layout.settings(run.context.stack.neighbours)
        self.said[name] = await asyncio.to_thread(_run, arguments, settings)
        return self.said[name]


def _run(arguments: tuple[str, ...], settings: Mapping[str, str]) -> CommandOutput:
    out, err = io.StringIO(), io.StringIO()
    with _environment(settings), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_stet(*arguments)
    return CommandOutput(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings, COLUMNS="220")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ------------------------------------------------------------------ what happens, and what is asked


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return asyncio.run(_play(Commands(tmp_path_factory.mktemp("rules-history"))))


async def _play(commands: Commands) -> Commands:
    async def play(run: StoryRun) -> None:
        await _let_events_be_decided(run)
        await _ask(run, commands)
        for person in run.people.by_contact.values():
            commands.personal |= {person.name, str(person.phone)}

    async with Stack.open("flow-rules-history", STARTS_AT, POLLED_ON_REQUEST) as stack:
        result = await play_stories(stack, [DemoStory("What was decided is asked for", roles={}, play=play)])
    assert result.stories[0].fault is None
    return commands


async def _let_events_be_decided(run: StoryRun) -> None:
    people = run.people
    await run.wait_until(london(4, 12, 10, 5))
    await run.send_text(people[_DESIGNER], "Stop")
    await run.send_text(people[_DESIGNER], _WORDS[0])
    milestone = {
        "milestone_id": "M-2027-26", "work_id": 61426, "name": "First layouts", "milestone_key": "first_layouts",
        "due_on": "2027-04-20", "affected": [{"contact_id": _DESIGNER, "role": "designer"}],
    }  # fmt: skip
    await run.change("the first layouts are due on 20 April", "milestones", milestone)
    await run.edit("the proofs of The Salt Road are marked final", f"works/{_STAGED}", stage="Final proof approved")
    await run.edit("a manuscript is delivered", f"works/{_NOT_STAGED}", stage="Manuscript delivered")
    request = {"work_id": 61418, "respond_by": "2027-04-30"}
    await run.change(
        "asked of 812", "rights_requests", {**request, "request_id": "R-2027-18", "rights_holder": _HOLDER}
    )
    await run.wait_until(london(4, 12, 10, 20))
    await run.tap(people[_AGENT], "J’autorise")
    await run.wait_until(london(4, 12, 10, 30))
    await run.change("asked of 814", "rights_requests", {**request, "request_id": "R-2027-20", "rights_holder": _WAITS})
    await run.wait_until(london(4, 12, 10, 40))
    await run.send_text(people[_WAITS], _WORDS[1])
    await run.wait_until(london(4, 13, 9, 30))


async def _ask(run: StoryRun, commands: Commands) -> None:
    async def ask(name: str, *arguments: str) -> CommandOutput:
        return await commands.run(run, name, *arguments)

    for name, person, subject in (
        ("given", _HOLDER, _GIVEN), ("open", _WAITS, _OPEN), ("dated", _DESIGNER, _DATED), ("staged", _AUTHOR, _STAGED),
        ("silent", _AUTHOR, _NOT_STAGED),
    ):  # fmt: skip
        known = (await ask(f"why {name}", "why", str(person), subject, "--format", "json")).rows()[0]
        for chain in known["chains"]:
            await ask(f"explain the chain {name}", "rules", "explain", chain["chain_id"])
        for decision in known["decisions"]:
            await ask(f"explain the event {name}, {decision['event']}", "rules", "explain", decision["about"])
    life = await ask("as JSON", "rules", "explain", _chain_of(commands, "given"), "--format", "json")
    message = next(one["about"] for one in life.rows()[-1]["so_far"] if one["what"] == "message queued")
    await ask("explain a message", "rules", "explain", message)
    await ask("explain nothing", "rules", "explain", "no-such-id")
    await ask("explain a word", "rules", "explain", "rights")
    await ask("trace nothing", "trace", "no-such-id")
    await ask("explain a person", "rules", "explain", str(_AUTHOR))
    traced = (await ask("trace a message", "trace", message, "--format", "json")).rows()
    report = next(one["about"] for one in traced if one["what"] == "messages.message.delivered")
    await ask("explain a report", "rules", "explain", report)

    for name, *arguments in (
        ("left out", "deadline-reminders", _DESIGNER, _DATED), ("stood in for", "rights-approval", _HOLDER, _GIVEN),
        ("a condition", "stage-change", _AUTHOR, _NOT_STAGED), ("it did", "stage-change", _AUTHOR, _STAGED),
        ("another rule", "rights-approval", _AUTHOR, _STAGED),
        ("at that time", "stage-change", _AUTHOR, _STAGED, "2027-04-12T09:00"),
        ("at another time", "stage-change", _AUTHOR, _STAGED, "2027-03-01"),
        ("unknown rule", "stage-chnge", _AUTHOR, _STAGED), ("unknown person", "stage-change", 99999, _STAGED),
        ("no time", "stage-change", _AUTHOR, _STAGED, "last monday"),
    ):  # fmt: skip
        await ask(f"why not: {name}", "rules", "why-not", *map(str, arguments))

    changed = _change_rules(commands.folder / "rules")
    await ask("bundle", "rules", "bundle", "--last", "14d", "--out", str(commands.bundle))
    await ask("bundle nowhere", "rules", "bundle", "--out", str(commands.folder / "nowhere" / "x.gz"))
    await ask("bundle of no span", "rules", "bundle", "--last", "a fortnight", "--out", str(commands.bundle))
    await ask("diff the bundle", "rules", "diff", f"{ROOT / 'rules'}", str(changed), "--bundle", str(commands.bundle))
    await ask("diff the last", "rules", "diff", f"{ROOT / 'rules'}", str(changed), "--last", "14d")
    await ask("replay", "rules", "replay", str(commands.bundle))


def _chain_of(commands: Commands, name: str) -> str:
    found = commands.said[f"why {name}"].rows()[0]["chains"]
    return str(found[0]["chain_id"])


def _change_rules(folder: Path) -> Path:
    """The shipped rules with one question in other words, and without the rule about stages."""
    shutil.copytree(ROOT / "rules", folder)
    question = folder / "rights/rights_request.template.yaml"
    question.write_text(
        question.read_text("utf-8").replace("asks your permission", "would like your permission"), "utf-8"
    )
    shutil.rmtree(folder / "stages")
    return folder


def person(contact: int) -> str:
    """The words by which the commands name a person."""
    return f"contact {contact}"


# ------------------------------------------------------------------ explain


def test_an_event_is_explained_by_its_conditions_and_people(commands: Commands) -> None:
    out = commands.said["explain the event staged, work.stage_changed"].out
    assert out.startswith("work.stage_changed, 2027-04-12 09:05:00Z (")
    assert "  work.title: The Salt Road\n" in out
    assert "stage-change: a chain began (started)" in out
    assert "Rule stage-change: its conditions held\n  ✓ to_stage_key is one of [" in out
    assert "(to_stage_key: final_proof_approved)" in out
    assert f"{person(_AUTHOR)} was chosen for “stage_changed” at 2027-04-12 09:05Z: requested" in out
    assert "translator was left out of step 1: nobody has this role" in out


def test_an_event_from_which_nothing_followed_says_which_condition_did_not_hold(commands: Commands) -> None:
    out = commands.said["explain the event silent, work.stage_changed"].out
    assert "Nothing followed from it." in out
    assert (
        "Rule stage-change: work.stage_changed came at 2027-04-12 09:05Z, but the rule’s conditions did not hold:"
        in out
    )
    assert "it was to_stage_key: manuscript_delivered" in out


def test_a_chain_is_explained_from_its_event_over_the_tap_to_the_write(commands: Commands) -> None:
    out = commands.said["explain the chain given"].out
    places = [
        out.index(words)
        for words in (
            "rights.approval_requested, 2027-04-12 09:05:00Z (",
            f"{person(_AGENT)}, who stands in for {person(_HOLDER)}, was chosen for “rights_request”",
            "message.received, 2027-04-12 09:20:00Z (",
            "rights-approval, step 1: an answer came (answered)",
            "writes.write.verified, 2027-04-12 09:20:00Z (",
            f"{person(_MANAGER)} was chosen for “rights_approved”",
            "So far:",
            "chain of rights-approval started: by rights.approval_requested, about request_id=R-2027-18",
            f"answered approve: by {person(_AGENT)}",
            "chain ended: answered",
            "Nothing comes next by time alone.",
        )
    ]
    assert places == sorted(places)
    assert "would decide otherwise" not in out
    assert out.count("was chosen for “rights_request”") == 1, "each decision names those whom it has chosen"


def test_a_chain_under_way_says_what_comes_next_each_step_counted_from_the_one_before(commands: Commands) -> None:
    _, _, coming = commands.said["explain the chain open"].out.partition("What comes next:\n")
    remind, hand_over, give_up = coming.splitlines()
    assert "step 2 (remind unanswered with rights_reminder, rights/rights-approval.rule.yaml:" in remind
    assert "): 2027-04-14 09:30Z" in remind
    assert "): 2027-04-16 09:30Z" in hand_over
    assert "): 2027-04-30 17:00Z" in give_up


def test_explain_shows_which_people_a_decision_left_out_and_why(commands: Commands) -> None:
    out = commands.said["explain the chain dated"].out
    assert out.count(f"{person(_DESIGNER)} was left out of step 1: the person wrote STOP") == 1
    assert f"{person(_COORDINATOR)} was chosen for “deadline_near” at 2027-04-13 08:00Z" in out
    assert f"step 1 done: {person(_DESIGNER)} left out: opted_out" in out


def test_a_message_is_explained_by_the_decision_that_requested_it(commands: Commands) -> None:
    out = commands.said["explain a message"].out
    assert out.count("Decided at") == 1
    assert out.startswith("rights.approval_requested")
    assert "was chosen for “rights_request”" in out


def test_a_report_from_which_nothing_followed_says_its_reason(commands: Commands) -> None:
    out = commands.said["explain a report"].out
    assert out.startswith("messages.message.delivered, ")
    assert "Nothing followed from it: WhatsApp reported on a message (delivery).\n" in out


def test_a_time_line_says_of_which_message_a_report_is(commands: Commands) -> None:
    out = commands.said["explain the chain given"].out
    assert f" (rights_request to {person(_AGENT)}): its state now\n" in out


# ------------------------------------------------------------------ why not


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("left out", "They were left out of step 1: the person wrote STOP, and has not taken it back (opted_out).\n"),
        ("stood in for", f"Another person stands in for them: {person(_AGENT)}, who stands in for {person(_HOLDER)}"),
        ("a condition", "work.stage_changed came at 2027-04-12 09:05Z, but the rule’s conditions did not hold:\n"),
        ("it did", f"It did: {person(_AUTHOR)} was chosen for “stage_changed” at 2027-04-12 09:05Z"),
        ("at that time", f"It did: {person(_AUTHOR)} was chosen for “stage_changed”"),
        ("another rule", "The rule begins with rights.approval_requested; about 61417 came only work.stage_changed.\n"),
        (
            "at another time",
            "The rule begins with work.stage_changed; nothing came about 61417 from 2027-02-28 00:00Z to 2027-03-02",
        ),
    ],
)
def test_why_not_says_the_first_thing_that_was_so(commands: Commands, name: str, expected: str) -> None:
    said = commands.said[f"why not: {name}"]
    assert said.code == ExitCode.FINE
    assert said.out.startswith(expected)


# ------------------------------------------------------------------ bundle and diff


@pytest.mark.parametrize("name", ["diff the bundle", "diff the last"])
def test_a_removed_rule_shows_lost_messages_and_another_text_reworded_ones(commands: Commands, name: str) -> None:
    out = commands.said[name].out
    assert out.startswith("### 4 messages fewer, 1 in other words, for 5 people\n")
    assert "| stage-change | 4 | 0 | 4 |  | 4 |\n" in out
    assert "about “The Salt Road”: `stage_changed_staff`" in out
    assert "about “A Grammar of Tides”: `rights_request`" in out


def test_the_decisions_of_a_live_bundle_are_made_again_byte_for_byte(commands: Commands) -> None:
    bundled, replayed = commands.said["bundle"], commands.said["replay"]
    assert bundled.code == replayed.code == ExitCode.FINE
    assert "not in it" not in bundled.out


# ------------------------------------------------------------------ wrong arguments, and what is personal


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("explain a person", "it is a person: name an event, a chain or a message"),
        ("why not: unknown rule", "there is no rule “stage-chnge”; did you mean “stage-change”?"),
        ("why not: no time", "“last monday” is no time; write 2027-04-12, or 2027-04-12T10:30"),
        ("bundle of no span", "“a fortnight” is no span of time; write 14d, 36h or 2w"),
        ("bundle nowhere", "--out: there is no folder "),
    ],
)
def test_a_wrong_argument_is_named_and_ends_with_two(commands: Commands, name: str, sentence: str) -> None:
    said = commands.said[name]
    assert said.code == ExitCode.CANNOT_RUN
    assert sentence in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("explain nothing", "no decision about no-such-id is kept; stet trace no-such-id says what else is known"),
        ("explain a word", "no decision about rights is kept"),
        ("trace nothing", "no table knows a person, chain, message, write or event no-such-id"),
        ("why not: unknown person", "no table knows a person or a contact 99999"),
    ],
)
def test_an_id_that_is_not_known_ends_with_one(commands: Commands, name: str, sentence: str) -> None:
    said = commands.said[name]
    assert said.code == ExitCode.FINDINGS
    assert sentence in said.err
    assert said.out == ""


def test_no_name_number_or_text_of_a_person_is_printed_or_kept(commands: Commands) -> None:
    kept = gzip.decompress(commands.bundle.read_bytes()).decode()
    personal = commands.personal.union(_WORDS)
    assert len(personal) > len(_WORDS)
    assert sorted(word for word in personal if word in kept) == []
    printed = {name: said.out + said.err for name, said in commands.said.items()}
    assert [name for name, text in printed.items() if any(word in text for word in personal)] == []
