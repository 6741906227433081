"""A pseudonym stands for what contains a phone number: always the same one, and nothing can be read from it."""

import base64

from shared.contracts.ids import TenantId
from shared.runtime.credentials import Pseudonymizer

KEY = b"an-installations-own-key-of-32-bytes"
NUMBER = "447700900123"
STANDS = "8b357ee2ea0f9949bfea0a63eb2438a5"  # by hmac and sha256, computed once
WAMID = "wamid." + base64.b64encode(b"\x1c\x18\x0c" + NUMBER.encode() + b"\x15\x02\x00\x12\x18\x043A7B\x00").decode()


def test_the_same_wamid_has_the_same_pseudonym_in_every_process() -> None:
    assert Pseudonymizer(KEY).for_wamid(WAMID) == Pseudonymizer(KEY).for_wamid(WAMID) == STANDS


def test_another_key_or_another_wamid_gives_another_pseudonym() -> None:
    made = {Pseudonymizer(key).for_wamid(wamid) for key in (KEY, KEY + b".") for wamid in (WAMID, WAMID + "=")}
    assert len(made) == 4


def test_a_strangers_person_id_cannot_be_found_by_trying_every_number() -> None:
    tenant = TenantId("penrose")
    assert Pseudonymizer(KEY).visitor_id(tenant, NUMBER) != Pseudonymizer(b"a guess" * 6).visitor_id(tenant, NUMBER)


def test_the_key_does_not_show() -> None:
    assert KEY.decode() not in repr(Pseudonymizer(KEY))
