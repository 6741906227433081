"""Each property of a rulebook: a small one in which it does not hold, with a story that shows it."""

from dataclasses import replace

import pytest

from services.rules.analysis import cap_proof, opening
from services.rules.analysis.opening import StoryOpening, opening_of, read_story
from services.rules.analysis.proof import Counterexample, Proof, Property, prove
from services.rules.conversation import send_hours
from services.rules.rulebook.catalogue import party_fields
from services.rules.rulebook.model import Rule, Rulebook
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import play_story
from shared.contracts.ids import RuleId
from tests.services.rules.rulebooks import good_files
from tests.services.rules.stories import own_rulebook

HEAD = """\
rule: {name}
owner: rights
why: {{en: You hold the rights., fr: Vous détenez les droits.}}
on: rights.approval_requested
about: request_id
"""
ASK = """\
  - ask: rights_holder
    say: asked
    answers:
      approve: {record: rights.record_decision, with: {decision: approved}}
"""
TOLD = """\
template: told
category: utility
version: 1
languages:
  en: {body: Something happened.}
  fr: {body: Il s’est passé quelque chose.}
"""
ASKED = """\
template: asked
category: utility
version: 1
languages:
  en: {body: May we?, buttons: {approve: Yes}}
  fr: {body: Pouvons-nous ?, buttons: {approve: Oui}}
"""


def proof_of(*, is_refused: bool = False, limits: str | None = None, **rules: str) -> Proof:
    """Of the good rulebook with these rules, given from their condition or steps on, in place of its own.

    ``is_refused``: ``stet rules check`` finds a fault in them already.
    """
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {} if limits is None else {"limits.yaml": limits}
    files |= {"told.template.yaml": TOLD, "asked.template.yaml": ASKED}
    files["asked_too.template.yaml"] = ASKED.replace("asked", "asked_too")
    files |= {f"{name}.rule.yaml": HEAD.format(name=name) + text for name, text in rules.items()}
    checked = check_files(files, tested=False)
    assert bool(checked.faults) is is_refused, [str(fault) for fault in checked.faults]
    *_, proof = prove(checked.rulebook)
    for example in (*proof.found, *proof.shown):
        if example.story:
            assert play_story(read_story(example.rule, example.story), checked.rulebook) == []
    return proof


def the_one(proof: Proof, broken: Property) -> Counterexample:
    (example,) = (each for each in proof.found if each.broken is broken)
    return example


GOOD = f"steps:\n{ASK}  - after: 2 days\n    give_up: no answer\n"


def test_a_rule_that_asks_and_gives_up_has_no_counterexample() -> None:
    proof = proof_of(good=GOOD)
    assert proof.found == []
    assert proof.bounded == {}
    assert proof.states > 3


def test_a_rule_whose_condition_contradicts_itself_can_never_start() -> None:
    proof = proof_of(is_refused=True, never=f"if: {{all: [{{request_id: a}}, {{request_id: b}}]}}\n{GOOD}")
    assert the_one(proof, Property.FIRES).fault.sentence.startswith(
        "“never” can never start by rights.approval_requested"
    )


def test_a_question_that_is_dropped_without_a_word_is_shown() -> None:
    proof = proof_of(dropped=f"steps:\n{ASK}  - after: 2 days\n    tell: rights_manager\n    say: told\n")
    example = the_one(proof, Property.ENDS)
    assert "ends as done although its question has no answer" in example.fault.sentence
    assert "{end: done}" in example.story


def test_an_answer_that_may_write_nothing_is_shown() -> None:
    ask = ASK.replace("approved}}", "approved}, unless: {rights.needs_signature: true}}")
    proof = proof_of(idle=f"steps:\n{ask}  - after: 2 days\n    give_up: no answer\n")
    example = the_one(proof, Property.OUTCOME)
    assert "the answer “approve” of “idle” ends the chain and nothing comes of it" in example.fault.sentence
    assert "button: approve" in example.story


def test_two_rules_that_write_one_record_by_one_event_are_shown() -> None:
    proof = proof_of(first=GOOD, second=GOOD.replace("approved", "declined").replace("say: asked", "say: asked_too"))
    example = the_one(proof, Property.RACE)
    assert "rights.record_decision" in example.fault.sentence
    assert example.story.count("record: rights.record_decision") == 2


def test_two_rules_that_ask_the_same_question_race_too() -> None:
    example = the_one(proof_of(first=GOOD, second=GOOD.replace("approved", "declined")), Property.RACE)
    assert "rule: first" in example.story
    assert example.story.count("record: rights.record_decision") == 2


