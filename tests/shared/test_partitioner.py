"""Our spelling of Kafka's partitioner against aiokafka's."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.topics import PARTITIONS
from shared.runtime.kafka import partition, partition_for_key

EVERY = list(range(PARTITIONS))


@given(st.binary(max_size=200))
def test_every_key_is_where_any_other_client_would_put_it(key: bytes) -> None:
    assert partition(key, EVERY, EVERY) == DefaultPartitioner()(key, EVERY, EVERY)


def test_without_a_key_only_available_partitions_count() -> None:
    assert partition(None, EVERY, [7]) == 7


def test_a_key_is_named_by_the_same_partition() -> None:
    assert partition_for_key("pelican/works/61417") == partition(b"pelican/works/61417", EVERY, EVERY)
