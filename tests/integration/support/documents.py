"""The OpenAPI documents of the running services, operation by operation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from devstack.stack import Stack
from shared.catalogue import SERVICES

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as the document describes it; `guard` is the token it wants."""

    service: str
    method: str
    path: str
    guard: str
    parameters: tuple[str, ...]
    has_body: bool

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"


async def operations(stack: Stack) -> list[Operation]:
    """Every operation of every service."""
    found: list[Operation] = []
    async with httpx2.AsyncClient(trust_env=False, timeout=10.0) as client:
        for service in SERVICES:
            answer = await client.get(f"{stack.urls[service]}/{service}/v1/openapi.json")
            answer.raise_for_status()
            found += _operations_of(service, answer.json())
    return found


def _operations_of(service: str, document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                operation = item[method]
                yield Operation(
                    service=service,
                    method=method,
                    path=path,
                    guard=_guard(operation.get("security", document.get("security", []))),
                    parameters=tuple(
                        parameter["name"]
                        for parameter in operation.get("parameters", [])
                        if parameter["in"] == "path"
                    ),
                    has_body="requestBody" in operation,
                )


def _guard(security: list[dict[str, Any]]) -> str:
    names = {name for entry in security for name in entry}
    assert len(names) <= 1, names
    return next(iter(names), "public")