def test_the_stories_run_in_the_folder_where_other_rules_begin_by_the_same_event() -> None:
    """Which say the same templates to the same people, and write."""
    ask = ASK.replace("approved}}", "approved}, unless: {rights.needs_signature: true}}")
    idle = f"steps:\n{ask}  - after: 2 days\n    tell: rights_manager\n    say: told\n"
    proof = proof_of(first=idle, second=GOOD, third=idle.replace("2 days", "1 day"))  # which plays them
    assert {example.broken for example in proof.found} >= {Property.ENDS, Property.OUTCOME, Property.RACE}


BY_ITSELF = """\
steps:
  - ask: rights_holder
    say: asked_too
    answers:
      approve: {continue: true}
  - after: 1 day
    record: rights.record_decision
    with: {decision: declined}
  - give_up: no answer
"""
DEEP = """\
steps:
  - ask: rights_holder
    say: asked_too
    answers:
      approve:
        ask: rights_manager
        say: asked
        answers:
          approve: {record: rights.record_decision, with: {decision: declined}}
  - {after: 1 day, remind: unanswered, say: asked_too}
  - {after: 1 day, remind: unanswered, say: asked_too}
  - {after: 1 day, remind: unanswered, say: asked_too}
  - {after: 1 day, remind: unanswered, say: asked_too}
  - {after: 1 day, give_up: no answer}
"""


@pytest.mark.parametrize(("first", "second"), [(GOOD, BY_ITSELF), (BY_ITSELF, GOOD), (GOOD, DEEP), (DEEP, GOOD)])
def test_a_write_that_comes_by_time_or_after_several_answers_races_too(first: str, second: str) -> None:
    example = the_one(proof_of(first=first, second=second), Property.RACE)
    assert example.story.count("record: rights.record_decision") == 2


def test_two_rules_that_no_event_starts_both_do_not_race() -> None:
    proof = proof_of(first=f"if: {{kind: permission}}\n{GOOD}", second=f"if: {{kind: licence}}\n{GOOD}")
    assert [example for example in proof.found if example.broken is Property.RACE] == []


def test_a_language_that_a_template_lacks_is_shown_where_people_speak_it() -> None:
    assert proof_of(good=GOOD).found == []
    english = ASKED.replace("  fr: {body: Pouvons-nous ?, buttons: {approve: Oui}}\n", "")
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {"asked.template.yaml": english, "good.rule.yaml": HEAD.format(name="good") + GOOD}
    *_, proof = prove(check_files(files, tested=False).rulebook)
    example = the_one(proof, Property.LANGUAGE)
    assert "whose language is “fr”, which asked lacks" in example.fault.sentence
    assert "country: FR" in example.story


def test_a_language_is_not_missed_where_a_step_leaves_its_people_out() -> None:
    english = TOLD.replace("  fr: {body: Il s’est passé quelque chose.}\n", "").replace("told", "english")
    tell = "steps:\n  - tell: rights_holder\n    say: english\n"
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {"english.template.yaml": english, "good.rule.yaml": HEAD.format(name="good") + tell}
    *_, proof = prove(check_files(files, tested=False).rulebook)
    assert the_one(proof, Property.LANGUAGE)
    for condition in ("recipient.country: [FR, BE]", "any: [{recipient.language: fr}, {work.cancelled: true}]"):
        files["good.rule.yaml"] = HEAD.format(name="good") + tell + f"    unless: {{{condition}}}\n"
        *_, proof = prove(check_files(files, tested=False).rulebook)
        assert proof.found == []


def english_only(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("  fr:"))


def test_a_form_is_proved_in_each_language_and_so_is_what_it_says() -> None:
    files = {n: text for n, text in good_files().items() if not n.endswith(".rule.yaml") or "/pitch." in n}
    for name in ("pitch.form", "pitch_welcome.template"):
        files[f"pitch/{name}.yaml"] = files[f"pitch/{name}.yaml"].partition("  fr:")[0]
    *_, proof = prove(check_files(files, tested=False).rulebook)
    example = the_one(proof, Property.LANGUAGE)
    assert "whose language is “fr”, which the form pitch, pitch_welcome lacks" in example.fault.sentence


def test_a_reminder_of_staff_alone_is_not_missed_in_another_language() -> None:
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files["asked.template.yaml"] = english_only(ASKED)
    reminds = "  - after: 1 day\n    remind: unanswered\n    say: asked\n"
    gives_up = "  - after: 1 day\n    give_up: no answer\n"
    ask = ASK.replace("rights_holder", "rights_manager")
    files["good.rule.yaml"] = f"{HEAD.format(name='good')}steps:\n{ask}{reminds}{gives_up}"
    *_, proof = prove(check_files(files, tested=False).rulebook)
    assert proof.found == []


