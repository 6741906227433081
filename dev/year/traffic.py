"""The traffic of one week: the eight jobs in small numbers, with people who answer and people who never do.

Every week has the same shape, so that equal phases of the year can be compared; the seed chooses who and which title.
"""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaProducer

from dev.demo.people import DemoPeople, DemoPerson, register_people
from dev.demo.simulators import Simulators
from shared.contracts.canonical import canonical_hash
from shared.contracts.consonance import MetadataField
from shared.runtime.clock import Clock

_STAGES = ("First proofs", "Author proof review", "Revised proofs", "Final proof approved")
_STAGED, _RIGHTS_WORKS, _CONFIRMED, _BLOCKED, _DATED = 61417, (61418, 61420), 61421, 61424, 61419
_HOLDERS, _CONFIRMER, _DESIGNER = (814, 813), 803, 830
_PAYEES = range(3003, 3083)
_STATEMENTS = 6
_JOINING = range(3100, 3106)
"""Contacts that get the number of a stranger, one every second week: the two are one person from then on."""
_FIRST_NUMBER = 447700910000
_ANSWERS = {
    "en": ("Approve", "Confirm", "Received", "On time", "I have dealt with it"),
    "fr": ("J’autorise", "Je confirme", "Bien reçu", "C’est réglé"),
}
_STAFF_ANSWERS = ("Take it", "Done")
_FORM: tuple[tuple[dict[str, str], str, str], ...] = (
    ({"contains": "working title"}, "type", "A book of {name}"),
    ({"contains": "Which kind of book"}, "type", "2"),
    ({"contains": "written with AI"}, "tap", "No"),
    ({"contains": "Send the manuscript"}, "document", "{name}.pdf"),
    ({"button": "Send"}, "tap", "Send"),
)


