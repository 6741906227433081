"""The table of a write's state transitions."""

import pytest

from services.writeback.write_state import TRANSITIONS, WriteEvent, WriteState, source_states, target_state


def test_every_event_leads_somewhere() -> None:
    assert {event for _, event in TRANSITIONS} == set(WriteEvent)


def test_every_state_is_reached_from_queued() -> None:
    reached, pending = set[WriteState](), [WriteState.QUEUED]
    while pending:
        state = pending.pop()
        reached.add(state)
        pending += {target for (source, _), target in TRANSITIONS.items() if source is state} - reached
    assert reached == set(WriteState)


def test_a_settled_write_is_final() -> None:
    assert WriteState.SETTLED not in {source for source, _ in TRANSITIONS}


def test_a_task_is_left_only_when_it_is_closed() -> None:
    assert [event for source, event in TRANSITIONS if source is WriteState.MANUAL] == [WriteEvent.TASK_CLOSED]


def test_the_store_asks_for_the_states_of_an_event() -> None:
    assert source_states(WriteEvent.OUTCOME_RECORDED) == [WriteState.QUEUED, WriteState.INTENT]
    assert target_state(WriteEvent.OUTCOME_RECORDED) is WriteState.SETTLED
    with pytest.raises(ValueError, match="unpack"):
        target_state(WriteEvent.POSTPONED)
