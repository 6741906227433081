"""kill -9 in the middle of batches: every event takes effect once, every answer leaves once, each key in order."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial

import pytest

from shared.contracts.topics import MESSAGES_REQUESTED
from tests.shared.promise.testbed import DeliveryTestbed, event, until

pytestmark = pytest.mark.integration
KEYS = [f"person-{number}" for number in range(40)]


def by_key(message_ids: Iterable[str]) -> dict[str, list[str]]:
    """The numbers of each key, in order, each where it came first."""
    found: dict[str, list[str]] = defaultdict(list)
    for message_id in dict.fromkeys(message_ids):
        key, _, number = message_id.partition("#")
        found[key].append(number)
    return found


async def test_killed_in_the_middle_of_batches(testbed: DeliveryTestbed) -> None:
    each = 200
    await testbed.produce(event(key, number) for number in range(each) for key in KEYS)
    for kill in range(5):
        sample = await testbed.sample(STET_SAMPLE_PAUSE="0.02")
        reached = (kill + 1) * 1000
        await until(partial(testbed.reached, reached))
        await sample.kill()
    await testbed.sample()
    await until(testbed.all_read)
    ids = [event_id for event_id, _ in await testbed.effects()]
    assert set(Counter(ids).values()) == {1}
    assert all(numbers == sorted(numbers) for numbers in by_key(ids).values())
    said = [record.value for record in await testbed.read(MESSAGES_REQUESTED.name)]
    assert len(set(said)) == each * len(KEYS)
