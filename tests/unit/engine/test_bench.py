"""The benchmark on a model and a workload so small that only its bookkeeping is tested."""

import json

import pytest

from meshtune.engine.backbone.llama import backbone_from_llama
from meshtune.engine.bench.fleet import BenchRow, Workload, as_json, bench, step_flops, table
from tests.support.oracles import random_llama

TINY = Workload(batch=2, tokens=8, answer_tokens=3, rank=2, steps=2, repeats=1, peft_devices=2)


@pytest.fixture(scope="module")
def rows() -> list[BenchRow]:
    return bench((2, 3), TINY, random_llama())


def test_every_size_and_precision_has_a_row(rows: list[BenchRow]) -> None:
    assert [(row.devices, row.precision) for row in rows] == [
        (2, "float32"), (2, "bfloat16"), (3, "float32"), (3, "bfloat16"),
    ]  # fmt: skip


def test_both_engines_did_the_same_work(rows: list[BenchRow]) -> None:
    """The losses of the second step depend on the first update, so the updates agree too."""
    for row in rows:
        assert row.loss_difference < (1e-5 if row.precision == "float32" else 0.02)


def test_the_ratio_is_that_of_the_rates(rows: list[BenchRow]) -> None:
    for row in rows:
        assert row.ratio == row.fleet_device_steps_per_s / row.peft_device_steps_per_s
        assert row.gemm_share > 0
        assert row.peft_devices == 2


def test_rows_are_json_and_a_table(rows: list[BenchRow]) -> None:
    wanted = {
        "devices", "precision", "fleet_device_steps_per_s", "peft_device_steps_per_s", "ratio",
        "gemm_share",
    }  # fmt: skip
    assert wanted <= json.loads(json.dumps(as_json(rows)))[0].keys()
    assert len(table(rows).splitlines()) == 1 + len(rows) + 3


def test_flops_of_a_step_by_hand() -> None:
    """Width 32, feed-forward 80, one layer, vocabulary 50; 2 sequences of 8 tokens, 3 scored."""
    backbone = backbone_from_llama(random_llama(layers=1))
    qkv = 2 * 3 * 32 * 32 + 6 * 2 * 3 * (32 + 32)
    past_attention = 4 * (32 * 32 + 3 * 32 * 80) + 6 * 2 * ((32 + 32) + 3 * (32 + 80))
    attention, head = 12 * 8 * 8 * 32, 4 * 50 * 32
    assert step_flops(backbone, TINY) == 2 * (8 * qkv + 3 * past_attention + attention + 3 * head)
