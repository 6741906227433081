"""Fills what an event says about works and people from the house, so whoever pushes one need only give ids."""

from typing import Any

from dev.consonance.edits import contact_of, work_of
from dev.consonance.house import House
from dev.consonance.titles import credits_of


def work_ref(house: House, work_id: int) -> dict[str, Any]:
    work = work_of(house, work_id)
    return {
        "work_id": work.id,
        "title": work.title,
        "subtitle": work.subtitle,
        "inhouse_ref": work.in_house_work_reference,
        "imprint": {"id": work.imprint_id, "name": house.imprints[work.imprint_id]},
        "contributors_display": credits_of(house, work.id) or None,
        "stage": house.stages[work.project_stage_id],
        "url": f"https://web.consonance.app/works/{work.id}",
    }


def expand(house: House, said: Any) -> Any:
    """A ``work`` that is a number becomes a WorkRef, so do ``works``; a party with a contact id gets kind and name."""
    if isinstance(said, list):
        return [expand(house, one) for one in said]
    if not isinstance(said, dict):
        return said
    filled = {name: expand(house, value) for name, value in said.items()}
    if isinstance(filled.get("work"), int):
        filled["work"] = work_ref(house, filled["work"])
    if isinstance(filled.get("works"), list):
        filled["works"] = [work_ref(house, one) if isinstance(one, int) else one for one in filled["works"]]
    return _party(house, filled) if {"contact_id", "role"} <= filled.keys() else filled


def _party(house: House, said: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(said["contact_id"], int):
        return said
    contact = contact_of(house, said["contact_id"])
    return {"kind": str(contact.kind), "display_name": contact.name, **said}
