"""Builds the publisher the simulator starts with: the cast of the stories from seed/, and a list around it that is put
together from the same folder. The same seed number gives the same publisher.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from dev.consonance.backlist import Backlist
from dev.consonance.house import House
from dev.consonance.phones import Switchboard
from dev.consonance.records import Contact, ContactKind, Contract, Contribution, MarketingText, SupportingResource, Work
from dev.consonance.trade import PICTURE, edition

_SEED = Path(__file__).parent / "seed"
_SIGNED_FROM_STAGE = 2
_LANGUAGES = {"GB": "en", "US": "en", "FR": "fr", "DE": "de", "SE": "sv"}
_FIRST_CAST_PRODUCT = 94_741
_FIRST_CONTRACT = 88


def publisher(seed: int) -> House:
    house = _house(_read("house"))
    switchboard = Switchboard()
    people = _read("people")
    for contact_id, said in people["staff"].items():
        _add_contact(house, switchboard, contact_id, {"country": "GB", "town": "London", "staff": True, **said})
    for group in ("people", "organisations"):
        for contact_id, said in people[group].items():
            _add_contact(house, switchboard, contact_id, said)
    for number, (work_id, said) in enumerate(_read("works").items()):
        _add_work(house, work_id, said, number)
    Backlist(house, switchboard, _read("backlist"), seed).fill()
    return house


@cache
def _read(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((_SEED / f"{name}.yaml").read_text("utf-8"))


def _house(said: Mapping[str, Any]) -> House:
    series = {id_: {"id": id_, **one} for id_, one in said["series"].items()}
    return House(name=said["name"], imprints=dict(said["imprints"]), stages=dict(said["stages"]), series=series)


def _add_contact(house: House, switchboard: Switchboard, contact_id: int, said: Mapping[str, Any]) -> None:
    name = said["name"]
    organisation = isinstance(name, str)
    given, family = (name, None) if organisation else name
    country = said["country"]
    house.contacts[contact_id] = Contact(
        id=contact_id,
        kind=ContactKind.ORGANISATION if organisation else ContactKind.PERSON,
        given_name=given,
        key_names=family,
        country=country,
        town=said["town"],
        phones=_phones(switchboard, contact_id, said),
        emails=[{"email": f"contact-{contact_id}@example.org"}],
        contact_tags=_tags(said),
        biographical_note=said.get("bio"),
        agency_id=said.get("agency"),
    )


def _phones(switchboard: Switchboard, contact_id: int, said: Mapping[str, Any]) -> list[dict[str, str]]:
    if "as_written" in said:
        return [{"phone_number": said["as_written"], "phone_type": "home"}]
    if said.get("no_phone"):
        return []
    national = contact_id % 3 == 0
    kind = "work" if isinstance(said["name"], str) else "mobile"
    return [{"phone_number": switchboard.number(said["country"], national=national), "phone_type": kind}]


def _tags(said: Mapping[str, Any]) -> list[str]:
    tags = ["staff"] if said.get("staff") else []
    if "role" in said:
        tags.append(f"role:{said['role']}")
    return [*tags, f"language:{said.get('language', _LANGUAGES[said['country']])}"]


def _add_work(house: House, work_id: int, said: Mapping[str, Any], number: int) -> None:
    house.works[work_id] = Work(
        id=work_id,
        title=said["title"],
        subtitle=said["subtitle"],
        imprint_id=said["imprint"],
        project_stage_id=said["stage"],
        in_house_work_reference=said["reference"],
        season="Autumn 2027",
        marketing_tier="Lead",
        subjects={"THEMA": ["WTL", "DNL"], "BISAC": ["TRV010000"], "BIC": ["WTL"]},
        series_id=said.get("series"),
        part_number=str(number + 1) if "series" in said else None,
        embargo_until=said.get("embargo"),
    )
    for place, (contact_id, role) in enumerate(said["people"].items()):
        one = house.new_id()
        house.contributions[one] = Contribution(one, work_id, contact_id, role, place + 1)
    for place, (form, day) in enumerate(said["products"].items()):
        product = edition(_FIRST_CAST_PRODUCT + number * 10 + place, work_id, form, day, status="02")
        house.products[product.id] = product
    _add_launch(house, work_id, said)
    _add_contract(house, work_id, said, number)


def _add_launch(house: House, work_id: int, said: Mapping[str, Any]) -> None:
    final = said.get("final", ())
    cover, text, short = house.new_id(), house.new_id(), house.new_id()
    status = "approved" if "front_cover" in final else "draft"
    house.supporting_resources[cover] = SupportingResource(
        cover, work_id, "front_cover", status, "Front cover", PICTURE.format(cover)
    )
    house.marketing_texts[text] = MarketingText(text, work_id, "COVER_COPY", said["copy"])
    house.marketing_texts[short] = MarketingText(
        short, work_id, "SHORT_DESCRIPTION", f"**{said['title']}**\n\n{said['copy']}", approval_status="approved"
    )


def _add_contract(house: House, work_id: int, said: Mapping[str, Any], number: int) -> None:
    contract_id = _FIRST_CONTRACT + number
    first_day = min(said["products"].values())
    house.contracts[contract_id] = Contract(
        id=contract_id,
        work_id=work_id,
        contract_name=f"{said['title']}: head contract",
        signed_date=first_day.replace(year=first_day.year - 2) if said["stage"] >= _SIGNED_FROM_STAGE else None,
        ms_delivery_date=first_day.replace(year=first_day.year - 1),
        delivery_dates=[
            {
                "id": contract_id * 10,
                "date_due": first_day.replace(year=first_day.year - 1),
                "deliverable_type": "Manuscript",
                "delivery_requirement": "Complete text with captions",
                "percentage_of_total": 100.0,
                "slipped_date": None,
            }
        ],
        licensed_rights=[
            {"id": contract_id * 10 + place, "right_type": right, "author_cut": cut}
            for place, (right, cut) in enumerate((("Translation", 80.0), ("Audio", 75.0), ("First serial", 90.0)))
        ],
    )
