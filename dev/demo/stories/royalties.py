"""Two hundred royalty statements, one of them disputed, and a payment held up: never an amount, never a form."""

import re
from typing import Any

from dev.demo.people import DemoPerson
from dev.demo.story import DemoStory, LineKind, london
from dev.demo.story_run import StoryRun

_FINANCE = 61
_AGENTS = {901: 3001, 902: 3002}  # who is paid, for whom
_AUTHORS = range(3003, 3201)
_PAYEES = (*_AGENTS, *_AUTHORS)
_DISPUTING = 901
_ACKNOWLEDGING = range(3003, 3043)
_FORGETTING = (3043, 3044)  # they are asked to acknowledge, and do not
_UNPAID = 3100

_READY = {"en": "Royalty statements of Penrose & Lisle for", "fr": "Vos relevés de droits de Penrose & Lisle du"}
_RECEIVED = {"en": "Received", "fr": "Bien reçu"}
_NOTED = {"en": "Your answer is noted", "fr": "Votre réponse est notée"}
_REMINDER = {"en": "A reminder,", "fr": "Un rappel,"}
_HELD_UP = {"en": "A payment to you is held up", "fr": "Un paiement pour vous est bloqué"}
_DEALT_WITH = {"en": "I have dealt with it", "fr": "C’est réglé"}
_PASSED_ON = {"en": "has your message and will come back to you", "fr": "a votre message et reviendra vers vous"}
_DOCUMENT = {"title": "Statement", "mime": "application/pdf", "sensitivity": "confidential"}
_AMOUNT = re.compile(r"[£€$]|\d[.,]\d\d\b|\b(GBP|EUR|USD)\b")


async def play(run: StoryRun) -> None:
    await run.wait_until(london(4, 14, 14))
    await _statements(run)
    await _dispute(run)
    await run.wait_until(london(4, 15, 14))
    await _payment_issue(run)
    await run.wait_until(london(4, 22, 10))
    for contact in _FORGETTING:
        run.expect_message(person := run.people[contact], _REMINDER[person.language])


async def _statements(run: StoryRun) -> None:
    """In Consonance's one batch; acknowledgements come within the hour, from people who know what to tap."""
    people = run.people
    await run.context.simulators.whatsapp("scripts", [_acknowledges(people[contact]) for contact in _ACKNOWLEDGING])
    events = [_statement(payee) for payee in _PAYEES]
    await run.change(f"{len(events)} royalty statements are ready", "push_batch", {"events": events})
    await run.wait_until(london(4, 14, 18))
    for contact in _PAYEES:
        message = run.expect_message(
            person := people[contact], _READY[person.language], in_transcript=contact in (_DISPUTING, 902, 3003)
        )
        run.expect(not _AMOUNT.search(message.text), "no amount is written", in_transcript=False)
    run.note(LineKind.CHECKED, "", f"{len(_PAYEES)} payees in all have heard of theirs; no message has an amount")
    for contact in _ACKNOWLEDGING:
        run.expect_message(person := people[contact], _NOTED[person.language], in_transcript=False)
        wanted = {"document_id": f"S-{contact}", "contact_id": contact, "kind": "acknowledged"}
        await run.expect_write("recordAcknowledgement", in_transcript=False, **wanted)
    kept = await run.context.simulators.consonance("state/acknowledgements")
    run.expect(len(kept) == len(_ACKNOWLEDGING), f"{len(_ACKNOWLEDGING)} acknowledge by a tap; each is in Consonance")
    run.expect_no_message()


async def _dispute(run: StoryRun) -> None:
    people = run.people
    agent, finance = people[_DISPUTING], people[_FINANCE]
    await run.wait_until(london(4, 15, 10))
    await run.tap(agent, "Something is wrong")
    await run.expect_write(
        "recordAcknowledgement", document_id=f"S-{_DISPUTING}", contact_id=_DISPUTING, kind="disputed"
    )
    await run.expect_record("acknowledgements", {"document_id": f"S-{_DISPUTING}"}, kind="disputed")
    run.expect_message(agent, _PASSED_ON["en"])
    run.expect_message(finance, f"{agent.name} says “Something is wrong”")
    await _finance_takes_it(run)


async def _payment_issue(run: StoryRun) -> None:
    payee = run.people[_UNPAID]
    await run.push(
        f"a payment to {payee.name} is held up", "royalty.payment_issue",
        payment_id="P-2027-7", payee=_party(_UNPAID), issue="bank_details_missing",
    )  # fmt: skip
    message = run.expect_message(payee, _HELD_UP[payee.language])
    run.expect("://" not in message.text, "it has no link to a form")
    await run.tap(payee, _DEALT_WITH[payee.language])
    run.expect_message(payee, _PASSED_ON[payee.language])
    run.expect_message(run.people[_FINANCE], f"{payee.name} says “I have dealt with it”")
    await _finance_takes_it(run)


async def _finance_takes_it(run: StoryRun) -> None:
    finance = run.people[_FINANCE]
    await run.tap(finance, "Take it")
    run.expect_message(finance, "You have taken")
    await run.tap(finance, "Done")
    run.expect_message(finance, "Your answer is noted")
    run.expect_no_message()


def _acknowledges(person: DemoPerson) -> dict[str, Any]:
    title = _RECEIVED[person.language]
    return {"person": person.handle, "on": {"template": "royalty_statement"}, "do": "tap", "value": title, "after": 900}


def _party(contact: int) -> dict[str, object]:
    return {"contact_id": contact, "role": "agent" if contact in _AGENTS else "author"}


def _statement(payee: int) -> dict[str, object]:
    data = {
        "statement_id": f"S-{payee}", "batch_id": "B-2027-1", "period": {"from": "2026-10-01", "to": "2027-03-31"},
        "payee": _party(payee), "currency": "GBP", "has_payment": True,
        "ack_required": payee in (_DISPUTING, *_ACKNOWLEDGING, *_FORGETTING),
        "document": {"doc_id": f"D-{payee}", "kind": "statement", **_DOCUMENT},
    }  # fmt: skip
    if payee in _AGENTS:
        data["beneficiary"] = {"contact_id": _AGENTS[payee], "role": "author"}
    return {"type": "royalty.statement_ready", "subject": f"statements/S-{payee}", "data": data}


STORY = DemoStory(
    title="Royalty statements for 200 payees, and a payment held up",
    roles={contact: "agent" if contact in _AGENTS else "payee" for contact in _PAYEES} | {_FINANCE: "finance"},
    play=play,
)
