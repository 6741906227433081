"""Each check of the delivery promise finds the fault in a falsified run, and none in a run without a fault."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dev.chaos.checks.files import Violation
from dev.chaos.checks.verdict import CHECKS
from tests.dev.chaos.small_run import ANNA, BEN, SmallRun, clean, iso

_NEEDS_A_LONG_RUN = "too little judged"


def violations(run: SmallRun) -> list[Violation]:
    files = run.files()
    return [found for check in CHECKS for found in check(files).violations if found.check != _NEEDS_A_LONG_RUN]


def test_a_run_without_a_fault_has_no_violation() -> None:
    assert violations(clean()) == []


# ------------------------------------------------------------------ falsified, one by one


def _lost_event(run: SmallRun) -> None:
    _forget(run, "topics", lambda row: row["event"]["id"] == "d-e-notice")


def _lost_before_the_topic(run: SmallRun) -> None:
    _forget(run, "topics", lambda row: row["event"]["id"] == "e-unblock")


def _lost_word(run: SmallRun) -> None:
    _forget(run, "topics", lambda row: row["event"]["id"] == "k-w-stop")


def _decided_twice(run: SmallRun) -> None:
    run.decide("e-notice", 5, {"chain_id": "c-notice", "reason": "started", "messages": ["m-notice"]})


def _two_decisions(run: SmallRun) -> None:
    run.silent("e-notice", at=5)


def _parked(run: SmallRun) -> None:
    run.rows["parked"].append({"service": "rules", "event": "e-notice", "reason": "refused", "sentence": "no"})


def _effect_never_left(run: SmallRun) -> None:
    run.push("e-other", "work.blocked", 40)
    run.decide("e-other", 40.1, {"chain_id": "c-x", "reason": "started", "messages": ["m-nowhere"]})


def _no_end(run: SmallRun) -> None:
    _forget(run, "topics", lambda row: row["event"]["id"].startswith(("accepted-m-notice", "q-accepted-m-notice")))


def _withdrawal_unanswered(run: SmallRun) -> None:
    run.message_event("m-offer", "accepted", 21.4)
    _forget(run, "topics", lambda row: "withdrawn-m-offer" in row["event"]["id"])


def _notice_never_sent(run: SmallRun) -> None:
    _forget(run, "sent", lambda row: row["biz_opaque_callback_data"] == "m-notice.1")


def _doubled(run: SmallRun) -> None:
    run.send("m-notice", 12, attempt=2)


def _doubled_by_another_id(run: SmallRun) -> None:
    run.ask("m-again", 1.3, "e-notice", say="chaos_notice", body="words of m-notice")
    run.send("m-again", 4)


def _never_asked_for(run: SmallRun) -> None:
    run.send("m-strange", 40)


def _after_the_withdrawal(run: SmallRun) -> None:
    run.send("m-offer", 25)


def _late_reminder(run: SmallRun) -> None:
    _again(run, "m-reminder", 14)


def _reminder_asked_for_after_the_answer(run: SmallRun) -> None:
    run.ask(
        "m-late", 9.4, "c-rights@9", say="chaos_reminder", rule="chaos-rights", chain_id="c-rights", buttons=[{}]
    )  # fmt: skip
    run.send("m-late", 9.6)


def _offered_when_taken(run: SmallRun) -> None:
    """Ben's offer waits for the dispatcher while Anna takes the matter."""
    offer = {"rule": "chaos-blocked", "chain_id": "c-block", "say": "chaos_blocked"}
    for message, person in (("m-take", ANNA), ("m-other", BEN)):
        buttons = [{"button_id": f"s1.{message}.take.mac"}]
        run.ask(message, 10.2, "e-block", person_id=person, line=f"of {person}", buttons=buttons, **offer)
    run.send("m-take", 10.5)
    run.tap("w-take", 12, "m-take", "take")
    run.decide("k-w-take", 12.2, {"chain_id": "c-block", "reason": "answered", "step": "take"})
    run.chain("c-block", "chaos-blocked", closing="handled", ended="handled")
    run.send("m-other", 20, BEN)