def test_house_templates_are_proved_in_each_language() -> None:
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {"asked.template.yaml": ASKED, "good.rule.yaml": HEAD.format(name="good") + GOOD}
    files["house/noted.template.yaml"] = english_only(files["house/noted.template.yaml"]).partition("  fr:")[0]
    *_, proof = prove(check_files(files, tested=False).rulebook)
    example = the_one(proof, Property.LANGUAGE)
    assert example.fault.sentence == "people whose language is “fr” can be written to, which noted lacks"
    assert "say: noted, language: en" in example.story


def test_the_story_of_a_missing_language_goes_on_to_the_words_that_lack_it() -> None:
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {"asked.template.yaml": ASKED, "english.template.yaml": english_only(TOLD).replace("told", "english")}
    late = GOOD.replace("give_up: no answer", "tell: rights_holder\n    say: english\n  - give_up: no answer")
    files["good.rule.yaml"] = HEAD.format(name="good") + late
    *_, proof = prove(check_files(files, tested=False).rulebook)
    assert "{tell: 812, say: english, language: en}" in the_one(proof, Property.LANGUAGE).story


UNTIL_TAKEN = f"""\
steps:
{ASK}  - after: 2 days
    hand_over: rights_manager
    say: taken_over
    unless: {{kind: licence}}
  - after: 2 days
    tell: rights_manager
    say: told
"""


def test_rules_alike_but_for_their_condition_are_both_played() -> None:
    """The step that one of them may skip saves the other, whose condition excludes that."""
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {"told.template.yaml": TOLD, "asked.template.yaml": ASKED}
    files["taken_over.template.yaml"] = (
        TOLD.replace("told", "taken_over")
        .replace("happened.}", "happened., buttons: {take: Take it, not_me: Not me}}")
        .replace("chose.}", "chose., buttons: {take: Je prends, not_me: Pas moi}}")
    )
    files["aa.rule.yaml"] = f"{HEAD.format(name='aa')}if: {{kind: permission}}\n{UNTIL_TAKEN}"
    files["bb.rule.yaml"] = f"{HEAD.format(name='bb')}{UNTIL_TAKEN}"
    checked = check_files(files, tested=False)
    *_, proof = prove(checked.rulebook)
    assert [example.rule for example in proof.found if example.broken is Property.ENDS] == ["bb"]


def test_the_course_after_each_event_of_a_rule_is_played() -> None:
    head = HEAD.replace("rights.approval_requested", "[work.blocked, work.stage_changed]").replace(
        "request_id", "work.work_id"
    )
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {"told.template.yaml": TOLD, "asked.template.yaml": ASKED}
    ask = ASK.replace("rights_holder", "author").partition("      approve:")[0] + "      approve: {continue: true}\n"
    skipped = "  - after: 1 day\n    tell: author\n    say: told\n    unless: {recipient.country: NL}\n"
    files["good.rule.yaml"] = f"{head.format(name='good')}steps:\n{ask}{skipped}  - {{after: 1 day, give_up: none}}\n"
    checked = check_files(files, tested=False)
    assert checked.faults == ()
    by_first = replace(checked.rulebook.rules[RuleId("good")], events=("work.blocked",))
    *_, of_both = prove(checked.rulebook)
    *_, of_first = prove(replace(checked.rulebook, rules={by_first.name: by_first}))
    assert of_both.states > of_first.states


LONG = GOOD.replace("2 days", "2 weeks")
RECURRING = """\
rule: {name}
owner: rights
why: {{en: You look after these., fr: Vous vous occupez de ceci.}}
every: monday at 09:00
{more}steps:
  - tell: rights_manager
    say: told
"""


@pytest.mark.parametrize(
    "more",
    [
        "",
        "list: {waits_for: rights_holder}\n",
        "list: {waits_for: rights_holder, rules: good}\nif: {open.count: {at_least: 3}}\n",
        "list: {waits_for: rights_holder}\nif: {open.count: 0}\n",
    ],
)
def test_a_recurring_rule_is_played_with_what_it_lists(more: str) -> None:
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {
        "told.template.yaml": TOLD,
        "asked.template.yaml": ASKED,
        "good.rule.yaml": HEAD.format(name="good") + LONG,
    }
    files["weekly.rule.yaml"] = RECURRING.format(name="weekly", more=more)
    checked = check_files(files, tested=False)
    assert checked.faults == ()
    *_, proof = prove(checked.rulebook)
    assert (proof.found, proof.undecided) == ([], [])


def test_the_story_of_a_recurring_rule_runs() -> None:
    files = {name: text for name, text in good_files().items() if not name.endswith((".rule.yaml", ".test.yaml"))}
    files |= {"asked.template.yaml": ASKED, "asked_too.template.yaml": ASKED.replace("asked", "asked_too")}
    files |= {"told.template.yaml": TOLD, "good.rule.yaml": HEAD.format(name="good") + LONG}
    weekly = RECURRING.format(name="weekly", more="list: {waits_for: rights_holder}\nif: {open.count: 1}\n")
    asks = weekly.replace("tell: rights_manager", "ask: rights_manager").replace("say: told", "say: asked_too")
    files["weekly.rule.yaml"] = (
        f"{asks}    answers: {{approve: {{continue: true}}}}\n"
        "  - after: 1 day\n    tell: rights_manager\n    say: told\n"
    )
    checked = check_files(files, tested=False)
    assert checked.faults == ()
    *_, proof = prove(checked.rulebook)
    example = the_one(proof, Property.ENDS)
    assert example.rule == "weekly"
    assert play_story(read_story("weekly", example.story), checked.rulebook) == []


