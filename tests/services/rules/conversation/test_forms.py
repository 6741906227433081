"""Every answer to a form reaches the record, or is refused with a text that says what is accepted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from services.rules.conversation.chain import FormPhase, FormState
from services.rules.conversation.context import Decision, RequestedMessage
from services.rules.conversation.fact_values import FileReport
from services.rules.conversation.form_answers import CONTENT_TYPES, Refusal, file_refusal
from services.rules.conversation.forms import abandon_form
from services.rules.matching.conditions import FieldValues
from services.rules.matching.matcher import Matcher
from services.rules.rulebook.model import NOWHERE, Condition, Form, FormField
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import Simulation, play_story, run_story
from shared.contracts.ids import PersonId
from shared.contracts.whatsapp import Media, MediaRefusal
from shared.contracts.writes import WriteOperation
from tests.services.rules.conversation.test_question_lookup import chain
from tests.services.rules.rules_service import NOW
from tests.services.rules.stories import FOLDER, HEAD

RULE = """\
rule: offer
owner: acquisitions
why: {en: You wrote to us.}
on: message.received
if: {line: main, answers_a_question: false, kind: [text, media]}
about: sender.person_id
on_repeat: ignore
steps:
  - collect: sender
    form: offer
  - after: 7 days
    give_up: left unfinished
"""
FORM = """\
form: offer
welcome: pitch_unfinished
fields:
  title: {max: 20, required: true}
  pitch: {default: {field: text}, max: 40, required: true}
  manuscript: {document: [pdf, docx], max_mb: 20, required: true}
  isbn: {max: 13}
confirm: offer_summary
record: acquisition.create
done: noted
languages:
  en: {title: What title?, pitch: What is it about?, manuscript: Send it., isbn: Which ISBN?}
"""
SUMMARY = """\
template: offer_summary
category: utility
version: 1
languages:
  en:
    body: We have {title}, {pitch}, {manuscript}, {isbn}. Is that right?
    buttons: {send: Send, change: Change, cancel: Cancel}
"""
RECORDED = '{title: Sea Glass, isbn: "9781784420017", pitch_text: Tides, attachments.filename: [a.pdf]}'
WELCOME = "{collect: 5001, say: pitch_unfinished}"
FIRST = [
    "reply: {from: 5001, line: main, text: Tides}",
    f"expect: [{WELCOME}, {{collect: 5001, say: offer.title}}]",
    "reply: {from: 5001, text: Sea Glass}",
    "expect: [{collect: 5001, say: offer.manuscript}]",
]
TO_ISBN = [*FIRST, "reply: {from: 5001, document: a.pdf}", "expect: [{collect: 5001, say: offer.isbn}]"]


@dataclass
class LanguageObserver:
    """The (text's name, language) of each message that is requested."""

    found: list[tuple[str, str]] = field(default_factory=list)

    def matcher(self, matcher: Matcher) -> Matcher:
        return matcher

    def observe_condition(self, condition: Condition, values: FieldValues) -> None:
        """Only messages are of interest."""

    def observe_decision(self, decision: Decision) -> None:
        sends = (effect.send for effect in decision.effects if isinstance(effect, RequestedMessage))
        self.found.extend((send.say, send.language) for send in sends)


def told(
    *moves: str,
    country: str | None = "GB",
    longest: int = 20,
    form: str | None = None,
    summary: str = SUMMARY,
    rule: str = RULE,
    also: Mapping[str, str] | None = None,
    observer: LanguageObserver | None = None,
) -> list[str]:
    files = {
        name: text for name, text in read_folder(FOLDER).items() if not name.endswith((".rule.yaml", ".test.yaml"))
    }
    files |= {
        **(also or {}),
        "offer.rule.yaml": rule,
        "offer.form.yaml": (form or FORM).replace("20, required", f"{longest}, required", 1),
        "offer_summary.template.yaml": summary,
    }
    lines = "\n".join(f"    - {move}" for move in moves)
    lives = f", country: {country}" if country else ""
    people = f"    5001: {{visitor: true, name: Maud{lives}}}"
    files["offer.test.yaml"] = HEAD.format(people=people, play=lines)
    proof = check_files(files)
    assert [str(fault) for fault in proof.faults] == []
    results = (run_story(story, proof.rulebook, observer) for story in proof.stories)
    return [fault.sentence for result in results for fault in result.faults]


def test_a_field_of_one_form_reaches_the_record_by_its_name() -> None:
    moves = [
        *TO_ISBN,
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, button: send}",
        f"expect: [{{record: acquisition.create, with: {RECORDED}}}, {{collect: 5001, say: noted}}]",
    ]
    assert told(*moves) == []


REFUSED = [
    (TO_ISBN, "text: " + "9" * 14, "offer.isbn", "14 characters long, and we can take 13"),
    (TO_ISBN, "document: late.exe", "offer.isbn", "These kinds will do: PDF, DOCX"),
    (FIRST, "document: novel", "offer.manuscript", "These kinds will do: PDF, DOCX"),
    (FIRST, "document: novel.exe", "offer.manuscript", "These kinds will do: PDF, DOCX"),
    (FIRST, "document: voice.ogg, mime: audio/ogg", "offer.manuscript", "These kinds will do: PDF, DOCX"),
    (FIRST, "document: novel.pdf, mb: 21", "offer.manuscript", "we can take 20 MB"),
    (FIRST, "text: later", "offer.manuscript", "These kinds will do: PDF, DOCX"),
]


