"""The stored results of the presets are those of the presets as they are."""

import pytest

from meshtune.engine.config import config_hash
from meshtune.engine.presets import load_preset, preset_names
from meshtune.engine.presets.stored import stored_result
from meshtune.engine.reproduce.preset_results import recorded

ROUNDS = 4  # enough for a round that differs to be seen


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_a_result_of_its_own_config(name: str) -> None:
    result = stored_result(name)
    assert result is not None, f"run `make results ARGS={name}`"
    assert result.config_sha256 == config_hash(load_preset(name).config), (
        f"{name}.toml changed; run `make results`"
    )
    curves = (result.accuracy_own, result.accuracy_all, result.bits, result.airtime_s)
    assert {len(curve) for curve in curves} == {len(result.round)}
    assert result.round[-1] == load_preset(name).config.rounds
    assert set(result.tasks) == set(load_preset(name).config.fleet.present_tasks())


def test_the_first_preset_begins_with_its_stored_numbers() -> None:
    """Costs are exact; accuracy may move by a few answers where a processor rounds otherwise."""
    result, again = stored_result("quick"), recorded(load_preset("quick").config, ROUNDS)
    assert result is not None
    seen = len(again.round)
    assert seen > 1
    assert again.bits == result.bits[:seen]
    assert again.airtime_s == pytest.approx(result.airtime_s[:seen], rel=1e-4)
    assert again.accuracy_own == pytest.approx(result.accuracy_own[:seen], abs=0.08)
    assert again.accuracy_all == pytest.approx(result.accuracy_all[:seen], abs=0.08)
