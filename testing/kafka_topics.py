"""Topics with random names for one test, made and removed by a second, independent client."""

import secrets
import time

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.02


class KafkaTopics:
    """Creates topics on one broker and deletes them; blocking."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 3})
        self._created: list[str] = []

    def create(self, partitions: int = 1, *, prefix: str = "test") -> str:
        """The name of a fresh topic whose partitions all have a leader."""
        name = f"{prefix}.{secrets.token_hex(6)}"
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1)
        self._admin.create_topics([topic])[name].result(DEADLINE_SECONDS)
        self._created.append(name)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._is_ready(name, partitions):
            if time.monotonic() > deadline:
                raise TimeoutError(f"topic {name} has no leader after {DEADLINE_SECONDS} s")
            time.sleep(POLL_SECONDS)
        return name

    def delete_all(self) -> None:
        """Delete the topics that were created here."""
        if self._created:
            answers = self._admin.delete_topics(self._created)
            for answer in answers.values():
                answer.result(DEADLINE_SECONDS)
            self._created.clear()

    def _is_ready(self, name: str, partitions: int) -> bool:
        found = self._admin.list_topics(name, timeout=DEADLINE_SECONDS).topics[name]
        leaders = [partition.leader for partition in found.partitions.values()]
        return found.error is None and len(leaders) == partitions and min(leaders) >= 0