@pytest.mark.parametrize(("before", "answer", "asked", "sentence"), REFUSED)
def test_a_refused_answer_is_asked_for_again_with_what_is_accepted(
    before: list[str], answer: str, asked: str, sentence: str
) -> None:
    again = [f"reply: {{from: 5001, {answer}}}", f"expect: [{{collect: 5001, say: {asked}, text: '{sentence}'}}]"]
    assert told(*before, *again, *again) == []


def test_a_file_that_is_refused_while_a_person_says_what_to_change_is_refused_with_the_reason() -> None:
    moves = [
        *TO_ISBN,
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, button: change}",
        "expect: [{collect: 5001, say: form_change}]",
        "reply: {from: 5001, document: novel.exe}",
        "expect: [{collect: 5001, text: 'These kinds will do: PDF, DOCX'}, {collect: 5001, say: offer_summary}]",
    ]
    assert told(*moves) == []


MACHINE = "looks like one that a machine sends"
AWAY = "I am on holiday until 20 March"
OPENING = "A quiet story of tides and salt"


@pytest.mark.parametrize(
    ("opening", "text"),
    [
        ("Tides", "Your login code is 4821"),
        ("Tides", "482913"),
        ("Tides", "G-482913 is your Google code"),
        ("Tides", AWAY),
        ("Tides", "Thank you for contacting Frey! How can we help?"),
        ("Tides", "Wir sind derzeit nicht verfügbar und melden uns"),
        (OPENING, OPENING),
    ],
    ids=["sentence", "alone", "named", "absence", "greeting", "unavailable", "repeated"],
)
def test_a_machine_s_text_fills_nothing_until_the_person_says_that_it_is_the_answer(opening: str, text: str) -> None:
    """A form whose title may be long, since a machine's sentence has more than twenty characters."""
    moves = [
        f"reply: {{from: 5001, line: main, text: {opening}}}",
        f"expect: [{WELCOME}, {{collect: 5001, say: offer.title}}]",
        f"reply: {{from: 5001, text: {text}}}",
        f"expect: [{{collect: 5001, say: offer.title, text: {MACHINE}}}]",
        f"reply: {{from: 5001, text: '“{text}”'}}",
        "expect: [{collect: 5001, say: offer.manuscript}]",
        "reply: {from: 5001, document: a.pdf}",
        "expect: [{collect: 5001, say: offer.isbn}]",
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, button: send}",
        f"expect: [{{record: acquisition.create, with: {{title: '{text}'}}}}, {{collect: 5001, say: noted}}]",
    ]
    assert told(*moves, longest=60) == []


@pytest.mark.parametrize(
    "title", ["1984", "2666", "SE7EN", "Code 46", "Out of Office", "10 000 Leagues", "“Sea Glass”"]
)
def test_a_title_that_is_a_number_or_speaks_of_codes_is_taken(title: str) -> None:
    assert told(*FIRST[:2], f"reply: {{from: 5001, text: '{title}'}}", FIRST[3]) == []


def test_a_login_code_that_begins_a_form_fills_no_field_by_its_default() -> None:
    first = [f"reply: {{from: 5001, line: main, text: {text}}}" for text in ("Your code is 482913",)]
    asked = ["expect: [{collect: 5001, say: offer.pitch}]"]
    assert told(*first, FIRST[1], FIRST[2], *asked) == []


TAKEN = [
    "document: novel.pdf",
    "document: NOVEL.PDF, mime: application/octet-stream",
    "document: novel, mime: application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "document: novel, mime: Application/PDF; version=1",
    "document: novel.pdf, mb: 20",
]


@pytest.mark.parametrize("answer", TAKEN)
def test_a_document_is_taken_by_its_name_or_its_content_type(answer: str) -> None:
    assert told(*FIRST, f"reply: {{from: 5001, {answer}}}", "expect: [{collect: 5001, say: offer.isbn}]") == []


def test_a_first_message_too_long_for_its_field_is_asked_for_with_the_reason() -> None:
    long = "expect: [{collect: 5001, say: offer.pitch, text: 50 characters long}]"
    moves = [
        f"reply: {{from: 5001, line: main, text: {'x' * 50}}}",
        f"expect: [{WELCOME}, {{collect: 5001, say: offer.title}}]",
        "reply: {from: 5001, text: Sea Glass}",
        long,
    ]
    assert told(*moves) == []


def test_a_file_that_comes_first_and_does_not_fit_is_refused_at_once() -> None:
    moves = [
        "reply: {from: 5001, line: main, document: song.mp3}",
        f"expect: [{WELCOME}, {{collect: 5001, say: offer.title, text: 'These kinds will do: PDF, DOCX'}}]",
    ]
    assert told(*moves) == []


