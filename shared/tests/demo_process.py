"""A process for tests: `python -m shared.tests.demo_process <what it does wrong>`."""

import asyncio
import sys

from fastapi import APIRouter

from shared.runtime.ground.logs import configure_logs
from shared.runtime.http.server import HttpServer, serve
from shared.runtime.http.web import build_app
from shared.runtime.process.health import Health
from shared.runtime.process.process import run, run_process
from shared.runtime.process.settings import Address
from testing.eventually import eventually

router = APIRouter(prefix="/demo/v1")


@router.get("/slow")
async def slow() -> dict[str, str]:
    tell("slow request begun")
    await asyncio.sleep(0.5)
    return {"is": "finished"}


class Part:
    """Tells when it starts and stops."""

    def __init__(self, name: str, fault: str) -> None:
        self.name = name
        self._fault = fault

    async def run(self, stopping: asyncio.Event) -> None:
        tell(f"{self.name} started")
        if self._fault == "raises":
            raise RuntimeError("broken part")
        if self._fault == "returns":
            return
        await stopping.wait()
        if self._fault == "hangs":
            await asyncio.sleep(3600)
        if self._fault == "raises late":
            raise RuntimeError("broken part")
        tell(f"{self.name} stopped")


class Announcer:
    """Tells the server's port once it is known."""

    name = "announcer"

    def __init__(self, server: HttpServer) -> None:
        self._server = server

    async def run(self, stopping: asyncio.Event) -> None:
        await eventually(lambda: self._server.port != 0)
        tell(f"http {self._server.port}")
        await stopping.wait()


def tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def main(fault: str, metrics_port: int, grace_seconds: float) -> int:
    async def close() -> None:
        tell("pool closed")
        if fault == "close fails":
            raise RuntimeError("broken pool")

    async def close_last() -> None:
        tell("last closed")

    app = build_app("demo", router=router)
    server = serve(app, "127.0.0.1", 0)
    return await run_process(
        [Announcer(server), server, Part("first", fault), Part("second", "")],
        closing=[close, close_last],
        grace_seconds=grace_seconds,
        health=Health(),
        operations=Address("127.0.0.1", metrics_port),
    )


if __name__ == "__main__":
    configure_logs(service="demo", process="test")
    sys.exit(run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