def _reminded_when_given_back(run: SmallRun) -> None:
    matter = {"rule": "chaos-blocked", "chain_id": "c-block", "say": "taken", "line": "block"}
    run.ask("m-taken", 10.2, "e-block", buttons=[{"button_id": "s1.m-taken.done.mac"}], **matter)
    run.send("m-taken", 10.5)
    run.ask("m-idle", 11, "e-idle", buttons=[{"button_id": "s1.m-idle.done.mac"}], **matter)
    run.tap("w-back", 12, "m-taken", "give_back")
    run.decide("k-w-back", 12.2, {"chain_id": "c-block", "reason": "answered", "step": "give_back"})
    run.chain("c-block", "chaos-blocked", closing="handled", ended="handled")
    run.send("m-idle", 20)


def _after_stop(run: SmallRun) -> None:
    run.ask("m-noted", 29.9, "k-w-stop", say="noted", person_id=BEN)
    run.send("m-noted", 41, BEN)


def _asked_for_after_stop(run: SmallRun) -> None:
    run.ask("m-more", 30.3, "e-block", say="chaos_notice", person_id=BEN)
    run.send("m-more", 30.6, BEN)


def _overtaken(run: SmallRun) -> None:
    _again(run, "m-notice", 3)


def _too_fast(run: SmallRun) -> None:
    for number in range(60):
        run.ask(f"m-{number}", 50, f"cause-{number}", person_id=ANNA)
        run.send(f"m-{number}", 50 + number * 0.5)


def _number_too_fast(run: SmallRun) -> None:
    for number in range(40):
        run.ask(f"m-{number}", 50, f"cause-{number}")
        run.send(f"m-{number}", 50 + number * 0.001)


def _refused_for_its_rate(run: SmallRun) -> None:
    run.rows["counts"][0]["errors"]["answer"]["131056"] = 2


def _early(run: SmallRun) -> None:
    for row in run.rows["topics"]:
        if row["event"]["id"] in {"m-reminder", "d-c-rights@8.2"}:
            row["event"]["recordedtime"] = row["event"]["time"] = iso(6)


def _before_the_answer(run: SmallRun) -> None:
    """The answer arrived at 5, long before the reminder was due, and was judged after it."""
    for row in run.rows["topics"]:
        if row["event"]["id"] == "k-w-answer":
            row["seen_at"] -= 4


def _in_the_night(run: SmallRun) -> None:
    _again(run, "m-notice", 25)


def _unwritten(run: SmallRun) -> None:
    _forget(run, "topics", lambda row: row["event"]["id"] in {"x-approve", "v-x-approve", "q-v-x-approve"})


def _asked_to_write_twice(run: SmallRun) -> None:
    run.write("x-other", 9.5, "c-rights", operation="rights.record_decision", request_id="R-2", decision="approved")


def _write_without_an_end(run: SmallRun) -> None:
    _forget(run, "topics", lambda row: row["event"]["id"] in {"v-x-approve", "q-v-x-approve"})


def _never_written(run: SmallRun) -> None:
    run.rows["written"].clear()


def _written_twice(run: SmallRun) -> None:
    run.rows["written"].append(copy.deepcopy(run.rows["written"][0]))


