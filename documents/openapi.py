"""The OpenAPI document of each service, from its router alone: nothing has to run."""

import importlib
import importlib.util
import json
from pathlib import Path

from documents.services import service_names
from shared.runtime.http.web import build_app

FOLDER = Path("docs/openapi")


def documents() -> dict[Path, str]:
    """Path below the project's root → content."""
    return {
        FOLDER / f"{service}.json": _document(service)
        for service in service_names()
        if importlib.util.find_spec(f"services.{service}.adapters.http.api")
    }


def _document(service: str) -> str:
    api = importlib.import_module(f"services.{service}.adapters.http.api")
    app = build_app(service, router=api.router)
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"
