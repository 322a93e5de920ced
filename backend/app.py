"""The API: `create_app(settings)`; nothing happens at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from meshtune.backend import errors
from meshtune.backend.fetching import Fetching
from meshtune.backend.guards.auth import SCOPES, TokenGate
from meshtune.backend.guards.limits import SAFE, BodyLimit, ReadRate, WriteRate
from meshtune.backend.guards.origins import OwnPagesOnly, SecurityHeaders
from meshtune.backend.guards.places import Places
from meshtune.backend.plan_cache import Plans
from meshtune.backend.playground.asking import Playground
from meshtune.backend.round_cache import Pages
from meshtune.backend.routes import (
    bundles,
    compare,
    data,
    design,
    docs,
    drafts,
    health,
    learn,
    live,
    metrics,
    models,
    playground,
    rounds,
    runs,
    session,
    sweeps,
)
from meshtune.backend.services.telemetry import Metrics, Observe
from meshtune.backend.settings import Settings, open_store
from meshtune.backend.training.artefacts import open_artefacts

PLANNED = Plans()  # what a config costs depends on nothing else: the apps of a process share it


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over the store of `settings`, or of the environment."""
    chosen = settings or Settings()
    numbers = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = await run_in_threadpool(_opened, chosen, numbers)
        app.state.playground = Playground(open_artefacts(chosen))
        yield
        app.state.fetching.close()
        await run_in_threadpool(app.state.playground.close)
        app.state.engine.dispose()

    app = FastAPI(
        title="Meshtune",
        version=version("meshtune"),
        description="Decentralized federated multi-task LoRA fine-tuning over radio.",
        lifespan=lifespan,
        responses=errors.ANYWHERE,
        telemetry={"auto_configure": False},
        docs_url=None,  # FastAPI's pages load from other hosts; routes/docs.py has our own
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the Host header as an address
    )
    app.state.settings = chosen
    app.state.metrics = numbers
    app.state.pages = Pages()
    app.state.plans = PLANNED
    app.state.fetching = Fetching()
    errors.install(app)
    for module in (
        *(bundles, compare, runs, rounds, live, sweeps),
        *(design, drafts, data, models, playground, learn, health, session, metrics, docs),
    ):
        app.include_router(module.router)
    _guard(app, chosen, numbers)
    _document(app, tokens=chosen.tokens_required)
    return app


def _opened(settings: Settings, numbers: Metrics) -> Engine:
    engine = open_store(settings)
    numbers.watch(engine)
    return engine


def _guard(app: FastAPI, settings: Settings, numbers: Metrics) -> None:
    """Put the doors in front of the router; the last one added is the first to be met."""
    app.add_middleware(ReadRate, per_s=settings.reads_per_s, burst=settings.reads_burst)
    app.add_middleware(Places)  # before the rate: who was refused a place has read nothing
    app.add_middleware(BodyLimit)
    app.add_middleware(WriteRate, per_s=settings.writes_per_s, burst=settings.writes_burst)
    app.add_middleware(TokenGate, required=settings.tokens_required)
    app.add_middleware(
        OwnPagesOnly,
        hosts=settings.host_names,
        # Where tokens are needed a page has none, by whatever name it calls.
        any_host=settings.tokens_required and not settings.host_names,
    )
    app.add_middleware(Observe, metrics=numbers)
    app.add_middleware(SecurityHeaders)


def _document(app: FastAPI, *, tokens: bool) -> None:
    """Say in OpenAPI what the doors may answer, and which tokens they ask for."""
    generate = app.openapi

    def documented() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = generate()
        problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                if method.upper() not in SAFE:
                    for status, told in errors.WRITES.items():
                        answer = {
                            "description": told["description"],
                            "content": {"application/json": problem},
                        }
                        operation["responses"].setdefault(str(status), answer)
                if tokens and (needs := SCOPES.get((method.upper(), path))) is not None:
                    operation["security"] = [{"token": [needs]}]
        if tokens:
            schema["components"]["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"}
            }
        return schema

    app.openapi = documented  # type: ignore[method-assign]
