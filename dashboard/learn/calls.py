"""The experiments of Learn as typed calls; equal questions are asked once."""

from typing import Any, TypeVar

import streamlit as st

from meshtune.backend.schemas.learn import (
    BudgetOut,
    CollisionsOut,
    GrowthOut,
    InterferenceOut,
    RoutingOut,
    SubspacesOut,
)
from meshtune.backend.schemas.runs import Wire
from meshtune.dashboard.api.client import api

M = TypeVar("M", bound=Wire)
LOADING_S = 80.0  # the first question about the model starts a process
ROUTES: dict[type[Wire], str] = {
    InterferenceOut: "interference",
    CollisionsOut: "collision",
    SubspacesOut: "subspaces",
    BudgetOut: "link",
    GrowthOut: "clusters",
    RoutingOut: "routing",
}


def asked(model: type[M], **values: Any) -> M:
    """The answer of the experiment whose result is `model`.

    Raises:
        ApiProblem: the API refused or did not answer.
    """
    return model.model_validate_json(_answer(ROUTES[model], tuple(sorted(values.items()))))


@st.cache_data(max_entries=256, ttl=3600, show_spinner=False)
def _answer(name: str, values: tuple[tuple[str, Any], ...]) -> bytes:
    return api()._ask("GET", f"/learn/{name}", params=dict(values), timeout=LOADING_S).content
