"""Bundles as typed calls on the client of the API; each raises `ApiProblem` and nothing else."""

from typing import Any

from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard.api.client import ApiClient

WAIT_S = 120.0  # the API packs, or unpacks and checks, every round before it answers


def taken(client: ApiClient, run_id: int) -> bytes:
    """A run whole, as the bytes of a zip file."""
    return client._ask("GET", f"/runs/{run_id}/bundle", timeout=WAIT_S).content


def adapters(client: ApiClient, run_id: int, **choice: Any) -> bytes:
    """Adapters of a run as the bytes of a zip file; `choice` may name device, expert or merged."""
    return client._ask("GET", f"/runs/{run_id}/adapters", params=choice, timeout=WAIT_S).content


def bring_in(client: ApiClient, bundle: bytes) -> RunDetail:
    """Rebuild a run from the bytes of a bundle."""
    return client._model(
        RunDetail,
        "POST",
        "/runs/import",
        content=bundle,
        headers={"content-type": "application/zip"},
        timeout=WAIT_S,
    )
