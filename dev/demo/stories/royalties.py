"""Two hundred royalty statements, one of them disputed, and a payment held up: never an amount, never a form."""

import re
from typing import Any

from dev.demo.cast import Player
from dev.demo.stage import Stage
from dev.demo.story import Story, london
from dev.demo.transcript import Kind

_FINANCE = 61
_AGENTS = {901: 3001, 902: 3002}  # who is paid, for whom
_AUTHORS = range(3003, 3201)
_PAYEES = (*_AGENTS, *_AUTHORS)
_DISPUTING = 901
_ACKNOWLEDGING = range(3003, 3043)
_FORGETTING = (3043, 3044)  # they are asked to acknowledge, and do not
_UNPAID = 3100

_READY = {"en": "A royalty statement of Penrose & Lisle for", "fr": "Un relevé de droits de Penrose & Lisle du"}
_RECEIVED = {"en": "Received", "fr": "Bien reçu"}
_NOTED = {"en": "Your answer is noted", "fr": "Votre réponse est notée"}
_REMINDER = {"en": "A reminder,", "fr": "Un rappel,"}
_HELD_UP = {"en": "A payment to you is held up", "fr": "Un paiement pour vous est bloqué"}
_DEALT_WITH = {"en": "I have dealt with it", "fr": "C’est réglé"}
_PASSED_ON = {"en": "has your message and will come back to you", "fr": "a votre message et reviendra vers vous"}
_DOCUMENT = {"title": "Statement", "mime": "application/pdf", "sensitivity": "confidential"}
_AMOUNT = re.compile(r"[£€$]|\d[.,]\d\d\b|\b(GBP|EUR|USD)\b")


async def play(stage: Stage) -> None:
    await stage.at(london(4, 14, 14))
    await _statements(stage)
    await _dispute(stage)
    await stage.at(london(4, 15, 14))
    await _payment_issue(stage)
    await stage.at(london(4, 22, 10))
    for contact in _FORGETTING:
        stage.hears(player := stage.world.cast[contact], _REMINDER[player.language])


async def _statements(stage: Stage) -> None:
    """In Consonance's one batch; acknowledgements come within the hour, from people who know what to tap."""
    cast = stage.world.cast
    await stage.world.outside.at_whatsapp("scripts", [_acknowledges(cast[contact]) for contact in _ACKNOWLEDGING])
    events = [_statement(payee) for payee in _PAYEES]
    await stage.consonance(f"{len(events)} royalty statements are ready", "push_batch", {"events": events})
    await stage.at(london(4, 14, 18))
    for contact in _PAYEES:
        message = stage.hears(
            player := cast[contact], _READY[player.language], aloud=contact in (_DISPUTING, 902, 3003)
        )
        stage.expect(not _AMOUNT.search(message.text), "no amount is written", aloud=False)
    stage.tell(Kind.NOTED, "", f"{len(_PAYEES)} payees in all have heard of theirs; no message has an amount")
    for contact in _ACKNOWLEDGING:
        stage.hears(player := cast[contact], _NOTED[player.language], aloud=False)
        wanted = {"document_id": f"S-{contact}", "contact_id": contact, "kind": "acknowledged"}
        await stage.wrote("recordAcknowledgement", aloud=False, **wanted)
    kept = await stage.world.outside.in_consonance("state/acknowledgements")
    stage.expect(len(kept) == len(_ACKNOWLEDGING), f"{len(_ACKNOWLEDGING)} acknowledge by a tap; each is in Consonance")
    stage.silence()


async def _dispute(stage: Stage) -> None:
    cast = stage.world.cast
    agent, finance = cast[_DISPUTING], cast[_FINANCE]
    await stage.at(london(4, 15, 10))
    await stage.taps(agent, "Something is wrong")
    await stage.wrote("recordAcknowledgement", document_id=f"S-{_DISPUTING}", contact_id=_DISPUTING, kind="disputed")
    await stage.reads("acknowledgements", {"document_id": f"S-{_DISPUTING}"}, kind="disputed")
    stage.hears(agent, _PASSED_ON["en"])
    stage.hears(finance, f"{agent.name} says “Something is wrong”")
    await _finance_takes_it(stage)


async def _payment_issue(stage: Stage) -> None:
    payee = stage.world.cast[_UNPAID]
    await stage.push(
        f"a payment to {payee.name} is held up", "royalty.payment_issue",
        payment_id="P-2027-7", payee=_party(_UNPAID), issue="bank_details_missing",
    )  # fmt: skip
    message = stage.hears(payee, _HELD_UP[payee.language])
    stage.expect("://" not in message.text, "it has no link to a form")
    await stage.taps(payee, _DEALT_WITH[payee.language])
    stage.hears(payee, _PASSED_ON[payee.language])
    stage.hears(stage.world.cast[_FINANCE], f"{payee.name} says “I have dealt with it”")
    await _finance_takes_it(stage)


async def _finance_takes_it(stage: Stage) -> None:
    finance = stage.world.cast[_FINANCE]
    await stage.taps(finance, "Take it")
    stage.hears(finance, "You have taken")
    await stage.taps(finance, "Done")
    stage.hears(finance, "Your answer is noted")
    stage.silence()


def _acknowledges(player: Player) -> dict[str, Any]:
    title = _RECEIVED[player.language]
    return {"person": player.handle, "on": {"template": "royalty_statement"}, "do": "tap", "value": title, "after": 900}


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


STORY = Story(
    title="Royalty statements for 200 payees, and a payment held up",
    roles={contact: "agent" if contact in _AGENTS else "payee" for contact in _PAYEES} | {_FINANCE: "finance"},
    play=play,
)
