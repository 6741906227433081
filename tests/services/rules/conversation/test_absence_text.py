"""The words of members of staff when they go on leave and come back, in several languages."""

from datetime import date

import pytest

from services.rules.conversation.absence_text import AbsenceText, Leave, UnclearLeave, read_absence
from shared.contracts.ids import PersonId

WEDNESDAY = date(2027, 3, 3)
JANE, JOHN, JOHNNY = PersonId("jane"), PersonId("john"), PersonId("johnny")
NAMES = {JANE: "Jane Okafor", JOHN: "John Smith", JOHNNY: "John Doe"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Away till Monday, Jane covers", Leave(WEDNESDAY, date(2027, 3, 8), JANE)),
        ("I'm on leave until 14 July. Jane Okafor is covering for me.", Leave(WEDNESDAY, date(2027, 7, 14), JANE)),
        (
            "out of office from July 5th to July 16th, please ask Okafor",
            Leave(date(2027, 7, 5), date(2027, 7, 16), JANE),
        ),
        ("I will be away tomorrow", Leave(date(2027, 3, 4), date(2027, 3, 4))),
        ("away from Friday till Tuesday", Leave(date(2027, 3, 5), date(2027, 3, 9))),
        ("Away till 2027-07-16", Leave(WEDNESDAY, date(2027, 7, 16))),
        ("away, back on Monday 8 March", Leave(WEDNESDAY, date(2027, 3, 7))),
        ("on holiday until 1 February", Leave(WEDNESDAY, date(2028, 2, 1))),
        ("Absente jusqu’au 14 juillet, Jane me remplace. Merci !", Leave(WEDNESDAY, date(2027, 7, 14), JANE)),
        ("Je suis en congé du 5 juillet au 16 juillet", Leave(date(2027, 7, 5), date(2027, 7, 16))),
        ("Im Urlaub bis Montag, Jane vertritt mich", Leave(WEDNESDAY, date(2027, 3, 8), JANE)),
        ("Estoy de vacaciones hasta el 14 julio", Leave(WEDNESDAY, date(2027, 7, 14))),
        ("I am away from 12 to 14 July, Jane covers", Leave(date(2027, 7, 12), date(2027, 7, 14), JANE)),
        ("away from the 12th to the 14th of July 2027", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("Away 12–14 July", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("away 5-7 July", Leave(date(2027, 7, 5), date(2027, 7, 7))),
        ("away from 5/7 to 9/7", Leave(date(2027, 7, 5), date(2027, 7, 9))),
        ("out of office July 12 to 14", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("away from Monday 12 to Friday 16 July", Leave(date(2027, 7, 12), date(2027, 7, 16))),
        ("away from 28 to 3 August", Leave(date(2027, 7, 28), date(2027, 8, 3))),
        ("away from 29 to 2 January", Leave(date(2027, 12, 29), date(2028, 1, 2))),
        ("away until the 14th", Leave(WEDNESDAY, date(2027, 3, 14))),
        ("away until the 2nd", Leave(WEDNESDAY, date(2027, 4, 2))),
        ("Absent du 12 au 14 juillet", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("Im Urlaub vom 12. bis zum 14. Juli", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("Estoy de vacaciones del 12 al 14 de julio de 2027", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("Estou ausente até 14 de julho", Leave(WEDNESDAY, date(2027, 7, 14))),
        ("afwezig van 12 tot 14 juli", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("I'm out of the office until Monday, Jane covers", Leave(WEDNESDAY, date(2027, 3, 8), JANE)),
        ("not in the office till Monday", Leave(WEDNESDAY, date(2027, 3, 8))),
        ("On annual leave from 12 to 14 July", Leave(date(2027, 7, 12), date(2027, 7, 14))),
        ("Absente du bureau jusqu’au 14 juillet", Leave(WEDNESDAY, date(2027, 7, 14))),
        ("Ich bin bis Montag in Urlaub", Leave(WEDNESDAY, date(2027, 3, 8))),
        ("Außer Haus bis Montag", Leave(WEDNESDAY, date(2027, 3, 8))),
        ("Ik ben met vakantie tot 14 juli", Leave(WEDNESDAY, date(2027, 7, 14))),
        ("away from 30 to 31 February", None),
        ("away from 31 to 2 March", None),
        ("away from 12 to 14", None),
        ("away till Monday, John covers", UnclearLeave.WHO_COVERS),
        ("away till Monday, Gwendolen covers", UnclearLeave.WHO_COVERS),
        ("I am away", UnclearLeave.UNTIL_WHEN),
        ("away, Jane covers", UnclearLeave.UNTIL_WHEN),
        ("away until 30 February", None),
        ("away till 2031-01-01", UnclearLeave.UNTIL_WHEN),
        ("I'm back", "back"),
        ("Je suis de retour, merci", "back"),
        ("The cover is away from the spine until page 3", None),
        ("Monday is fine", None),
        ("I am away till Monday but the proofs are on my desk", None),
        ("", None),
    ],
)
def test_a_text_says_from_when_to_when_and_who_covers(text: str, meant: AbsenceText | None) -> None:
    assert read_absence(text, WEDNESDAY, lambda: NAMES) == meant
