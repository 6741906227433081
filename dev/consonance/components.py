"""What a launch waits for, in the records that hold it: covers and files are supporting resources, jacket copy is a
marketing text, and whether the metadata are complete stands on the work.
"""

from collections.abc import Mapping
from datetime import date

from dev.consonance.edits import work_of
from dev.consonance.house import House
from dev.consonance.records import MarketingText, SupportingResource
from dev.consonance.trade import PICTURE
from shared.contracts.consonance import Component, ComponentState

_STATUS = {
    ComponentState.DRAFT: "draft",
    ComponentState.IN_REVIEW: "in_review",
    ComponentState.FINAL: "approved",
    ComponentState.REJECTED: "rejected",
}
_STATE = {status: state for state, status in _STATUS.items()}
COVER_COPY = "COVER_COPY"


def set_components(house: House, work_id: int, said: Mapping[Component, ComponentState], today: date) -> None:
    work = work_of(house, work_id)
    for component, state in said.items():
        match component:
            case Component.METADATA:
                work.metadata_status = _STATUS.get(state, "draft")
            case Component.JACKET_COPY:
                _set_copy(house, work_id, state)
            case _:
                _set_resource(house, work_id, component, state)
    work.changed_on = today


def components(house: House, work_id: int) -> dict[Component, ComponentState]:
    work = work_of(house, work_id)
    held = {Component(one.variant): _STATE[one.status] for one in house.resources_of(work_id)}
    copy = [_STATE[text.approval_status] for text in house.texts_of(work_id) if text.variant == COVER_COPY]
    held |= {Component.JACKET_COPY: copy[-1]} if copy else {}
    return held | {Component.METADATA: _STATE[work.metadata_status]}


def _set_copy(house: House, work_id: int, state: ComponentState) -> None:
    texts = [text for text in house.texts_of(work_id) if text.variant == COVER_COPY]
    if state is ComponentState.MISSING:
        for text in texts:
            del house.marketing_texts[text.id]
        return
    if not texts:
        texts = [MarketingText(house.new_id(), work_id, COVER_COPY, house.works[work_id].title)]
        house.marketing_texts[texts[0].id] = texts[0]
    texts[-1].approval_status = _STATUS[state]


def _set_resource(house: House, work_id: int, component: Component, state: ComponentState) -> None:
    held = next((one for one in house.resources_of(work_id) if one.variant == component), None)
    if state is ComponentState.MISSING:
        if held is not None:
            del house.supporting_resources[held.id]
        return
    if held is None:
        id_ = house.new_id()
        caption = component.replace("_", " ").capitalize()
        held = SupportingResource(id_, work_id, str(component), "draft", caption, PICTURE.format(id_))
        house.supporting_resources[id_] = held
    held.status = _STATUS[state]
