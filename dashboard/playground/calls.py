"""The playground as typed calls on the client of the API; each raises `ApiProblem`."""

from meshtune.backend.schemas.playground import AnsweredOut, AskIn, PlaygroundOut
from meshtune.dashboard.api.client import ApiClient

LOADING_S = 80.0  # the first question starts a process and loads the run


def look(client: ApiClient, run_id: int) -> PlaygroundOut:
    """What can be asked of a run."""
    return client._model(PlaygroundOut, "GET", f"/runs/{run_id}/playground")


def ask(client: ApiClient, asked: AskIn) -> AnsweredOut:
    """What all arms of a device say."""
    body = asked.model_dump(mode="json")
    return client._model(AnsweredOut, "POST", "/playground", json=body, timeout=LOADING_S)