@dataclass
class Traffic:
    """Every call returns at once; things happen while the clock, which is business time, moves on."""

    simulators: Simulators
    people: DemoPeople
    clock: Clock
    producer: AIOKafkaProducer
    seed: int
    _strangers: int = 0
    _joined: int = 0
    _last_pitch: DemoPerson | None = None
    _chance: random.Random = field(default_factory=random.Random)

    async def begin(self) -> None:
        """Let those who answer answer everything they are asked, from now on; a third of the payees never do."""
        scripts = []
        for contact, person in self.people.by_contact.items():
            if contact in _PAYEES and contact % 3 == 0:
                continue
            titles = _STAFF_ANSWERS if contact < 100 else _ANSWERS.get(person.language, ())
            scripts += [
                {
                    "person": person.handle,
                    "on": {"button": title},
                    "do": "tap",
                    "value": title,
                    "after": 900,
                    "times": None,
                }
                for title in titles
            ]
        await self.simulators.whatsapp("scripts", scripts)

    async def monday(self, week: int) -> None:
        self._chance = random.Random(f"{self.seed}/{week}")
        await self._consonance("PATCH", f"works/{_STAGED}", stage=_STAGES[week % len(_STAGES)])
        await self._rights(week)
        await self._confirmation(week)
        await self._royalties(week)
        await self._block(week)
        await self._milestone(week)
        await self._strangers_write(week)
        await self._send_as(self.people[805], line="main", text=f"By the way, the photographs of week {week} are here")
        await self._send_as(self.people[808], line="main", text="STOP")
        await self._spoil_a_record(week)
        await self.simulators.poll()

    async def wednesday(self, week: int) -> None:
        user = {"type": "user", "id": "11"}
        await self._push("work.unblocked", work=_BLOCKED, block_id=f"B-{week}", resolved_by=user)
        await self._send_as(self.people[808], line="main", text="START")
        if self._last_pitch is not None:
            await self._send_as(self._last_pitch, line="acquisitions", text=f"One more thing, in week {week}")
        if week % 2:
            await self._stranger_becomes_a_contact()
        await self.simulators.poll()

    async def friday(self, week: int) -> None:
        """The milestone of the week before is done."""
        if week:
            await self._consonance("PATCH", f"milestones/M-{week - 1}", done_on=self._day(0))
        await self.simulators.poll()

    # ------------------------------------------------------------------ Consonance

    async def _rights(self, week: int) -> None:
        for place, (holder, work) in enumerate(zip(_HOLDERS, _RIGHTS_WORKS, strict=True)):
            await self._consonance(
                "POST", "rights_requests", request_id=f"R-{week}-{place}", work_id=work, rights_holder=holder,
                respond_by=self._day(18),
            )  # fmt: skip

    async def _confirmation(self, week: int) -> None:
        known = (await self.simulators.consonance(f"works/{_CONFIRMED}"))["subtitle"]
        item = {
            "item_id": f"I-{week}", "field": "subtitle", "level": "work", "target_ids": [_CONFIRMED],
            "current_value": known, "current_hash": canonical_hash(MetadataField.SUBTITLE, known),
            "proposed_value": f"The trains of week {week}",
        }  # fmt: skip
        await self._push(
            "metadata.confirmation_requested", work=_CONFIRMED, request_id=f"MC-{week}", items=[item], quorum="all",
            confirmers=[{"contact_id": _CONFIRMER, "role": "author"}], respond_by=self._day(10),
        )  # fmt: skip

    async def _royalties(self, week: int) -> None:
        payees = [_PAYEES[(week * _STATEMENTS + place) % len(_PAYEES)] for place in range(_STATEMENTS)]
        for payee in payees:
            await self._push(
                "royalty.statement_ready", statement_id=f"S-{week}-{payee}", batch_id=f"B-{week}", currency="GBP",
                period={"from": self._day(-180), "to": self._day(0)}, payee=_author(payee), has_payment=True,
                ack_required=True,
                document={
                    "doc_id": f"D-{week}-{payee}", "kind": "statement", "title": "Statement",
                    "mime": "application/pdf", "sensitivity": "confidential",
                },
            )  # fmt: skip
        unpaid = self._chance.choice(payees)
        await self._push(
            "royalty.payment_issue", payment_id=f"P-{week}", payee=_author(unpaid), issue="bank_details_missing"
        )

    async def _block(self, week: int) -> None:
        await self._push(
            "work.blocked", work=_BLOCKED, block_id=f"B-{week}", cause="missing_approval", blocking="files_to_press",
            detail="the printer has no signed-off cover", severity=self._chance.choice(("critical", "warning")),
            owner={"contact_id": 71, "role": "owner"}, since=self.clock.now().isoformat(),
            escalation=[{"contact_id": 12, "role": "escalation_1"}, {"contact_id": 11, "role": "escalation_2"}],
        )  # fmt: skip

    async def _milestone(self, week: int) -> None:
        await self._consonance(
            "POST", "milestones", milestone_id=f"M-{week}", work_id=_DATED, name="First layouts",
            milestone_key="first_layouts", due_on=self._day(9),
            affected=[{"contact_id": _DESIGNER, "role": "designer"}],
        )  # fmt: skip

    # ------------------------------------------------------------------ WhatsApp

    async def _strangers_write(self, week: int) -> None:
        """One fills the form and sends a file, one gives up at its first question, one only asks."""
        pitching, leaving, asking = [await self._stranger(week, place) for place in range(3)]
        await self.simulators.whatsapp("scripts", list(_form_answers(pitching)))
        await self._send_as(pitching, line="acquisitions", text=f"I have written a book, it is by {pitching.name}")
        await self._send_as(leaving, line="acquisitions", text=f"Do you read poems? By {leaving.name}")
        await self._send_as(asking, line="main", text=f"When is the shop open, asks {asking.name}")
        self._last_pitch = pitching

    async def _stranger(self, week: int, place: int) -> DemoPerson:
        self._strangers += 1
        number = str(_FIRST_NUMBER + self._strangers)
        person = DemoPerson(f"stranger-{week}-{place}", f"Stranger {_in_letters(self._strangers)}", "en", "GB", number)
        await register_people(self.simulators, [person])
        return person

    async def _stranger_becomes_a_contact(self) -> None:
        if self._last_pitch is not None:
            phones = [{"phone_number": f"+{self._last_pitch.phone}"}]
            await self._consonance("PATCH", f"contacts/{_JOINING[self._joined % len(_JOINING)]}", phones=phones)
            self._joined += 1

    async def _spoil_a_record(self, week: int) -> None:
        """A record that no service can read; each reader of the topic parks it."""
        await self.producer.send_and_wait("whatsapp.messages", f"spoilt in week {week}".encode(), b"penrose/spoilt")

    # ------------------------------------------------------------------ calls

    def _day(self, days: int) -> str:
        return (self.clock.now() + timedelta(days=days)).date().isoformat()

    async def _send_as(self, who: DemoPerson, **message: object) -> None:
        await self.simulators.whatsapp("inbound", {"from": who.handle, **message})

    async def _push(self, kind: str, **data: object) -> None:
        await self._consonance("POST", "push", type=kind, data=data)

    async def _consonance(self, method: str, path: str, /, **body: object) -> Any:
        return await self.simulators.consonance(path, body, method)


def _form_answers(person: DemoPerson) -> list[dict[str, Any]]:
    return [
        {"person": person.handle, "on": dict(on), "do": do, "value": value.format(name=person.handle), "after": 300}
        for on, do, value in _FORM
    ]


def _author(contact: int) -> dict[str, object]:
    return {"contact_id": contact, "role": "author"}


def _in_letters(number: int) -> str:
    """Digits do not make a name: rules would take the person for one without."""
    return "".join("abcdefghij"[int(digit)] for digit in str(number)).capitalize()
