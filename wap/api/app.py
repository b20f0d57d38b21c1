"""The API as one app: its routes, who may use them, and how errors are said."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from wap.api import pipelines, runs
from wap.api.access import Access
from wap.api.ports import Opened, Shelves
from wap.api.problems import RESPONSES, add_handlers

_health = APIRouter(tags=["health"], responses=RESPONSES)


class Health(BaseModel):
    """That it works."""

    status: str = "ok"


@_health.get("/health")
def health(shelves: Opened) -> Health:
    """Whether the API and its database answer; needs no token, and says nothing else."""
    shelves.registry.pipelines(limit=1)
    return Health()


def make_app(shelves: Shelves, access: Access) -> FastAPI:
    """The app over these shelves.

    There are no pages: FastAPI's load their scripts from elsewhere. ``/openapi.json`` is there.
    """
    app = FastAPI(
        title="wap",
        summary="Pipelines in tables, read and changed; runs and reports, read.",
        version=version("wap-lakehouse"),
        docs_url=None,
        redoc_url=None,
    )
    app.state.shelves = shelves
    app.state.access = access
    add_handlers(app)
    for router in (_health, pipelines.router, pipelines.changes, runs.router):
        app.include_router(router)
    return app
