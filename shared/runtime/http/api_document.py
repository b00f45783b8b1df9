"""The OpenAPI document of a service: FastAPI's, with our problem answers instead of its own."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from shared.runtime.http.problems import MEDIA_TYPE, Problem

REFERENCE = {"$ref": "#/components/schemas/Problem"}
UNUSED_SCHEMAS = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made once; every operation tells that errors are problem documents."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, routes=app.routes, description=app.description
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name in UNUSED_SCHEMAS:
            schemas.pop(name, None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        for operation in _operations(document):
            _describe_problems(operation)
        app.openapi_schema = document
    return app.openapi_schema


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from (operation for method, operation in item.items() if method != "parameters")


def _describe_problems(operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    if "HTTPValidationError" in str(responses.get("422")):
        responses["422"] = _answer("The request is not valid: see errors")
    if "security" in operation:
        responses.setdefault("401", _answer("The token is missing, expired or not valid"))
    if "requestBody" in operation:
        responses.setdefault("413", _answer("The body is larger than 64 KiB"))
        responses.setdefault("415", _answer("The body is not application/json"))
    responses.setdefault("503", _answer("Try again after Retry-After"))
    responses.setdefault("default", _answer("A problem: see code"))


def _answer(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": REFERENCE}}}
