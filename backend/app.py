"""The API: `create_app(settings)`; nothing happens at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from backend import errors
from backend.limits import BodyLimit
from backend.routes import design, health, rounds, runs
from backend.settings import Settings, open_store


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over the store of `settings`, or of the environment."""
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = await run_in_threadpool(open_store, chosen)
        yield
        app.state.engine.dispose()

    app = FastAPI(
        title="Meshtune",
        version=version("meshtune"),
        description="Decentralized federated multi-task LoRA fine-tuning over radio.",
        lifespan=lifespan,
        responses=errors.ANYWHERE,
        telemetry={"auto_configure": False},
    )
    app.add_middleware(BodyLimit)
    errors.install(app)
    for module in (runs, rounds, design, health):
        app.include_router(module.router)
    return app
