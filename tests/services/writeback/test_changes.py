"""What only one form asks reaches Consonance with the pitch, whatever fields its records have."""

from services.writeback.changes import split_write
from shared.contracts.ids import TenantId
from shared.contracts.writes import RequestWrite
from tests.services.writeback.samples import pitch, request


def test_answers_to_a_form_s_own_fields_stand_below_the_pitch() -> None:
    asked = pitch(further={"isbn": "9781784420017", "email": "maud@example.org"})
    write = request(asked).data
    assert isinstance(write, RequestWrite)
    (change,) = split_write(TenantId("t"), write)
    assert change.inputs["pitch_text"] == "A beach.\nisbn: 9781784420017\nemail: maud@example.org"


def test_a_pitch_without_further_answers_stays_as_it_is() -> None:
    write = request(pitch()).data
    assert isinstance(write, RequestWrite)
    (change,) = split_write(TenantId("t"), write)
    assert change.inputs["pitch_text"] == "A beach."