def test_a_file_sent_at_the_summary_that_does_not_fit_is_refused_beside_it() -> None:
    moves = [
        *TO_ISBN,
        "reply: {from: 5001, text: none}",
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, document: song.mp3}",
        "expect: [{collect: 5001, text: 'These kinds will do'}, {collect: 5001, say: offer_summary}]",
    ]
    assert told(*moves) == []


def test_a_tap_on_the_summary_before_the_newest_counts_where_both_show_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The person writes a word more and taps Send before the repeated summary has come."""

    def oldest_message(
        story: Simulation, _: PersonId, __: object = None, template: object = None, *___: object
    ) -> object:
        return next(m for chain in story.facts.chains.values() for m in chain.messages if m.say == template)

    monkeypatch.setattr(Simulation, "newest_message", oldest_message)
    moves = [
        *TO_ISBN,
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, text: One more thing}",
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, button: send, to: offer_summary}",
        f"expect: [{{record: acquisition.create, with: {RECORDED}}}, {{collect: 5001, say: noted}}]",
    ]
    assert told(*moves) == []


def test_a_refusal_is_in_the_person_s_language() -> None:
    moves = [*FIRST, "reply: {from: 5001, document: a.mp3}", "expect: [{collect: 5001, text: Ces formats conviennent}]"]
    assert told(*moves, country="FR") == []


def test_a_message_names_the_language_in_which_it_goes_and_not_that_of_its_person() -> None:
    """The house has its templates in French and this form in English alone."""
    observer = LanguageObserver()
    options = "{ask: " + "Is it under contract elsewhere? " * 31 + ", signed: Yes, free: No}"
    form = FORM.replace("isbn: {max: 13}", "isbn: {choose: [signed, free]}").replace("Which ISBN?", options)
    moves = [*TO_ISBN, "reply: {from: 5001, document: song.mp3}", "reply: {from: 5001, button: free}"]
    assert told(*moves, country="FR", form=form, observer=observer) == []
    assert observer.found == [
        ("pitch_unfinished", "fr"),
        ("offer.title", "en"),
        ("offer.manuscript", "en"),
        ("offer.isbn", "en"),
        ("offer.isbn", "fr"),  # the refusal of the song, by itself
        ("offer.isbn", "en"),
        ("offer_summary", "en"),
    ]


def test_a_refusal_goes_by_itself_where_one_message_has_no_room_for_it_and_the_question() -> None:
    options = "{ask: " + "Is it under contract elsewhere? " * 31 + ", signed: Yes, free: No}"
    form = FORM.replace("isbn: {max: 13}", "isbn: {choose: [signed, free]}").replace("Which ISBN?", options)
    moves = [
        *TO_ISBN,
        "reply: {from: 5001, document: song.mp3}",
        "expect: [{collect: 5001, say: offer.isbn, text: 'These kinds will do'}, {collect: 5001, say: offer.isbn}]",
        "reply: {from: 5001, button: free}",
        "expect: [{collect: 5001, say: offer_summary}]",
    ]
    assert told(*moves, form=form) == []


def test_long_questions_are_shortened_where_all_are_listed_for_a_change() -> None:
    form = FORM.replace("Which ISBN?", "Which ISBN? " * 60).replace("What title?", "What title? " * 80)
    moves = [
        *TO_ISBN,
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, button: change}",
        "expect: [{collect: 5001, say: form_change, text: '4. Which ISBN?'}]",
    ]
    assert told(*moves, form=form) == []


@pytest.mark.parametrize("kind", sorted(CONTENT_TYPES))
def test_every_known_kind_is_known_by_name_and_by_each_content_type(kind: str) -> None:
    form = Form(
        "f", "w", (FormField("file", document=(kind,)),), "c", WriteOperation.CREATE_ACQUISITION, "d", {}, NOWHERE
    )
    named = [Media(media_id="1", filename=f"a.{kind}"), Media(media_id="1", filename=f" A.{kind.upper()} ")]
    typed = [Media(media_id="1", mime=mime) for mime in CONTENT_TYPES[kind]]
    assert [file_refusal(form, each) for each in (*named, *typed)] == [None] * (2 + len(typed))
    assert file_refusal(form, Media(media_id="1", filename=kind, mime="application/x-msdownload")) is not None


AT = datetime(2027, 3, 3, 10, tzinfo=UTC)
REPORTED = [
    (MediaRefusal.TOO_LARGE, None, "form_large_file"),
    (MediaRefusal.WRONG_TYPE, None, "form_wrong_file"),
    (MediaRefusal.INFECTED, None, "form_unsafe_file"),
    (MediaRefusal.HASH_MISMATCH, None, "form_broken_file"),
    (MediaRefusal.EMPTY, None, "form_broken_file"),
    (MediaRefusal.EXPIRED, None, "form_broken_file"),
    (None, 20_000_001, "form_large_file"),
    (None, 20_000_000, None),
]


@pytest.mark.parametrize(("refusal", "size", "say"), REPORTED)
def test_a_file_that_was_fetched_is_judged_by_its_report(
    refusal: MediaRefusal | None, size: int | None, say: str | None
) -> None:
    field = FormField("file", document=("pdf",), max_mb=20)
    form = Form("f", "w", (field,), "c", WriteOperation.CREATE_ACQUISITION, "d", {}, NOWHERE)
    report = FileReport(file_id="f", person_id=PersonId("p"), refusal=refusal, size=size, most_bytes=10**8, at=AT)
    found = file_refusal(form, Media(media_id="1", filename="a.pdf"), report)
    assert (found and found.say) == say
    assert say != "form_large_file" or (found is not None and found.words == {"most": "20"})


@pytest.mark.parametrize(
    ("kinds", "content", "refused"),
    [
        (("pdf",), "application/pdf", None),
        (("pdf", "docx"), "image/jpeg", "form_wrong_file"),
        (("jpg", "png"), "application/pdf", "form_wrong_file"),
        (("docx",), "application/msword", "form_wrong_file"),
        (("docx",), CONTENT_TYPES["docx"], None),
        (("docx",), CONTENT_TYPES["odt"], None),  # both are archives, and may be told apart by their names alone
        (("md",), "text/plain", None),
        (("txt",), "application/rtf", "form_wrong_file"),
        (("rtf",), "application/rtf", None),
        (("mp4",), "audio/mp4", None),
        (("pdf", "indd"), "image/jpeg", None),  # a kind whose types are not known is not judged
        (("pdf",), None, None),  # reported by an earlier version
    ],
)
def test_a_file_that_was_fetched_is_judged_by_its_content(
    kinds: tuple[str, ...], content: str | frozenset[str] | None, refused: str | None
) -> None:
    form = Form(
        "f", "w", (FormField("file", document=kinds),), "c", WriteOperation.CREATE_ACQUISITION, "d", {}, NOWHERE
    )
    mime = min(content) if isinstance(content, frozenset) else content
    report = FileReport(file_id="f", person_id=PersonId("p"), size=1, mime=mime, at=AT)
    found = file_refusal(form, Media(media_id="1", filename=f"a.{kinds[0]}"), report)
    assert found == (refused and Refusal(refused, {"kinds": ", ".join(kinds).upper()}))


def test_a_picture_under_the_name_of_a_document_leaves_the_form_and_its_sender_reads_why() -> None:
    refused = [
        "file: {from: 5001, mb: 2, mime: image/jpeg}",
        "expect: [{collect: 5001, say: offer.isbn, text: 'PDF, DOCX'}]",
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer.manuscript}]",
        "reply: {from: 5001, document: b.docx}",
        "file: {from: 5001, mb: 2}",
        "expect: [{collect: 5001, say: offer_summary}]",
    ]
    assert told(*TO_ISBN, *refused) == []


def test_a_file_that_is_not_kept_leaves_the_form_and_is_asked_for_again() -> None:
    refused = [
        "file: {from: 5001, mb: 21}",
        "expect: [{collect: 5001, say: offer.isbn, text: 'we can take 20 MB'}]",
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer.manuscript}]",
        "reply: {from: 5001, document: b.pdf}",
        "file: {from: 5001, mb: 2}",
        "expect: [{collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, button: send}",
        "expect: [{record: acquisition.create, with: {attachments.filename: [b.pdf]}}, {collect: 5001, say: noted}]",
    ]
    assert told(*TO_ISBN, *refused) == []


TO_SUMMARY = [
    *TO_ISBN,
    'reply: {from: 5001, text: "9781784420017"}',
    "expect: [{collect: 5001, say: offer_summary}]",
]


def test_a_required_file_is_asked_for_at_the_summary_as_often_as_it_is_refused() -> None:
    again = [
        "file: {from: 5001, refused: infected}",
        "expect: [{collect: 5001, say: offer.manuscript, text: virus scanner}]",
        "reply: {from: 5001, document: b.pdf}",
        "expect: [{collect: 5001, say: offer_summary}]",
    ]
    assert told(*TO_SUMMARY, *again, *again, *again) == []


def test_a_summary_from_before_the_refusal_is_not_sent() -> None:
    moves = [
        "file: {from: 5001, refused: infected}",
        "expect: [{collect: 5001, say: offer.manuscript}]",
        "reply: {from: 5001, button: send}",
        "expect: [{tell: 5001, say: closed_question}]",
    ]
    assert told(*TO_SUMMARY, *moves) == []


OPTIONAL = FORM.replace("max_mb: 20, required: true", "max_mb: 20")


def test_an_optional_file_is_asked_for_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FORM", OPTIONAL)
    refused = "file: {from: 5001, refused: too_large}"
    moves = [
        refused,
        "expect: [{collect: 5001, say: offer.manuscript, text: we can take 20 MB}]",
        "reply: {from: 5001, document: b.pdf}",
        "expect: [{collect: 5001, say: offer_summary}]",
        refused,
        "expect: [{collect: 5001, text: we can take 20 MB}, {collect: 5001, say: offer_summary}]",
        "reply: {from: 5001, button: send}",
        "expect: [{record: acquisition.create, with: {title: Sea Glass}}, {collect: 5001, say: noted}]",
    ]
    assert told(*TO_SUMMARY, *moves) == []


def test_another_file_stays_in_the_form_when_one_is_refused() -> None:
    moves = [
        "reply: {from: 5001, document: b.pdf}",
        "expect: [{collect: 5001, say: offer.isbn}]",
        "file: {from: 5001, refused: infected}",
        "expect: [{collect: 5001, say: offer.isbn, text: virus scanner}]",
        'reply: {from: 5001, text: "9781784420017"}',
        "expect: [{collect: 5001, say: offer_summary, text: a.pdf}]",
    ]
    assert told(*TO_ISBN, *moves) == []


def test_a_file_that_is_refused_after_the_form_was_sent_is_recorded_only() -> None:
    sent = ["reply: {from: 5001, button: send}", "expect: [{record: acquisition.create}, {collect: 5001, say: noted}]"]
    assert told(*TO_SUMMARY, *sent, "file: {from: 5001, refused: infected}", "expect: nothing") == []


CHANGE_FILE = [
    *TO_SUMMARY,
    "reply: {from: 5001, button: change}",
    "expect: [{collect: 5001, say: form_change}]",
    'reply: {from: 5001, text: "3"}',
    "expect: [{collect: 5001, say: offer.manuscript}]",
]


def sends(files: str) -> list[str]:
    return [
        "reply: {from: 5001, button: send}",
        f"expect: [{{record: acquisition.create, with: {{attachments.filename: {files}}}}}, {{collect: 5001}}]",
    ]


def test_a_file_that_is_sent_for_a_change_takes_the_place_of_the_earlier_one() -> None:
    """Further files, which came unasked, are added to it."""
    moves = [
        "reply: {from: 5001, document: novel.exe}",
        "expect: [{collect: 5001, say: offer.manuscript, text: 'These kinds will do'}]",
        "reply: {from: 5001, document: b.pdf}",
        "expect: [{collect: 5001, say: offer_summary, text: b.pdf}]",
        "reply: {from: 5001, document: c.pdf}",
        "expect: [{collect: 5001, say: offer_summary, text: c.pdf}]",
        *sends("[b.pdf, c.pdf]"),
    ]
    assert told(*CHANGE_FILE, *moves) == []


def test_a_file_is_left_out_where_its_person_writes_words_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "FORM", OPTIONAL)
    moves = [
        "reply: {from: 5001, text: later}",
        "expect: [{collect: 5001, say: offer_summary, text: —}]",
        *sends("[]"),
    ]
    assert told(*CHANGE_FILE, *moves) == []


ASKED_FOR_OFFERS = """\
rule: offer
owner: acquisitions
why: {en: You wrote this book.}
on: work.stage_changed
about: work.work_id
steps:
  - ask: author
    say: offer_asked
    answers: {another: {collect: sender, form: offer}, nothing: {continue: true}, later: {continue: true}}
  - after: 2 days
    remind: unanswered
    say: offer_asked
  - after: 7 days
    give_up: left unfinished