def test_a_course_is_played_for_people_left_out_and_others() -> None:
    ask = ASK.replace("    answers", "    unless: {recipient.country: NL}\n    answers")
    dropped = (
        "  - after: 2 days\n    tell: [author, rights_holder]\n    say: told\n    unless: {recipient.country: GB}\n"
    )
    proof = proof_of(dropped=f"steps:\n{ask}{dropped}")
    example = the_one(proof, Property.ENDS)
    assert "ends as done although its question has no answer" in example.fault.sentence
    assert not any("NL" in each.story for each in proof.found)
    skipped = proof_of(skipped=f"steps:\n{ask}  - after: 2 days\n    give_up: no answer\n")
    assert skipped.found == []
    assert skipped.states > proof_of(good=GOOD).states


def test_a_rule_with_a_form_holds() -> None:
    files = {n: text for n, text in good_files().items() if not n.endswith(".rule.yaml") or "/pitch." in n}
    *_, proof = prove(check_files(files, tested=False).rulebook)
    assert [example.fault.sentence for example in proof.found] == []


TELL = "severity: {severity}\nsteps:\n  - tell: {who}\n    say: told\n"
CAPPED = "per_person: [{count: 2, per: day}, {count: 9, per: week}]\n"
PASSING = f"{CAPPED}pass: {{severity: critical, only: staff}}\n"


def test_rules_hold_to_the_caps_also_together() -> None:
    tells = TELL.format(severity="info", who="rights_holder")
    proof = proof_of(limits=CAPPED, first=tells, second=tells)
    assert (proof.found, proof.shown) == ([], [])


def test_messages_that_pass_the_caps_are_shown_with_their_events_and_are_no_fault() -> None:
    proof = proof_of(limits=PASSING, urgent=TELL.format(severity="critical", who="{team: rights}"))
    assert proof.found == []
    (shown,) = proof.shown
    assert shown.fault.message == ("“urgent” passes the cap of 2 a day: 3 of its events bring one person 3 messages")
    assert shown.story.count("event: rights.approval_requested") == 3


def test_without_caps_there_is_nothing_to_show() -> None:
    proof = proof_of(limits="free: replies\n", urgent=TELL.format(severity="critical", who="{team: rights}"))
    assert (proof.found, proof.shown) == ([], [])


@pytest.mark.parametrize("count", [1, 2])
def test_messages_that_exceed_a_cap_are_found(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cap that counts one message too few lets one rule exceed it."""
    monkeypatch.setattr(send_hours, "_full_caps", lambda *_: [])
    tells = TELL.format(severity="info", who="rights_holder")
    proof = proof_of(limits=CAPPED, is_refused=False, **{f"rule{number}": tells for number in range(count)})
    found = [example.fault.message for example in proof.found if example.broken is Property.CAP]
    assert found == ["3 of its events bring one person 3 messages, over the cap of 2 a day"] * count


def test_rules_that_exceed_a_cap_together_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a rule counts its own messages alone."""
    played = cap_proof._play

    def one_by_one(book: Rulebook, rules: tuple[Rule, ...], opening: StoryOpening | None) -> object:
        if len(rules) > 1:
            monkeypatch.setattr(send_hours, "_full_caps", lambda *_: [])
        return played(book, rules, opening)

    monkeypatch.setattr(cap_proof, "_play", one_by_one)
    tells = TELL.format(severity="info", who="rights_holder")
    proof = proof_of(limits=CAPPED, first=tells, second=tells)
    (found,) = (example.fault.message for example in proof.found)
    assert found == "3 events bring one person 6 messages, over the cap of 2 a day"


@pytest.mark.parametrize("reverse", [False, True])
def test_the_people_of_a_counterexample_have_one_order(monkeypatch: pytest.MonkeyPatch, *, reverse: bool) -> None:
    """The names of parties are a set, whose own order differs from run to run."""
    ordered = lambda event: dict.fromkeys(sorted(party_fields(event), reverse=reverse))  # noqa: E731 -- used once
    monkeypatch.setattr(opening, "party_fields", ordered)
    book = own_rulebook()
    found = opening_of(book, book.rules[RuleId("blocked-title")], "work.blocked", {})
    assert list(found.people)[:3] == [21, 12, 22]
