"""The picture of what devices hold before a run."""

import pytest

from meshtune.dashboard.figures.mixture import mixture_bars
from meshtune.engine.config import with_values
from meshtune.engine.planning.plan import plan
from tests.support.builders import tiny_config


def test_bars_are_the_shares_of_every_device_and_end_at_a_hundred() -> None:
    config = tiny_config(fleet__devices=5, fleet__tasks=["addition", "reading", "ending"])
    assert mixture_bars(plan(config)) is None
    planned = plan(with_values(config, {"fleet.partition.kind": "dirichlet"}))
    figure = mixture_bars(planned)
    assert figure is not None
    assert [bar.name for bar in figure.data] == ["Reading", "Addition", "Ending"]
    for device, shares in enumerate(planned.devices):
        assert sum(bar.y[device] for bar in figure.data) == pytest.approx(100.0)
        assert figure.data[1].y[device] == pytest.approx(100.0 * shares.mixture["addition"])
