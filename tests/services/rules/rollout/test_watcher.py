"""The action of a replica on the content of its source, depending on the log of activations and on its place in it."""

from datetime import UTC, datetime

import pytest

from services.rules.rollout.activations import Activation
from services.rules.rollout.watcher import SourceRecord, SourceStep, next_step
from shared.contracts.ids import Revision

A, B, C = Revision("a"), Revision("b"), Revision("c")
AT = datetime(2027, 3, 3, 10, tzinfo=UTC)


def walk(*looks: tuple[str, Revision]) -> list[Revision]:
    """The log after these looks of replicas, each with what its source holds then; promotions are by ``operator``."""
    log: list[Revision] = []
    records: dict[str, SourceRecord] = {}
    for replica, revision in looks:
        if replica == "operator":
            log.append(revision)
            continue
        record = records.setdefault(replica, SourceRecord(replica))
        found = max((number for number, one in enumerate(log, 1) if one == revision), default=None)
        active = Activation(len(log), log[-1], None, AT) if log else None
        step = next_step(record, revision, active, found)
        if step is SourceStep.ACTIVATE:
            log.append(revision)
            found = len(log)
        place = record.activation if step is SourceStep.STAY else found
        records[replica] = SourceRecord(replica, revision, None, place)
    return log


@pytest.mark.parametrize(
    ("looks", "log"),
    [
        pytest.param([("0", A), ("1", A)], [A], id="replicas that hold the same activate it once"),
        pytest.param(
            [("0", A), ("1", A), ("0", B), ("1", B)], [A, B], id="a change is activated by the first to see it"
        ),
        pytest.param(
            [("0", A), ("0", B), ("1", A)], [A, B], id="a new replica with an older source brings nothing back"
        ),
        pytest.param(
            [("0", A), ("1", A), ("0", B), ("0", C), ("1", B), ("1", C)], [A, B, C], id="a source that lags moves on"
        ),
        pytest.param([("0", A), ("0", B), ("0", A)], [A, B, A], id="a revert is activated"),
        pytest.param(
            [("0", A), ("1", A), ("0", B), ("1", B), ("1", A), ("0", A)], [A, B, A], id="a revert is activated once"
        ),
        pytest.param([("0", A), ("1", A), ("0", B), ("0", A), ("1", A)], [A, B, A], id="a revert that one never saw"),
        pytest.param(
            [("0", A), ("operator", B), ("0", A)], [A, B], id="a promotion stays while the source is as it was"
        ),
        pytest.param([("0", A), ("operator", B), ("0", C)], [A, B, C], id="a change after a promotion is activated"),
        pytest.param([("0", A), ("operator", B), ("0", B), ("0", A)], [A, B, A], id="a revert after a promotion"),
    ],
)
def test_the_log_goes_forward_and_a_revert_is_a_step_forward(looks: list[tuple[str, Revision]], log: list[str]) -> None:
    assert walk(*looks) == log
