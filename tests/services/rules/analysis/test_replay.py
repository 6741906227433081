"""Recorded decisions are made again, byte for byte; and what is recorded holds nothing personal."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from services.rules.analysis.bundle import Bundle, BundleHead, UnreadableBundle, read_bundle
from services.rules.analysis.pseudonyms import Pseudonyms
from services.rules.analysis.recorded_stories import RecordedStories, record_stories, sort_events
from services.rules.analysis.replay import replay_bundle
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.story_file import read_stories
from services.rules.scenario.story_world import TENANT
from shared.contracts.ids import ContactId, person_id_of_contact
from shared.contracts.values import encode
from tests.services.rules.rules_service import golden_event
from tests.services.rules.stories import FOLDER

START = datetime(2027, 3, 3, 10, tzinfo=UTC)
STORED = Path(__file__).parent / "decisions.jsonl.gz"
"""The decisions of the shipped stories, as they were on the day of recording.

Where a change is meant, ``stet rules bundle --stories rules -o FILE`` records them anew. Chains may get new fields.
"""


def _recorded(rule: str) -> RecordedStories:
    files = read_folder(FOLDER)
    stories = [story for story in read_stories(files)[0] if story.rule == rule]
    return record_stories(files, stories)


def test_the_stored_decisions_come_out_as_they_were_recorded() -> None:
    replayed = list(replay_bundle(read_bundle(STORED)))
    differing = {each.about: each.differences()[:3] for each in replayed if not (each.same or each.only_adds)}
    assert not differing
    assert len(replayed) > 250


def test_the_stored_decisions_are_of_all_eight_jobs() -> None:
    chains = b"".join(read_bundle(STORED).facts.values()).decode()
    for rule in (
        "stage-change", "rights-approval", "deadline-reminders", "pitch-intake", "metadata-confirmation",
        "launch-ready", "royalty-statement", "blocked-title",
    ):  # fmt: skip
        assert f'"rule":"{rule}"' in chains


def test_every_decision_of_a_story_can_be_made_again_from_its_bundle(tmp_path: Path) -> None:
    recorded = _recorded("deadline-reminders")
    recorded.bundle.write(tmp_path / "bundle")
    replayed = list(replay_bundle(read_bundle(tmp_path / "bundle")))
    assert not recorded.refused
    assert replayed
    assert all(each.same for each in replayed)


def test_a_changed_fact_changes_the_outcome() -> None:
    bundle = _recorded("deadline-reminders").bundle
    for digest, raw in bundle.facts.items():
        bundle.facts[digest] = raw.replace(b'"country":"GB"', b'"country":"US"').replace(b"Person ", b"Somebody ")
    differing = [each for each in replay_bundle(bundle) if not each.same]
    assert differing
    assert differing[0].differences()
    assert not differing[0].only_adds


def test_a_bundle_holds_no_name_text_number_or_id_of_whatsapp(tmp_path: Path) -> None:
    recorded = _recorded("pitch-intake")
    recorded.bundle.write(tmp_path / "bundle")
    text = gzip.decompress((tmp_path / "bundle").read_bytes()).decode()
    facts = "\n".join(line for line in text.splitlines() if '"kind":"file"' not in line)
    for personal in ("Maud Ferrier", "Yann Kerdreux", "I have a book", "tide-millers", "wamid.in.", "wamid.out."):
        assert personal not in facts


def test_the_names_of_users_and_contributors_are_replaced_too() -> None:
    names = Pseudonyms(b"key", TENANT, ())
    user = {"type": "user", "id": "40", "name": "Rosalind Achebe"}
    event = {"requested_by": user, "name": "First layouts", "work": {"contributors_display": "Margaret Fairweather"}}
    replaced = names.replace(orjson.dumps(event)).decode()
    assert "Rosalind" not in replaced
    assert "Fairweather" not in replaced
    assert "First layouts" in replaced


def test_events_of_one_instant_keep_the_order_in_which_they_were_decided() -> None:
    golden_kinds = ("consonance.work.stage_changed.v1", "consonance.rights.approval_requested.v1")
    first, second = (golden_event(kind).replace(recordedtime=START) for kind in golden_kinds)
    for events in ([first, second], [second, first]):
        bundle = Bundle(BundleHead(tenant=TENANT, written_at=START), events=events)
        sort_events(bundle, (), Pseudonyms(b"key", TENANT, ()), [first.id, second.id])
        assert [event.id for event in bundle.events] == [first.id, second.id]


def test_an_event_that_is_on_its_topic_twice_is_in_the_bundle_once() -> None:
    event = golden_event("consonance.work.stage_changed.v1").replace(recordedtime=START)
    again = event.replace(recordedtime=START + timedelta(seconds=1))
    bundle = Bundle(BundleHead(tenant=TENANT, written_at=START), events=[event, again])
    sort_events(bundle, (), Pseudonyms(b"key", TENANT, ()), [])
    assert [one.recordedtime for one in bundle.events] == [START]


def test_a_file_that_is_no_bundle_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(gzip.compress(b'{"kind": "bundle", "format": 99}\n'))
    with pytest.raises(UnreadableBundle, match="line 1"):
        read_bundle(path)


ABSENCE = """\
- it: an editor goes on leave and comes back
  start: 2027-03-03T10:00:00Z
  people:
    820: {roles: [rights_holder], country: GB, language: en}
    40: {name: Rosa Achebe, roles: [rights_manager], country: GB}
    41: {name: Jane Dunn, roles: [rights_manager], country: GB}
  play:
    - reply: {from: 40, text: 'Away till Monday, Jane covers'}
    - reply: {from: 40, text: 'I am away'}
    - reply: {from: 40, text: 'Away till Monday, Gwendolen covers'}
    - reply: {from: 40, text: I am back}
"""


def test_an_absence_announced_by_staff_is_recorded_without_names_and_replayed() -> None:
    files = read_folder(FOLDER)
    stories, faults = read_stories({"rights-approval.test.yaml": ABSENCE})
    assert not faults
    recorded = record_stories(files, stories)
    assert not recorded.refused
    assert all(each.same for each in replay_bundle(recorded.bundle))
    facts = b"\n".join([*recorded.bundle.facts.values(), *(encode(one) for one in recorded.bundle.decisions)]).decode()
    for personal in ("Jane", "Gwendolen", "Rosa"):
        assert personal not in facts
    said = [
        text for one in recorded.bundle.decisions if (text := orjson.loads(bytes(one.inputs.event))["data"].get("text"))
    ]
    assert said[0].startswith("away from 2027-03-03 to 2027-03-08, Person ")
    assert said[1:] == ["I am away", "away today, a colleague covers", "I am back"]


def test_words_keep_their_writer_in_a_bundle_as_everywhere_else() -> None:
    writer = person_id_of_contact(TENANT, ContactId(812))
    words = {"who": "Ada Cole", "said": "Ask my agent", "person_id": writer}
    given = orjson.dumps({"given": {"person_id": writer}, "outgoing": {"person_id": writer, "words": words}})
    found = orjson.loads(Pseudonyms(b"key", TENANT, ()).replace(given))
    assert found["outgoing"]["words"]["person_id"] == found["given"]["person_id"] != writer
    assert not {"Ada Cole", "Ask my agent"} & set(found["outgoing"]["words"].values())