"""
ASKING = """\
template: offer_asked
category: utility
version: 1
fields: {stage: to_stage}
languages:
  en:
    body: Your book is at “{stage}”. Have you written another?
    buttons: {another: Yes, nothing: "No", later: Later}
"""
TWO_AUTHORS = """\
    801: {roles: [author], country: GB}
    802: {roles: [author], country: GB}
    11: {roles: [commissioning_editor], team: acquisitions, country: GB}"""


def offered(*moves: str, answers: str = "") -> list[str]:
    """Of two authors who were asked, one fills the form to which an answer leads; ``answers`` are those of the rule."""
    files = {
        name: text for name, text in read_folder(FOLDER).items() if not name.endswith((".rule.yaml", ".test.yaml"))
    }
    form = FORM.replace("default: {field: text}, ", "")
    others = "nothing: {continue: true}, later: {continue: true}"
    rule = ASKED_FOR_OFFERS.replace(others, answers or others)
    files |= {"offer.rule.yaml": rule, "offer.form.yaml": form, "offer_asked.template.yaml": ASKING}
    files["offer_summary.template.yaml"] = SUMMARY
    begun = (
        "event: work.stage_changed",
        "reply: {from: 801, button: another}",
        "reply: {from: 801, text: Sea Glass}",
        "expect: [{ask: 801}, {ask: 802}, {collect: 801}, {collect: 801}, {collect: 801, say: offer.pitch}]",
    )
    lines = "\n".join(f"    - {move}" for move in (*begun, *moves))
    files["offer.test.yaml"] = HEAD.format(people=TWO_AUTHORS, play=lines)
    checked = check_files(files)
    assert [str(fault) for fault in checked.faults] == []
    return [fault.sentence for each in checked.stories for fault in play_story(each, checked.rulebook)]


@pytest.mark.parametrize(
    ("tapped_by", "expected"),
    [
        (801, "[{collect: 801, say: offer.pitch}]"),
        (802, "[{hand_over: 11}, {tell: 802, say: handed_over}]"),
    ],
)
def test_a_form_that_is_begun_by_a_button_is_not_begun_again_while_it_is_filled(tapped_by: int, expected: str) -> None:
    """By another tap its person gets the open question again; another person's matter goes to the owner team."""
    moves = (
        f"reply: {{from: {tapped_by}, button: another}}",
        f"expect: {expected}",
        "reply: {from: 801, text: Tides}",
        "expect: [{collect: 801, say: offer.manuscript}]",
    )
    assert offered(*moves) == []


