"""Numbers on a terminal: three digits, a handy unit, and nothing that is missing as zero."""

import pytest

from meshtune.engine.commands.plan_table import MISSING, cost_table, fact_table, spread, written
from meshtune.engine.plans import Spread
from tests.support.fake_api import fake_config, fake_plan


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (None, "J", MISSING),
        (0.0, "bit", "0 bit"),
        (999.6, "bit", "1 kbit"),
        (1.2345e7, "bit", "12.3 Mbit"),
        (22507.0, "", "22.5 k"),
        (0.0123, "J", "12.3 mJ"),
        (4.5e-6, "J", "4.5 µJ"),
        (0.9999, "%", "100.0 %"),
        (0.0001, "%", "< 0.1 %"),
        (0.0, "%", "0.0 %"),
        (-3.25, "dB", "-3.2 dB"),
        (119.0, "s", "119 s"),
        (200.0, "s", "3.33 min"),
        (9000.0, "s", "2.5 h"),
    ],
)
def test_a_number_has_three_digits_and_a_handy_unit(
    value: float | None, unit: str, shown: str
) -> None:
    assert written(value, unit) == shown


def test_a_spread_is_a_median_between_two_ends() -> None:
    said = spread(Spread(low=1.0, median=2.0, high=3.0), "dB")
    assert said == "2.0 dB (80 % of the links: 1.0 dB to 3.0 dB)"
    assert spread(None, "dB") == MISSING


def test_a_change_is_against_plain_lora_and_only_where_it_costs() -> None:
    columns = {
        kind: dict(zip(*(list(table.columns[i].cells) for i in (0, 5)), strict=True))
        for kind in ("so_lora", "lora_gossip", "local")
        if (table := cost_table(fake_plan(fake_config(method={"kind": kind}))))
    }
    assert columns["so_lora"]["Bits sent"] == "-73 %"
    assert columns["lora_gossip"]["Bits sent"] == "+0 %"
    assert columns["local"]["Bits sent"] == "-100 %"
    assert columns["so_lora"]["Delivered"] == MISSING


def test_an_ideal_medium_has_no_numbers_of_a_radio() -> None:
    config = fake_config(channel={"kind": "ideal"})
    table = fact_table(fake_plan(config), config)
    facts = dict(zip(*(list(column.cells) for column in table.columns), strict=True))
    assert (facts["SNR"], facts["Rate"], facts["Lost"]) == (MISSING, MISSING, MISSING)
    assert facts["Clusters"] == "1"
