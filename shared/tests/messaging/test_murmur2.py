"""Our murmur2 is Kafka's: another hash would move people to other partitions."""

from aiokafka.partitioner import murmur2 as of_the_client
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel.ids import new_id
from shared.runtime.messaging.murmur2 import murmur2


@given(st.binary(max_size=70))
def test_every_key_has_the_hash_of_the_kafka_client(key: bytes) -> None:
    assert murmur2(key) == of_the_client(key) & 0xFFFFFFFF


def test_keys_of_people_have_the_hash_of_the_kafka_client() -> None:
    keys = [str(new_id()).encode() for _ in range(1000)]

    assert [murmur2(key) for key in keys] == [of_the_client(key) & 0xFFFFFFFF for key in keys]