def test_beside_the_person_who_fills_a_form_the_others_are_reminded_of_the_question() -> None:
    assert offered("wait: 3 days", "expect: [{remind: 801}, {remind: 802}]") == []


def test_words_to_a_form_that_its_person_gave_up_are_no_answer_in_the_form_of_another() -> None:
    moves = (
        "reply: {from: 801, text: STOP}",
        "reply: {from: 801, text: STOP}",
        "wait: 1 minute",
        "reply: {from: 801, text: START}",
        "reply: {from: 802, button: another}",
        "expect: [{collect: 801}, {tell: 801}, {tell: 801}, {collect: 802}, {collect: 802, say: offer.title}]",
        "reply: {from: 801, text: Is it too late for mine?, to: offer.pitch}",
        "expect: [{hand_over: 11, text: too late for mine}, {tell: 801, say: handed_over}]",
        "reply: {from: 802, text: Night Ferry}",
        "expect: [{collect: 802, say: offer.pitch}]",
    )
    assert offered(*moves) == []


FILLED = (
    "reply: {from: 801, text: Tides}",
    "reply: {from: 801, document: a.pdf}",
    'reply: {from: 801, text: "9781784420017"}',
    "expect: [{collect: 801}, {collect: 801}, {collect: 801, say: offer_summary}]",
)
SENT = (
    "reply: {from: 801, button: send, to: offer_summary}",
    "expect: [{record: acquisition.create, with: {title: Sea Glass}}, {collect: 801, say: noted}]",
)