_FALSIFIED: Sequence[tuple[Callable[[SmallRun], None], str]] = (
    (_lost_event, "lost event"),
    (_lost_before_the_topic, "lost event"),
    (_lost_word, "lost event"),
    (_decided_twice, "decided twice"),
    (_two_decisions, "lost event"),
    (_parked, "parked without a reason"),
    (_effect_never_left, "lost effect"),
    (_no_end, "message without an end"),
    (_withdrawal_unanswered, "withdrawal without an end"),
    (_notice_never_sent, "lost notice"),
    (_doubled, "message sent twice"),
    (_doubled_by_another_id, "text sent twice"),
    (_never_asked_for, "message without a request"),
    (_after_the_withdrawal, "send after withdrawal"),
    (_late_reminder, "late reminder"),
    (_late_reminder, "send after the end"),
    (_reminder_asked_for_after_the_answer, "late reminder"),
    (_offered_when_taken, "offer after it was taken"),
    (_reminded_when_given_back, "offer after it was taken"),
    (_after_stop, "send after STOP"),
    (_asked_for_after_stop, "send after STOP"),
    (_overtaken, "overtaken message"),
    (_too_fast, "limit exceeded"),
    (_number_too_fast, "limit exceeded"),
    (_refused_for_its_rate, "limit exceeded"),
    (_early, "early timer"),
    (_before_the_answer, "timer before the answer"),
    (_in_the_night, "sent in quiet hours"),
    (_unwritten, "unwritten answer"),
    (_asked_to_write_twice, "write asked for twice"),
    (_write_without_an_end, "write without an end"),
    (_never_written, "write missing in Consonance"),
    (_written_twice, "written twice"),
)


@pytest.mark.parametrize(("falsify", "check"), _FALSIFIED, ids=[f"{d.__name__[1:]}: {c}" for d, c in _FALSIFIED])
def test_a_falsified_run_has_the_violation(falsify: Callable[[SmallRun], None], check: str) -> None:
    run = clean()
    falsify(run)
    assert check in {found.check for found in violations(run)}


def test_a_declared_repetition_is_no_violation() -> None:
    run = clean()
    run.message_event("m-notice", "resolved", 11, resolution="resent")
    run.send("m-notice", 12, attempt=2)
    assert violations(run) == []


def test_a_send_whose_attempt_was_begun_when_the_withdrawal_came_is_in_flight() -> None:
    run = clean()
    run.send("m-offer", 22.9)
    run.message_event("m-offer", "too_late", 22.9)
    assert violations(run) == []


def test_a_reminder_from_before_the_answer_came_is_no_timer() -> None:
    """A colleague gave the matter back at 4, and it was asked again at once; the answer came at 5, due was 8."""
    run = clean()
    _before_the_answer(run)
    for row in run.rows["topics"]:
        if row["event"]["data"].get("message_id") == "m-reminder" and row["topic"] == "messages.requested":
            row["event"]["recordedtime"] = row["event"]["time"] = iso(4)
    assert "timer before the answer" not in {found.check for found in violations(run)}


def test_a_message_known_as_uncertain_may_be_overtaken() -> None:
    run = clean()
    run.message_event("m-notice", "uncertain", 2)
    _again(run, "m-notice", 3)
    assert violations(run) == []


def test_a_message_in_flight_may_not_be_overtaken() -> None:
    run = clean()
    run.message_event("m-notice", "uncertain", 5)
    _again(run, "m-notice", 3)
    assert {found.check for found in violations(run)} == {"overtaken message"}


def test_a_run_that_judged_too_little_fails() -> None:
    found = [one for check in CHECKS for one in check(clean().files()).violations if one.check == _NEEDS_A_LONG_RUN]
    said = " ".join(one.sentence for one in found)
    assert "0 pitches recorded" in said
    assert "no disruption was “kill rules”" in said
    assert "no answer had the fault “whatsapp hang”" in said


def test_work_left_at_the_end_of_a_run_is_reported() -> None:
    files = clean().files()
    unfinished = replace(files, run={**files.run, "left": {"chains alive": 2}})
    found = [str(one) for check in CHECKS for one in check(unfinished).violations]
    assert "never finished: 2 chains alive when the run was given up []" in found


