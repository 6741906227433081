"""The judge of the delivery promise catches ledgers that were doctored, and finds nothing in those that were not."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dev.chaos.checks.files import Violation
from dev.chaos.checks.verdict import CHECKS
from tests.dev.chaos.ledgers import ANNA, BEN, Ledgers, clean, iso

_NOT_OF_A_SMALL_RUN = "too little judged"


def violations(told: Ledgers) -> list[Violation]:
    files = told.files()
    return [found for check in CHECKS for found in check(files).violations if found.check != _NOT_OF_A_SMALL_RUN]


def test_a_run_as_it_should_be_has_no_violation() -> None:
    assert violations(clean()) == []


# ------------------------------------------------------------------ doctored, one by one


def _lost_event(told: Ledgers) -> None:
    _forget(told, "topics", lambda row: row["event"]["id"] == "d-e-notice")


def _lost_before_the_topic(told: Ledgers) -> None:
    _forget(told, "topics", lambda row: row["event"]["id"] == "e-unblock")


def _lost_word(told: Ledgers) -> None:
    _forget(told, "topics", lambda row: row["event"]["id"] == "k-w-stop")


def _decided_twice(told: Ledgers) -> None:
    told.decide("e-notice", 5, {"chain_id": "c-notice", "reason": "started", "messages": ["m-notice"]})


def _two_decisions(told: Ledgers) -> None:
    told.silent("e-notice", at=5)


def _parked(told: Ledgers) -> None:
    told.rows["parked"].append({"service": "rules", "event": "e-notice", "reason": "refused", "sentence": "no"})


def _effect_never_left(told: Ledgers) -> None:
    told.push("e-other", "work.blocked", 40)
    told.decide("e-other", 40.1, {"chain_id": "c-x", "reason": "started", "messages": ["m-nowhere"]})


def _no_end(told: Ledgers) -> None:
    _forget(told, "topics", lambda row: row["event"]["id"].startswith(("accepted-m-notice", "q-accepted-m-notice")))


def _withdrawal_unanswered(told: Ledgers) -> None:
    told.hear("m-offer", "accepted", 21.4)
    _forget(told, "topics", lambda row: "withdrawn-m-offer" in row["event"]["id"])


def _notice_never_sent(told: Ledgers) -> None:
    _forget(told, "sent", lambda row: row["biz_opaque_callback_data"] == "m-notice.1")


def _doubled(told: Ledgers) -> None:
    told.send("m-notice", 12, attempt=2)


def _doubled_by_another_id(told: Ledgers) -> None:
    told.ask("m-again", 1.3, "e-notice", say="chaos_notice", body="words of m-notice")
    told.send("m-again", 4)


def _never_asked_for(told: Ledgers) -> None:
    told.send("m-strange", 40)


def _after_the_withdrawal(told: Ledgers) -> None:
    told.send("m-offer", 25)


def _late_reminder(told: Ledgers) -> None:
    _again(told, "m-reminder", 14)


def _reminder_asked_for_after_the_answer(told: Ledgers) -> None:
    told.ask(
        "m-late", 9.4, "c-rights@9", say="chaos_reminder", rule="chaos-rights", chain_id="c-rights", buttons=[{}]
    )  # fmt: skip
    told.send("m-late", 9.6)


def _after_stop(told: Ledgers) -> None:
    told.ask("m-noted", 29.9, "k-w-stop", say="noted", person_id=BEN)
    told.send("m-noted", 41, BEN)


def _asked_for_after_stop(told: Ledgers) -> None:
    told.ask("m-more", 30.3, "e-block", say="chaos_notice", person_id=BEN)
    told.send("m-more", 30.6, BEN)


def _overtaken(told: Ledgers) -> None:
    _again(told, "m-notice", 3)


def _too_fast(told: Ledgers) -> None:
    for number in range(60):
        told.ask(f"m-{number}", 50, f"cause-{number}", person_id=ANNA)
        told.send(f"m-{number}", 50 + number * 0.5)


def _number_too_fast(told: Ledgers) -> None:
    for number in range(40):
        told.ask(f"m-{number}", 50, f"cause-{number}")
        told.send(f"m-{number}", 50 + number * 0.001)


def _refused_for_its_rate(told: Ledgers) -> None:
    told.rows["counts"][0]["errors"]["answer"]["131056"] = 2


def _early(told: Ledgers) -> None:
    for row in told.rows["topics"]:
        if row["event"]["id"] in {"m-reminder", "d-c-rights@8.2"}:
            row["event"]["recordedtime"] = row["event"]["time"] = iso(6)


def _before_the_answer(told: Ledgers) -> None:
    """The answer arrived at 5, long before the reminder was due, and was judged after it."""
    for row in told.rows["topics"]:
        if row["event"]["id"] == "k-w-answer":
            row["seen_at"] -= 4


def _unwritten(told: Ledgers) -> None:
    _forget(told, "topics", lambda row: row["event"]["id"] in {"x-approve", "v-x-approve", "q-v-x-approve"})


def _asked_to_write_twice(told: Ledgers) -> None:
    told.write("x-other", 9.5, "c-rights", operation="rights.record_decision", request_id="R-2", decision="approved")


def _write_without_an_end(told: Ledgers) -> None:
    _forget(told, "topics", lambda row: row["event"]["id"] in {"v-x-approve", "q-v-x-approve"})


def _never_written(told: Ledgers) -> None:
    told.rows["written"].clear()


def _written_twice(told: Ledgers) -> None:
    told.rows["written"].append(copy.deepcopy(told.rows["written"][0]))


_DOCTORED: Sequence[tuple[Callable[[Ledgers], None], str]] = (
    (_lost_event, "lost event"),
    (_lost_before_the_topic, "lost event"),
    (_lost_word, "lost event"),
    (_decided_twice, "decided twice"),
    (_two_decisions, "lost event"),
    (_parked, "parked in vain"),
    (_effect_never_left, "lost effect"),
    (_no_end, "message without an end"),
    (_withdrawal_unanswered, "withdrawal without an end"),
    (_notice_never_sent, "lost notice"),
    (_doubled, "doubled message"),
    (_doubled_by_another_id, "said twice"),
    (_never_asked_for, "unasked message"),
    (_after_the_withdrawal, "send after withdrawal"),
    (_late_reminder, "late reminder"),
    (_late_reminder, "send after the end"),
    (_reminder_asked_for_after_the_answer, "late reminder"),
    (_after_stop, "send after STOP"),
    (_asked_for_after_stop, "send after STOP"),
    (_overtaken, "overtaken message"),
    (_too_fast, "limit exceeded"),
    (_number_too_fast, "limit exceeded"),
    (_refused_for_its_rate, "limit exceeded"),
    (_early, "early timer"),
    (_before_the_answer, "timer before the answer"),
    (_unwritten, "unwritten answer"),
    (_asked_to_write_twice, "write asked for twice"),
    (_write_without_an_end, "write without an end"),
    (_never_written, "said to be written"),
    (_written_twice, "written twice"),
)


@pytest.mark.parametrize(("doctor", "check"), _DOCTORED, ids=[f"{d.__name__[1:]}: {c}" for d, c in _DOCTORED])
def test_what_was_doctored_is_caught(doctor: Callable[[Ledgers], None], check: str) -> None:
    told = clean()
    doctor(told)
    assert check in {found.check for found in violations(told)}


def test_a_repetition_that_was_declared_is_none() -> None:
    told = clean()
    told.hear("m-notice", "resolved", 11, resolution="resent")
    told.send("m-notice", 12, attempt=2)
    assert violations(told) == []


def test_a_send_whose_attempt_was_begun_when_the_withdrawal_came_is_in_flight() -> None:
    told = clean()
    told.send("m-offer", 22.9)
    told.hear("m-offer", "too_late", 22.9)
    assert violations(told) == []


def test_one_that_was_called_uncertain_may_be_overtaken() -> None:
    told = clean()
    told.hear("m-notice", "uncertain", 2)
    _again(told, "m-notice", 3)
    assert violations(told) == []


def test_one_that_was_still_in_flight_may_not() -> None:
    told = clean()
    told.hear("m-notice", "uncertain", 5)
    _again(told, "m-notice", 3)
    assert {found.check for found in violations(told)} == {"overtaken message"}


def test_a_run_that_judged_too_little_proves_nothing() -> None:
    found = [one for check in CHECKS for one in check(clean().files()).violations if one.check == _NOT_OF_A_SMALL_RUN]
    said = " ".join(one.sentence for one in found)
    assert "0 pitches recorded" in said
    assert "no strike was “kill rules”" in said
    assert "no answer was spoiled by “whatsapp hang”" in said


def test_what_was_left_when_patience_ended_is_told() -> None:
    files = clean().files()
    unfinished = replace(files, run={**files.run, "left": {"chains alive": 2}})
    found = [str(one) for check in CHECKS for one in check(unfinished).violations]
    assert "never finished: 2 chains alive when the run was given up []" in found


def _forget(told: Ledgers, name: str, which: Callable[[Any], bool]) -> None:
    told.rows[name] = [row for row in told.rows[name] if not which(row)]


def _again(told: Ledgers, message_id: str, second: float) -> None:
    """Move the sending of a message."""
    for name in ("sent", "attempts"):
        for row in told.rows[name]:
            if f"{message_id}.1" in {
                row.get("biz_opaque_callback_data"),
                f"{row.get('message_id')}.{row.get('attempt')}",
            }:
                row["at" if name == "sent" else "begun_at"] = iso(second)
