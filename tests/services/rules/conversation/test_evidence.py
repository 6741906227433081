"""A decision adds to the evidence of a record: what was asked, how far it got, and what was answered, once each."""

from dataclasses import dataclass, field, replace

from services.rules.conversation.context import Decision
from services.rules.matching.conditions import FieldValues
from services.rules.matching.matcher import Matcher
from services.rules.rulebook.model import Condition, Rulebook
from services.rules.scenario.player import run_story
from shared.contracts.evidence import AnswerGiven, QuestionAsked, QuestionDelivery, RecordEvidence
from tests.services.rules.stories import own_rulebook, story

PEOPLE = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
STANDS_IN = "812: {roles: [rights_holder]}\n900: {stands_in_for: 812}\n40: {roles: [rights_manager], country: GB}"
ASKED = "{event: rights.approval_requested, with: {request_id: R-9, respond_by: 2027-03-19}}"


@dataclass
class EvidenceObserver:
    found: list[RecordEvidence] = field(default_factory=list)

    def matcher(self, matcher: Matcher) -> Matcher:
        return matcher

    def observe_condition(self, condition: Condition, values: FieldValues) -> None:
        """Nothing of a condition is evidence."""

    def observe_decision(self, decision: Decision) -> None:
        self.found.extend(decision.evidence)


def played(
    *steps: str, people: str = PEOPLE, rule: str = "rights-approval", book: Rulebook | None = None
) -> list[RecordEvidence]:
    observer = EvidenceObserver()
    result = run_story(story(people, *steps, rule=rule), book or own_rulebook(), observer)
    assert result.passed, [fault.sentence for fault in result.faults]
    return observer.found


def states(found: list[RecordEvidence]) -> list[str]:
    """A word or two for each entry."""
    words = []
    for each in found:
        match each.content:
            case QuestionAsked():
                words.append(f"asked {each.content.template}")
            case QuestionDelivery():
                words.append(each.content.state)
            case AnswerGiven():
                words.append(f"{'final' if each.content.final else 'kept'} {each.content.answer}")
    return words


def test_an_approval_is_asked_delivered_and_answered() -> None:
    found = played(ASKED, "reply: {from: 900, button: approve}", people=STANDS_IN)
    assert states(found) == ["asked rights_request", "accepted", "final approve"]
    asked, accepted, answered = (each.content for each in found)
    assert isinstance(asked, QuestionAsked)
    assert asked.rendered
    assert set(asked.buttons) == {"approve", "decline", "question"}
    assert asked.request["terms_hash"]
    assert asked.request["terms"]["summary"]
    assert len(asked.on_behalf_of) == 1
    assert isinstance(accepted, QuestionDelivery)
    assert accepted.wamid
    assert isinstance(answered, AnswerGiven)
    assert (answered.contact_id, answered.message_kind, bool(answered.button_id)) == (900, "button", True)
    assert {each.record for each in found} == {f"rights/{asked.request['rights_record_id']}"}


def test_each_answer_has_the_title_of_its_own_button_in_whatever_order_the_template_shows_them() -> None:
    book = own_rulebook()
    asking = book.templates["rights_request"]
    titles = asking.languages["en"].buttons
    turned = replace(asking.languages["en"], buttons=dict(reversed(list(titles.items()))))
    template = replace(asking, languages={**asking.languages, "en": turned})
    found = played(ASKED, book=replace(book, templates={**book.templates, template.name: template}))
    (buttons,) = (each.content.buttons for each in found if isinstance(each.content, QuestionAsked))
    assert buttons == titles


def test_a_reminder_is_a_question_and_words_are_kept_without_being_an_answer() -> None:
    found = played(ASKED, "wait: 3 days", "{reply: {from: 812, text: Who asks this?}}")
    assert states(found) == [
        "asked rights_request",
        "accepted",
        "asked rights_reminder",
        "accepted",
        "kept free_text",
    ]
    answer = found[-1].content
    assert isinstance(answer, AnswerGiven)
    assert answer.text == "Who asks this?"


def test_an_answer_after_the_final_one_is_evidence_too() -> None:
    found = played(ASKED, "reply: {from: 812, button: approve}", "reply: {from: 812, button: decline}")
    assert states(found)[-2:] == ["final approve", "kept decline"]


def test_the_same_entry_has_the_same_id_and_another_has_another() -> None:
    steps = (ASKED, "reply: {from: 812, button: approve}")
    first, again = played(*steps), played(*steps)
    assert [each.entry_id for each in first] == [each.entry_id for each in again]
    assert len({each.entry_id for each in first}) == len(first)


def test_a_question_that_records_nothing_leaves_no_evidence() -> None:
    people = "40: {roles: [rights_manager], country: GB}"
    assert played(ASKED, people=people) == []
