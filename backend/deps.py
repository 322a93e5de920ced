"""What routes ask for: a session to read, a session to write, and who asks."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Path, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from meshtune.backend.plan_cache import Plans
from meshtune.db import moves
from meshtune.db.session import reading, writing

ID_MAX = 2**31 - 1


# async, as they wait for nothing: a thread each would be the dearest part of a cheap answer.
async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


async def _known(request: Request) -> Plans:
    plans: Plans = request.app.state.plans
    return plans


def _reading(engine: Annotated[Engine, Depends(_engine)]) -> Iterator[Session]:
    with reading(engine) as session:
        yield session


def _writing(engine: Annotated[Engine, Depends(_engine)]) -> Iterator[Session]:
    with writing(engine) as session:
        yield session


async def _actor(request: Request) -> str:
    named: str = getattr(request.state, "actor", moves.PERSON)
    return named


# scope="function": committed before the answer leaves, so that an answer is a promise.
Store = Annotated[Engine, Depends(_engine)]
Reading = Annotated[Session, Depends(_reading, scope="function")]
Writing = Annotated[Session, Depends(_writing, scope="function")]
Actor = Annotated[str, Depends(_actor)]
Known = Annotated[Plans, Depends(_known)]
RunId = Annotated[int, Path(ge=1, le=ID_MAX, description="Number of the run")]
