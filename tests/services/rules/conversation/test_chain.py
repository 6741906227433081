"""The state machines of a chain and of its steps: every transition is in the table, and every state can be reached."""

from datetime import UTC, datetime

import pytest
from msgspec import Raw

from services.rules.conversation.chain import (
    INITIAL_STATE,
    STEP_TRANSITIONS,
    TRANSITIONS,
    Chain,
    ChainState,
    ChainTransition,
    Ending,
    InvalidChainTransition,
    JoinedEvent,
    StepState,
    StepStatus,
    StepTransition,
)
from shared.contracts.ids import ChainId, EventId, PersonId, Revision, RuleId, TenantId

NOON = datetime(2027, 3, 3, 12, tzinfo=UTC)
ALICE = PersonId("alice")


def running_chain(status: StepStatus = StepStatus.PENDING) -> Chain:
    return Chain(
        chain_id=ChainId("c"),
        tenant=TenantId("penrose"),
        rule=RuleId("rights-approval"),
        revision=Revision("r"),
        subject="request_id=1",
        key="penrose/works/1",
        started_at=NOON,
        base_at=NOON,
        start_name="rights.approval_requested",
        start=Raw(b"{}"),
        steps=(StepState(status=status),),
    )


def chain_in(state: ChainState) -> Chain:
    match state:
        case ChainState.RUNNING:
            return running_chain()
        case ChainState.ASSIGNED:
            return running_chain().assign(ALICE, NOON)
        case ChainState.CLOSING:
            return running_chain().close(Ending.ANSWERED)
        case ChainState.ENDED:
            return running_chain().close(Ending.ANSWERED).finish()


def follow(chain: Chain, transition: ChainTransition) -> Chain:  # noqa: PLR0911 -- one line for each transition
    match transition:
        case ChainTransition.REPLAN:
            return chain.replan("work.blocked", Raw(b"{}"), ())
        case ChainTransition.JOIN:
            joined = JoinedEvent(event_id=EventId("e"), name="work.blocked", data=Raw(b"{}"), at=NOON)
            return chain.join(joined, ())
        case ChainTransition.MIGRATE:
            return chain.migrate(Revision("r2"))
        case ChainTransition.ASSIGN:
            return chain.assign(ALICE, NOON)
        case ChainTransition.GIVE_BACK:
            return chain.give_back(NOON)
        case ChainTransition.CLOSE:
            return chain.close(Ending.DONE)
        case ChainTransition.FINISH:
            return chain.finish()


def follow_step(chain: Chain, transition: StepTransition) -> Chain:
    match transition:
        case StepTransition.BEGIN:
            return chain.begin_step(0, NOON)
        case StepTransition.COMPLETE:
            return chain.complete_step(0)
        case StepTransition.SKIP:
            return chain.skip_step(0)
        case StepTransition.REPEAT:
            return chain.repeat_step(0)


@pytest.mark.parametrize("state", ChainState)
@pytest.mark.parametrize("transition", ChainTransition)
def test_a_chain_follows_the_transitions_of_its_table_and_no_others(
    state: ChainState, transition: ChainTransition
) -> None:
    chain = chain_in(state)
    assert chain.state is state
    if (target := TRANSITIONS.get((state, transition))) is not None:
        assert follow(chain, transition).state is target
    else:
        with pytest.raises(InvalidChainTransition):
            follow(chain, transition)


@pytest.mark.parametrize("status", StepStatus)
@pytest.mark.parametrize("transition", StepTransition)
def test_a_step_follows_the_transitions_of_its_table_and_no_others(
    status: StepStatus, transition: StepTransition
) -> None:
    chain = running_chain(status)
    if (target := STEP_TRANSITIONS.get((status, transition))) is not None:
        assert follow_step(chain, transition).steps[0].status is target
    else:
        with pytest.raises(InvalidChainTransition):
            follow_step(chain, transition)


def test_every_state_of_a_chain_can_be_reached_from_the_first() -> None:
    reached = {INITIAL_STATE}
    for _ in ChainState:
        reached |= {target for (source, _), target in TRANSITIONS.items() if source in reached}
    assert reached == set(ChainState)


def test_a_matter_without_a_person_stays_with_its_owner_when_it_is_closed() -> None:
    assert running_chain().replace(unclaimed=True).close(Ending.DONE).closing is Ending.LEFT_WITH_OWNER


def test_a_repeated_step_is_another_occurrence() -> None:
    assert running_chain(StepStatus.DONE).repeat_step(0).steps[0].occurrence == 1
