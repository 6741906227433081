"""Further answers of a form reach Consonance with the pitch, whatever fields its records have."""

from services.writeback.changes import split_write
from shared.contracts.ids import TenantId
from shared.contracts.writes import RequestWrite
from tests.services.writeback.samples import pitch, request


def test_further_answers_of_a_form_are_lines_below_the_pitch() -> None:
    written = pitch(further={"isbn": "9781784420017", "email": "maud@example.org"})
    write = request(written).data
    assert isinstance(write, RequestWrite)
    (change,) = split_write(TenantId("t"), write)
    assert change.inputs["pitch_text"] == "A beach.\nisbn: 9781784420017\nemail: maud@example.org"


def test_a_pitch_without_further_answers_is_unchanged() -> None:
    write = request(pitch()).data
    assert isinstance(write, RequestWrite)
    (change,) = split_write(TenantId("t"), write)
    assert change.inputs["pitch_text"] == "A beach."
