"""The way of a tap that docs/architecture.md describes is the way that a tap takes through the code."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import orjson

from services.ingest.identity import identify
from services.ingest.person_directory import PersonDirectory
from services.ingest.records import WebhookContext
from services.ingest.webhook_parser import parse_webhook
from services.rules.scenario.folder_check import check_folder
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import ReplyStep
from shared.contracts.ids import Line, PersonId, TenantId
from shared.runtime.credentials import Pseudonymizer
from tests.docs.pages import ROOT

_SECTION = re.compile(r"^## One tap becomes a write.*?(?=^## )", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`(services/[\w/]+\.py)`")
_AT = datetime(2026, 11, 24, 9, tzinfo=UTC)


def named_files() -> set[str]:
    found = _SECTION.search((ROOT / "docs/architecture.md").read_text("utf-8"))
    return set(_FILE.findall(found[0] if found else ""))


def files_of(call: Callable[[], object]) -> set[str]:
    """The files of services whose functions run during a call, but for those that play stories."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    paths = {Path(name).relative_to(ROOT).as_posix() for name in found if name.startswith(f"{ROOT}/services/")}
    return {path for path in paths if not path.startswith("services/rules/scenario/")}


def test_every_file_that_a_tap_reaches_in_ingest_is_named() -> None:
    context = WebhookContext(
        TenantId("penrose"), _AT, {"15550001": Line("main")}, None, pseudonyms=Pseudonymizer(b"k" * 32)
    )
    tap = {
        "from": "447700900123", "id": "wamid.in.1", "timestamp": str(int(_AT.timestamp())), "type": "interactive",
        "context": {"id": "wamid.out.1"},
        "interactive": {"type": "button_reply", "button_reply": {"id": "m1.approve.s", "title": "Approve"}},
    }  # fmt: skip
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550001", "phone_number_id": "15550001"},
        "contacts": [{"profile": {"name": "Ada"}, "wa_id": "447700900123"}],
        "messages": [tap],
    }
    body = orjson.dumps(
        {
            "object": "whatsapp_business_account",
            "entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}],
        }
    )

    def receive() -> None:
        parsed = parse_webhook(body, context)
        (update,) = parsed.person_updates
        identify(PersonDirectory(), update.identity, PersonId("v1"), context.now)

    found = files_of(receive)

    assert {"services/ingest/message_content.py", "services/ingest/identity.py"} <= found
    assert found <= named_files()


def test_every_file_that_a_tap_reaches_in_rules_is_named() -> None:
    checked = check_folder(ROOT / "rules")
    story = next(story for story in checked.stories if story.rule == "rights-approval")
    player = StoryPlayer.of(story, checked.rulebook, None)
    place = next(place for place, step in enumerate(story.steps) if isinstance(step, ReplyStep))
    for step in story.steps[:place]:
        player.play(step)

    found = files_of(lambda: player.play(story.steps[place]))

    assert "services/rules/conversation/replies.py" in found
    assert found <= named_files()