def test_a_quorum_that_a_stop_completes_is_no_earlier_end() -> None:
    """Ben may be asked while Anna's answer waits for his; his STOP ends the chain."""
    run = clean()
    asked = {"rule": "chaos-metadata", "chain_id": "c-both", "buttons": [{"button_id": "b"}], "say": "chaos_confirm"}
    run.push("e-both", "metadata.confirmation_requested", 10)
    run.ask("m-anna", 10.2, "e-both", **asked)
    run.ask("m-ben", 10.2, "e-both", person_id=BEN, line="second", **asked)
    run.decide("e-both", 10.2, {"chain_id": "c-both", "reason": "started", "messages": ["m-anna", "m-ben"]})
    run.send("m-anna", 10.5)
    run.tap("w-both", 11, "m-anna", "confirm")
    run.decide("k-w-both", 11.2, {"chain_id": "c-both", "reason": "waits_for_quorum", "step": "0"})
    run.send("m-ben", 25, BEN)
    stop = next(row for row in run.rows["topics"] if row["event"]["data"].get("about") == "k-w-stop")
    stop["event"]["data"]["verdicts"].append({"chain_id": "c-both", "reason": "answered", "step": "0"})
    given = {"person_id": ANNA, "answer": "confirm", "final": True, "wamid": "w-both"}
    run.chain("c-both", "chaos-metadata", given=[given], closing="answered", ended="answered")
    assert violations(run) == []


def _forget(run: SmallRun, name: str, which: Callable[[Any], bool]) -> None:
    run.rows[name] = [row for row in run.rows[name] if not which(row)]


def _again(run: SmallRun, message_id: str, second: float) -> None:
    """Move the sending of a message."""
    for name in ("sent", "attempts"):
        for row in run.rows[name]:
            if f"{message_id}.1" in {
                row.get("biz_opaque_callback_data"),
                f"{row.get('message_id')}.{row.get('attempt')}",
            }:
                row["at" if name == "sent" else "begun_at"] = iso(second)


def test_a_chain_ends_when_its_owner_is_told_and_not_when_it_was_taken() -> None:
    """The time of a hand-over may run out while an event about a delivery is handled."""
    run = clean()
    offer = {"rule": "chaos-blocked", "chain_id": "c-left", "say": "chaos_blocked"}
    run.ask("m-left", 10.2, "e-left", line="left", buttons=[{"button_id": "s1.m-left.take.mac"}], **offer)
    run.ask("m-idle", 14, "e-left", line="left", buttons=[{"button_id": "s1.m-idle.done.mac"}], **offer)
    run.send("m-left", 10.5)
    run.decide("k-taken", 12.2, {"chain_id": "c-left", "reason": "answered", "step": "take"})
    run.send("m-idle", 16)
    run.ask("m-owner", 20, "e-left", line="left", chain_id="c-left", say="left_with_owner")
    run.decide("k-idle", 20.2, {"chain_id": "c-left", "reason": "delivery", "messages": ["m-owner"], "step": "0"})
    run.chain("c-left", "chaos-blocked", closing="left_with_owner", ended="left_with_owner")
    assert "send after the end" not in {found.check for found in violations(run)}


def test_a_decision_may_know_a_stop_that_was_decided_after_its_instant() -> None:
    run = clean()
    run.push("e-batch", "work.stage_changed", 29.9, to_stage="N-batch", work={"work_id": 8})
    knew = {"chain_id": "c-batch", "reason": "started", "left_out": {BEN: "opted_out"}}
    run.decide("e-batch", 29.95, knew)
    late = next(row for row in run.rows["topics"] if row["event"]["id"] == "d-e-batch")
    late["seen_at"] += 60
    assert "lost notice" not in {found.check for found in violations(run)}


def test_a_message_whose_hours_were_amended_may_leave_in_those_and_is_not_withdrawn() -> None:
    run = clean()
    _in_the_night(run)
    hours = [{"opens": iso(20), "closes": iso(30)}]
    data = {"message_id": "m-notice", "person_id": ANNA, "open_hours": hours}
    run.record("messages.requested", "messages.amendment.requested", "a-m-notice", 15, data)
    assert {found.check for found in violations(run)}.isdisjoint({"sent in quiet hours", "withdrawal without an end"})
