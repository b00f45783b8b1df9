"""A relay in a process of its own, to be killed: `… relay_process <database> <kafka> <lease s>`."""

import asyncio
import signal
import sys
from datetime import timedelta
from uuid import uuid4

import structlog

from shared.runtime.database.database import open_database
from shared.runtime.messaging.lease import Lease
from shared.runtime.messaging.relay import Relay


async def main(url: str, kafka: str, lease_seconds: float) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    # Nobody reads its output after the first line: a log line there would break the pipe.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    database = open_database(url, source="ledger", pool_size=1)
    lease = Lease(uuid4(), duration=timedelta(seconds=lease_seconds))
    # Small rounds: a kill then hits a relay in the middle of its work.
    relay = Relay(database, bootstrap_servers=kafka, lease=lease, round_rows_max=200)
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await relay.run(stopping)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
