"""Bundles as typed calls on the client of the API; each raises `ApiProblem` and nothing else."""

from backend.schemas import RunDetail
from dashboard.client import ApiClient

UPLOAD_S = 120.0  # the API unpacks, checks and stores every round before it answers


def bring_in(client: ApiClient, bundle: bytes) -> RunDetail:
    """Rebuild a run from the bytes of a bundle."""
    return client._model(
        RunDetail,
        "POST",
        "/runs/import",
        content=bundle,
        headers={"content-type": "application/zip"},
        timeout=UPLOAD_S,
    )
