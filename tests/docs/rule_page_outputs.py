"""Outputs of commands and chats that the pages of docs/rules show beside rule files, made anew.

``$ stet …`` in a block of kind ``console`` is run in a folder that has the page's files beside the shipped people and
texts; ``<!-- chat with 812 in story 1 -->`` is followed by what that person sees in the first story of the page.
``make rule-pages`` writes both into the pages; a test compares them.
"""

import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import cache
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

from services.rules.conversation.context import Decision, RequestedMessage
from services.rules.matching.conditions import FieldValues
from services.rules.matching.matcher import Matcher
from services.rules.rulebook.model import Condition, Rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import Reply, ReplyStep, Story
from shared.contracts.ids import ContactId
from shared.contracts.messages import Button, SendMessage
from tests.docs.pages import ROOT
from tests.docs.rule_snippets import PAGES, files_of, snippets
from tests.ops.stet_command import run_stet

_COMMAND = re.compile(r"(?<=^```console\n)\$ (?P<command>stet [^\n]*)\n.*?(?=^```$)", re.DOTALL | re.MULTILINE)
_CHAT = re.compile(
    r"^(?P<mark><!-- chat with (?P<person>\d+) in story (?P<story>\d+) -->\n)(?:>[^\n]*\n)*", re.MULTILINE
)


@cache
def shared_files() -> dict[str, str]:
    """The files that every folder has: its people, calendar, limits and house, and the texts of the house."""
    return {name: text for name, text in read_folder(ROOT / "rules").items() if "/" not in name or "house/" in name}


def remade(page: Path) -> str:
    """The text of the page, with every output and chat as it is now."""
    text = page.read_text("utf-8")
    files = shared_files() | files_of(snippets(page))
    text = _COMMAND.sub(lambda found: f"$ {found['command']}\n{_output(found['command'], files)}", text)
    return _CHAT.sub(
        lambda found: found["mark"] + _chat(page, int(found["story"]), ContactId(int(found["person"]))), text
    )


# ------------------------------------------------------------------ the output of a command


def _output(command: str, files: Mapping[str, str]) -> str:
    """Standard output; the other stream shows progress where the machine is slow. The folder is named ``rules``."""
    printed = StringIO()
    with tempfile.TemporaryDirectory() as place:
        for name, text in files.items():
            path = Path(place) / "rules" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        with chdir(place), redirect_stdout(printed), redirect_stderr(StringIO()):
            run_stet(*shlex.split(command)[1:])
    return printed.getvalue().rstrip("\n") + "\n"


# ------------------------------------------------------------------ a chat


@dataclass(slots=True)
class _Chat:
    """An observer of a story that writes down what one person gets and answers, each with its time."""

    contact: ContactId
    zone: tzinfo = UTC
    lines: list[tuple[datetime, str]] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)
    player: StoryPlayer | None = None

    def matcher(self, matcher: Matcher) -> Matcher:
        return matcher

    def observe_condition(self, condition: Condition, values: FieldValues) -> None:
        """A chat shows no conditions."""

    def observe_decision(self, decision: Decision) -> None:
        if self.player is not None:
            for effect in decision.effects:
                if isinstance(effect, RequestedMessage):
                    self._add_message(self.player, effect.send)

    def add_reply(self, player: StoryPlayer, reply: Reply) -> None:
        if reply.button:
            titles = (each.title for each in reversed(self.buttons) if each.button_id.split(".")[2] == reply.button)
            answer = f"taps `{next(titles, reply.button)}`"
        else:
            answer = f"writes: {reply.text}" if reply.text else f"sends {reply.document or reply.reaction}"
        self.lines.append((player.simulation.now, f"*{self._name(player)}* {answer}"))

    def _add_message(self, player: StoryPlayer, sent: SendMessage) -> None:
        if sent.person_id == player.people.people[self.contact].person_id:
            self.buttons += sent.buttons
            titles = "".join(f" `{button.title}`" for button in sent.buttons)
            self.lines.append((player.simulation.now, " ".join(sent.body.split()) + titles))

    def _name(self, player: StoryPlayer) -> str:
        return player.people.people[self.contact].display_name

    def written(self) -> Iterator[str]:
        """The day stands above its lines, in the time zone of the person."""
        day = None
        for at, text in self.lines:
            local = at.astimezone(self.zone)
            if local.date() != day:
                day = local.date()
                yield f"**{local:%A}, {local.day} {local:%B %Y}**"
            yield f"{local:%H:%M} · {text}"


@cache
def _stories(page: Path) -> tuple[Rulebook, tuple[Story, ...]]:
    """In the order of the page."""
    own = files_of(snippets(page))
    checked, order = check_files(shared_files() | own), list(own)
    stories = [each for each in checked.stories if each.location.file in own]
    return checked.rulebook, tuple(sorted(stories, key=lambda each: order.index(each.location.file)))


def _chat(page: Path, number: int, contact: ContactId) -> str:
    """A quotation: the person's chat in the story of that number on the page."""
    rulebook, stories = _stories(page)
    story = stories[number - 1]
    chat = _Chat(contact)
    player = chat.player = StoryPlayer.of(story, rulebook, chat, has_second_engine=False)
    chat.zone = ZoneInfo(player.people.people[contact].zone or "UTC")
    for step in story.steps:
        if isinstance(step, ReplyStep) and step.reply.sender == contact:
            chat.add_reply(player, step.reply)
        player.play(step)
    return "".join(f"> {line}\n>\n" for line in chat.written()).removesuffix(">\n")


if __name__ == "__main__":
    for page_with_rules in PAGES:
        page_with_rules.write_text(remade(page_with_rules), "utf-8")
