"""A marketing template that a rule sends to people whom the house does not write to by their opt-in is noted."""

import pytest

from services.rules.scenario.folder_check import check_files
from tests.services.rules.rulebooks import good_files

NEWS = """\
template: {name}
category: {category}
version: 1
{more}languages:
  en:
    body: There is an offer for you, {{person}}. It is good until Friday.
  fr:
    body: Il y a une offre pour vous, {{person}}. Elle vaut jusqu’à vendredi.
"""
RULE = """\
rule: offer
owner: rights
why: {en: You know this work., fr: Vous connaissez cette œuvre.}
on: rights.approval_requested
about: request_id
steps:
"""
ASK = """\
  - ask: rights_holder
    say: permission_request
    answers:
      approve: {tell: sender, say: noted}
      question: {tell: sender, say: noted}
"""
END = "  - after: 2 days\n    give_up: no answer\n"
HOLDER = "“rights_holder” (contract)"


def notes_of(
    steps: str, *, category: str = "marketing", basis: str = "contract", other: dict[str, str] | None = None
) -> list[str]:
    files = good_files()
    house = files["house.yaml"]
    assert "rights_holder: contract" in house
    files |= {
        "house.yaml": house.replace("rights_holder: contract", f"rights_holder: {basis}"),
        "news.template.yaml": NEWS.format(name="news", category=category, more=""),
        "offer.rule.yaml": RULE + steps,
        **(other or {}),
    }
    checked = check_files(files, tested=False)
    assert checked.faults == ()
    return [str(note) for note in checked.notes if note.location.file == "offer.rule.yaml"]


def note(line: int, column: int, people: str, named: str = "“news”") -> str:
    return (
        f"offer.rule.yaml:{line}:{column}: {named} is a marketing template (news.template.yaml:2:11), and it goes"
        f" to {people}; of them it reaches only those who agreed to offers, the messages to the others wait until they"
        " expire"
    )


@pytest.mark.parametrize(
    ("who", "people"),
    [
        ("rights_holder", HOLDER),
        ("rights_manager", "“rights_manager” (legitimate interest)"),
        ("{team: rights}", "the team “rights”"),
        ("[rights_holder, agent]", f"{HOLDER}, “agent” (contract)"),
    ],
)
def test_a_marketing_template_to_people_of_another_ground_is_noted(who: str, people: str) -> None:
    assert notes_of(f"  - tell: {who}\n    say: news\n") == [note(8, 10, people)]


def test_people_whom_an_event_names_may_be_of_any_role() -> None:
    steps = "  - tell: affected\n    say: news\n"
    event = {"offer.rule.yaml": (RULE + steps).replace("rights.approval_requested", "schedule.date_set")}
    event = {name: text.replace("request_id", "milestone_id") for name, text in event.items()}
    assert notes_of(steps, other=event) == [note(8, 10, "“affected” (contract or legitimate interest)")]


def test_people_of_an_earlier_step_are_noted_by_their_roles() -> None:
    later = "  - after: 1 day\n    tell: told\n    say: news\n"
    assert notes_of(ASK + later + END) == [note(14, 10, HOLDER)]


def test_a_marketing_template_of_an_answer_is_noted() -> None:
    asked = ASK.replace("approve: {tell: sender, say: noted}", "approve: {tell: agent, say: news}")
    assert notes_of(asked + END) == [note(10, 35, "“agent” (contract)")]


def test_a_marketing_template_at_the_end_of_a_rule_is_noted() -> None:
    until = "until: {on: rights.request_withdrawn, tell: told, say: news}\n"
    (noted,) = notes_of(ASK + END + until)
    assert noted.endswith(note(0, 0, HOLDER).partition(": ")[2])


def test_a_fallback_that_is_marketing_is_noted_with_the_template_it_stands_for() -> None:
    more = "fallback: news\n"
    hello = {"hello.template.yaml": NEWS.format(name="hello", category="utility", more=more)}
    noted = notes_of("  - tell: rights_holder\n    say: hello\n", other=hello)
    assert noted == [note(8, 10, HOLDER, "“news”, the fallback of “hello”,")]


def test_nothing_is_noted_of_an_opt_in_of_a_utility_template_and_of_a_person_who_wrote() -> None:
    told = "  - tell: rights_holder\n    say: news\n"
    answered = ASK.replace("approve: {tell: sender, say: noted}", "approve: {tell: sender, say: news}")
    assert notes_of(told, basis="opt_in") == []
    assert notes_of(told, category="utility") == []
    assert notes_of(answered + END) == []
