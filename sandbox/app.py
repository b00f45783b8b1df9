"""The web application of the sandbox: wiring, health and reset."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI, Response

from sandbox.bank import Bank, bank_routes
from sandbox.book import Book
from sandbox.channels import CashierChannels
from sandbox.faults.faults import Faults, fault_routes
from sandbox.problems import BodyLimit, Problem, render_problems
from sandbox.settings import SandboxSettings
from sandbox.sms import SmsGateway, sms_routes
from shared.kernel.errors import Refused

# Said here for every route, and instead of the 422 that FastAPI would promise.
PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
}
PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": PROBLEM, "5XX": PROBLEM}


def build_app(
    settings: SandboxSettings, *, book: Book, faults: Faults, channels: CashierChannels | None
) -> FastAPI:
    """The whole HTTP surface over one open book; who opened the book closes it."""
    app = FastAPI(
        lifespan=partial(_lifespan, channels),
        title="Songhe sandbox",
        openapi_url="/sandbox/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.add_middleware(BodyLimit)
    render_problems(app)
    delivery_delay = timedelta(milliseconds=settings.sms_delivery_delay_ms)
    gateway = SmsGateway(book, faults, delivery_delay=delivery_delay)
    bank = Bank(book, faults, seed=settings.seed)
    app.include_router(sms_routes(gateway, faults))
    app.include_router(bank_routes(bank, faults))
    app.include_router(fault_routes(faults))
    for router in channels.routers() if channels else ():
        app.include_router(router)
    app.include_router(_house_routes(book, faults, channels))
    return app


@asynccontextmanager
async def _lifespan(channels: CashierChannels | None, _: FastAPI) -> AsyncIterator[None]:
    async with channels.running() if channels else nullcontext():
        yield


def _house_routes(book: Book, faults: Faults, channels: CashierChannels | None) -> APIRouter:
    router = APIRouter(tags=["house"])

    @router.post("/sandbox/v1/reset", status_code=204)
    async def reset() -> Response:
        # First let go, then forget: a slow call from before the reset books nothing after it.
        faults.release()
        if channels:
            await channels.notifications.forget()
        book.reset()
        return Response(status_code=204)

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/health/ready")
    async def ready() -> dict[str, str]:
        book.rows("SELECT 1 FROM charge LIMIT 1")
        if channels and not channels.is_running:
            raise Refused("not_ready", "A task of the sandbox broke; see its log.", status=503)
        return {"status": "ready"}

    return router