def test_a_form_is_sent_as_it_is_though_the_question_that_led_to_it_is_asked_afresh() -> None:
    again = ("{event: work.stage_changed, with: {to_stage: Copyedit}}", "expect: [{ask: 801}, {ask: 802}]")
    assert offered(*FILLED, *again, *SENT) == []


def test_a_form_is_sent_as_it_is_though_the_answer_of_another_closes_the_question() -> None:
    veto = "nothing: {veto: true, hand_over: commissioning_editor, say: to_take}"
    veto += ", later: {quorum: all, tell: commissioning_editor, say: noted}"
    vetoed = ("reply: {from: 802, button: nothing}", "expect: [{hand_over: 11}, {tell: 802}]")
    assert offered(*FILLED, *vetoed, *SENT, answers=veto) == []


def test_words_fill_the_form_of_a_person_that_asked_last() -> None:
    """The author of two works fills a form of each; one of them is asked for its pitch."""
    moves = (
        "wait: 1 hour",
        "{event: work.stage_changed, with: {work.work_id: 4712}}",
        "expect: [{ask: 801}, {ask: 802}]",
        "reply: {from: 801, button: another, to: offer_asked}",
        "expect: [{collect: 801, say: pitch_unfinished}, {collect: 801, say: offer.title}]",
        "reply: {from: 801, text: Night Ferry}",
        "expect: [{collect: 801, say: offer.pitch}]",
    )
    assert offered(*moves) == []


# ------------------------------------------------------------------ what takes a form further

CHOOSING = FORM.replace("isbn: {max: 13}", "genre: {choose: [fiction, other]}").replace(
    "isbn: Which ISBN?", "genre: {ask: Which kind?, fiction: Fiction, other: Something else}"
)
TO_GENRE = [*FIRST, "reply: {from: 5001, document: a.pdf}", "expect: [{collect: 5001, say: offer.genre}]"]
STOPPED = "expect: [{tell: 5001, say: stopped}, {end: gave_up}]"


def choosing(*moves: str) -> list[str]:
    summary = SUMMARY.replace("{isbn}", "{genre}")
    return told(*moves, form=CHOOSING, summary=summary)


@pytest.mark.parametrize("answer", ["fiction", "FICTION", "1", "1.", "Fiction"])
def test_an_option_is_chosen_by_its_name_its_title_or_its_number(answer: str) -> None:
    moves = (
        f"reply: {{from: 5001, text: '{answer}'}}",
        "expect: [{collect: 5001, say: offer_summary, text: 'a.pdf, Fiction'}]",
    )
    assert choosing(*TO_GENRE, *moves) == []


def test_an_option_may_be_named_like_a_stop_word_also_after_the_button_to_stop_was_offered() -> None:
    form = CHOOSING.replace("other: Something else", "other: Stop")
    summary = SUMMARY.replace("{isbn}", "{genre}")
    said_so = "{collect: 5001, text: same.}"
    chosen = ("reply: {from: 5001, text: Stop}", f"expect: [{said_so}, {{collect: 5001, say: offer_summary}}]")
    assert told(*TO_GENRE, *chosen, form=form, summary=summary) == []
    title = [*FIRST[:2], "reply: {from: 5001, text: Stop}", FIRST[3], *TO_GENRE[len(FIRST) :]]
    assert told(*title, *chosen, form=form, summary=summary) == []


