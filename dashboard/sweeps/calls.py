"""Sweeps as typed calls on the client of the API; each raises `ApiProblem` and nothing else."""

from typing import Any

from meshtune.backend.schemas.sweeps import SweepDetail, SweepList
from meshtune.dashboard.api.client import ApiClient
from meshtune.engine.sweep import SweepSpec
from meshtune.engine.sweep_results import Metric


def sweeps(client: ApiClient, limit: int = 50) -> SweepList:
    """The newest sweeps."""
    return client._model(SweepList, "GET", "/sweeps", params={"limit": limit})


def sweep(client: ApiClient, sweep_id: int, metric: Metric = "accuracy_all") -> SweepDetail:
    """One sweep; its best row is by `metric`."""
    params: dict[str, Any] = {"metric": metric}
    return client._model(SweepDetail, "GET", f"/sweeps/{sweep_id}", params=params)


def start(client: ApiClient, spec: SweepSpec) -> SweepDetail:
    """Queue the runs of a sweep."""
    return client._model(SweepDetail, "POST", "/sweeps", json=spec.model_dump(mode="json"))


def stop(client: ApiClient, sweep_id: int) -> SweepDetail:
    """Cancel what only this sweep wants."""
    return client._model(SweepDetail, "POST", f"/sweeps/{sweep_id}/stop")


def table_csv(client: ApiClient, sweep_id: int) -> bytes:
    """The table of a sweep as a file."""
    return client._ask("GET", f"/sweeps/{sweep_id}/table.csv").content
