"""The small experiments of Learn: each an engine function behind a few numbers."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from meshtune.backend.playground.asking import Playground
from meshtune.backend.schemas.learn import (
    BudgetOut,
    CollisionsOut,
    GrowthOut,
    InterferenceOut,
    RoutingOut,
    SubspacesOut,
)
from meshtune.engine.explain import experiments as explain

router = APIRouter(prefix="/learn", tags=["learn"])

Seed = Annotated[int, Query(ge=0, le=10_000)]
Density = Annotated[float, Query(gt=0, le=1, description="Share of B that a device holds")]
LAYERS = 4  # of the embedded model


@router.get("/interference")
def interfere(
    width: Annotated[int, Query(ge=4, le=512)] = 160,
    rank: Annotated[int, Query(ge=1, le=64)] = 8,
    density: Density = 1.0,
    orthogonal: bool = True,
    seed: Seed = 0,
) -> InterferenceOut:
    """What a second adapter adds to the output of the first."""
    found = explain.interference(width, rank, density, orthogonal=orthogonal, seed=seed)
    return InterferenceOut.model_validate(vars(found))


@router.get("/collision")
def collide(
    devices: Annotated[int, Query(ge=1, le=explain.DEVICES_MOST)] = 4,
    density: Density = 0.3,
    seed: Seed = 0,
) -> CollisionsOut:
    """How often masks of several devices meet."""
    return CollisionsOut.model_validate(vars(explain.collisions(devices, density, seed)))


@router.get("/subspaces")
def spread(width: Annotated[int, Query(ge=4, le=256)] = 160, seed: Seed = 0) -> SubspacesOut:
    """How far apart random subspaces are, by rank."""
    return SubspacesOut.model_validate(vars(explain.subspaces(width, seed)))


@router.get("/link")
def transmit(
    distance_m: Annotated[float, Query(ge=1, le=2000)] = 80.0,
    bandwidth_hz: Annotated[float, Query(ge=1e4, le=1e9)] = 2e6,
    power_dbm: Annotated[float, Query(ge=-30, le=40)] = 10.0,
    payload_bits: Annotated[float, Query(ge=1, le=1e12)] = 1e6,
) -> BudgetOut:
    """The budget of one message, and how long it takes."""
    found = explain.budget(distance_m, bandwidth_hz, power_dbm, payload_bits)
    return BudgetOut.model_validate(vars(found))


@router.get("/clusters")
def grow(
    devices: Annotated[int, Query(ge=2, le=40)] = 12,
    density: Density = 0.2,
    collision_max: Annotated[float, Query(ge=0, le=1)] = 0.3,
    seed: Seed = 0,
) -> GrowthOut:
    """How clusters grow, merge by merge."""
    return GrowthOut.model_validate(vars(explain.growth(devices, density, collision_max, seed)))


@router.get("/routing")
def route(request: Request, layer: Annotated[int, Query(ge=0, lt=LAYERS)] = 1) -> RoutingOut:
    """Who would answer unseen prompts, by a gate that nobody trained."""
    playground: Playground = request.app.state.playground
    return playground.route(layer)