def test_three_options_and_the_button_to_stop_are_listed_since_whatsapp_takes_three_buttons() -> None:
    genre = "genre: {choose: [fiction, poetry, other], required: true}"
    form = CHOOSING.replace("\n  genre: {choose: [fiction, other]}", "").replace(
        "  pitch: {", f"  {genre}\n  pitch: {{", 1
    )
    form = form.replace("fiction: Fiction,", "fiction: Fiction, poetry: Poetry,")
    listed = "expect: [{collect: 5001, say: offer.genre, text: 1. Fiction}]"
    summary = SUMMARY.replace("{isbn}", "{genre}")
    assert told(*FIRST[:2], "reply: {from: 5001, text: Stop}", listed, form=form, summary=summary) == []
    (unlisted,) = told(*FIRST[:2], "reply: {from: 5001, text: Sea Glass}", listed, form=form, summary=summary)
    assert "1. Fiction" in unlisted


def test_start_is_no_answer_where_a_form_waits_for_a_file() -> None:
    assert told(*FIRST, "reply: {from: 5001, text: START}", "expect: [{tell: 5001, say: started}]") == []


@pytest.mark.parametrize("answer", ["text: other", "button: other", "text: SOMETHING ELSE", "text: 2"])
def test_an_option_whose_title_is_not_its_name_is_chosen_by_either(answer: str) -> None:
    answer = answer.replace("2", "'2'")
    chosen = "expect: [{collect: 5001, say: offer_summary, text: 'a.pdf, Something else'}]"
    assert choosing(*TO_GENRE, f"reply: {{from: 5001, {answer}}}", chosen) == []


@pytest.mark.parametrize("answer", ["0", "3", "F", "Fict", "Fiction, other"])
def test_an_answer_that_is_no_option_is_asked_for_again(answer: str) -> None:
    again = (f"reply: {{from: 5001, text: '{answer}'}}", "expect: [{collect: 5001, say: offer.genre}]")
    assert choosing(*TO_GENRE, *again) == []


@pytest.mark.parametrize("before", [TO_GENRE, FIRST], ids=["choice", "file"])
@pytest.mark.parametrize("word", ["STOP", "Basta"])
def test_a_stop_word_stops_where_a_form_waits_for_no_text(before: list[str], word: str) -> None:
    assert choosing(*before, f"reply: {{from: 5001, text: {word}}}", STOPPED) == []


def test_a_stop_word_stops_at_the_summary_and_while_a_person_says_what_to_change() -> None:
    change = ("reply: {from: 5001, button: change}", "expect: [{collect: 5001, say: form_change}]")
    stop = ("reply: {from: 5001, text: STOP}", STOPPED)
    assert told(*TO_SUMMARY, *stop) == []
    assert told(*TO_SUMMARY, *change, *stop) == []


def test_cancel_in_words_at_the_summary_cancels_the_form_and_stops_nothing() -> None:
    cancelled = ("reply: {from: 5001, text: cancel}", "expect: [{collect: 5001, say: form_cancelled}, {end: answered}]")
    after = ("reply: {from: 5001, line: main, text: Another book}", f"expect: [{WELCOME}, {{collect: 5001}}]")
    assert told(*TO_SUMMARY, *cancelled, *after) == []


def test_stop_below_the_button_that_offers_it_stops_and_another_stop_word_is_a_title_again() -> None:
    title, again = "reply: {from: 5001, text: %s}", "reply: {from: 5001, text: STOP}"
    (taken,) = told(*FIRST[:2], title % "STOP", "expect: nothing")
    assert "offer.manuscript" in taken
    assert told(*FIRST[:2], title % "STOP", "expect: [{collect: 5001, say: offer.manuscript}]", again, STOPPED) == []


def test_stop_is_a_title_once_and_another_stop_word_as_often_as_it_fits() -> None:
    for word, then in (("STOP", STOPPED), ("Basta", "expect: [{collect: 5001, text: same.}, {collect: 5001}]")):
        begun = [*FIRST[:2], f"reply: {{from: 5001, text: {word}}}", FIRST[3], *TO_ISBN[len(FIRST) :]]
        assert told(*begun, f"reply: {{from: 5001, text: {word}}}", then) == []


def test_a_stop_word_that_does_not_fit_a_typed_field_stops() -> None:
    typed = FORM.replace("isbn: {max: 13}", "isbn: {type: isbn}")
    for word in ("STOP", "Basta"):
        assert told(*TO_ISBN, f"reply: {{from: 5001, text: {word}}}", STOPPED, form=typed) == []


WRONG = "expect: [{tell: 5001, say: wrong_person}, {left_out: {5001: wrong_person}}, {end: gave_up}]"


@pytest.mark.parametrize("text", ["Sorry, wrong number", "You have the wrong person"])
@pytest.mark.parametrize("kind", ["isbn", "date", "email", "number", "phone"])
def test_a_typed_field_takes_a_wrong_number_for_what_it_says(kind: str, text: str) -> None:
    typed = FORM.replace("isbn: {max: 13}", f"isbn: {{type: {kind}}}")
    assert told(*TO_ISBN, f"reply: {{from: 5001, text: '{text}'}}", WRONG, form=typed) == []


def test_a_typed_field_answers_a_why_and_goes_on_with_its_value() -> None:
    typed = FORM.replace("isbn: {max: 13}", "isbn: {type: isbn}")
    asked = ("reply: {from: 5001, text: why?}", "expect: [{tell: 5001, say: why_answer}]")
    value = ('reply: {from: 5001, text: "9781784420017"}', "expect: [{collect: 5001, say: offer_summary}]")
    assert told(*TO_ISBN, *asked, *value, form=typed) == []


def test_a_title_may_say_wrong_number() -> None:
    taken = ("reply: {from: 5001, text: Wrong number}", "expect: [{collect: 5001, say: offer.manuscript}]")
    assert told(*FIRST[:2], *taken) == []


def test_the_days_until_a_form_is_given_up_count_from_the_last_answer_and_the_last_refused_file() -> None:
    waits = ("wait: 6 days", 'reply: {from: 5001, text: "9781784420017"}', "expect: [{collect: 5001}]")
    refused = ("wait: 6 days", "file: {from: 5001, mb: 21}", "expect: [{collect: 5001, say: offer.manuscript}]")
    given_up = ("wait: 2 days", "expect: [{end: gave_up}]")
    assert told(*TO_ISBN, *waits, *refused, "wait: 6 days", "expect: nothing", *given_up) == []


def test_quotation_marks_that_are_not_needed_are_part_of_the_answer() -> None:
    """Those of an answer that a machine might have sent say that it is the answer; others may belong to a title."""
    quoted = [FIRST[0], FIRST[1], "reply: {from: 5001, text: '“Sea Glass”'}", FIRST[3]]
    rest = [*TO_SUMMARY[len(FIRST) :], "reply: {from: 5001, button: send}"]
    recorded = "expect: [{record: acquisition.create, with: {title: '“Sea Glass”'}}, {collect: 5001}]"
    assert told(*quoted, *rest, recorded) == []


def test_a_sentence_may_be_written_again_where_its_own_field_is_changed() -> None:
    """In another field it would count as a machine's, which repeats itself."""
    begun = [FIRST[0], FIRST[1], f"reply: {{from: 5001, text: {OPENING}}}", FIRST[3], *TO_SUMMARY[len(FIRST) :]]
    changed = [
        "reply: {from: 5001, button: change}",
        "expect: [{collect: 5001, say: form_change}]",
        "reply: {from: 5001, text: title}",
        "expect: [{collect: 5001, say: offer.title}]",
        f"reply: {{from: 5001, text: {OPENING}}}",
        "expect: [{collect: 5001, say: offer_summary}]",
    ]
    assert told(*begun, *changed, longest=60) == []


def test_a_person_without_a_country_writes_numbers_as_in_the_country_of_the_house() -> None:
    typed = FORM.replace("isbn: {max: 13}", "isbn: {type: phone}")
    moves = ("reply: {from: 5001, text: 07400 123456}", "expect: [{collect: 5001, say: offer_summary}]")
    assert told(*TO_ISBN, *moves, form=typed, country=None) == []


def test_a_form_that_was_sent_stays_sent_where_its_person_leaves_the_chain() -> None:
    sent = FormState(
        form="pitch", person_id=PersonId("p"), step=0, phase=FormPhase.SENT, reference="ABC234", last_at=NOW
    )
    for phase, expected in ((FormPhase.SENT, FormPhase.SENT), (FormPhase.SUMMARY, FormPhase.CANCELLED)):
        left = abandon_form(chain(form=sent.replace(phase=phase))).form
        assert left is not None
        assert left.phase is expected


def test_a_text_too_long_for_its_field_is_refused_for_its_length() -> None:
    long = "expect: [{collect: 5001, say: offer.title, text: 30 characters long}]"
    assert told(*FIRST[:2], f"reply: {{from: 5001, text: {AWAY}}}", long) == []


ASKING_THE_WRITER = RULE.replace(
    "  - collect: sender\n    form: offer\n",
    "  - ask: sender\n    say: offer_asked\n"
    "    answers: {another: {collect: sender, form: offer}, nothing: {continue: true}, later: {continue: true}}\n",
)


def test_the_first_message_is_no_answer_to_a_form_that_a_later_tap_begins() -> None:
    moves = (
        "reply: {from: 5001, line: main, text: Tides}",
        "expect: [{ask: 5001, say: offer_asked}]",
        "reply: {from: 5001, button: another}",
        f"expect: [{WELCOME}, {{collect: 5001, say: offer.title}}]",
        "reply: {from: 5001, text: Sea Glass}",
        "expect: [{collect: 5001, say: offer.pitch}]",
    )
    asking = ASKING.replace("fields: {stage: to_stage}\n", "").replace("Your book is at “{stage}”. ", "")
    assert told(*moves, rule=ASKING_THE_WRITER, also={"offer_asked.template.yaml": asking}) == []
