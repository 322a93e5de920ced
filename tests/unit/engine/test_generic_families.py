"""Every family against stock PEFT, and those that are refused."""

import re
from pathlib import Path

import pytest
import torch

from meshtune.engine.backbone.generic import fit
from meshtune.engine.backbone.generic.fit import generic_backbone
from meshtune.engine.backbone.generic.model import Generic
from meshtune.engine.bench.families import FAMILIES, REFUSED, Family, compared, table, tiny_model
from meshtune.engine.errors import ConfigMismatch

PAGE = Path(__file__).parents[3] / "docs" / "model-families.md"
pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers, about tiny configs


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_those_of_peft(family: str) -> None:
    row = compared(family)
    assert row.refused is None
    assert row.layers >= 8
    assert row.loss <= 2e-6
    assert row.gradient <= 2e-6


@pytest.mark.parametrize("family", REFUSED)
def test_what_would_be_wrong_is_refused_by_name(family: str) -> None:
    with pytest.raises(
        ConfigMismatch, match=rf"^the model family '{family}' cannot .*; choose"
    ) as e:
        generic_backbone(tiny_model(family))
    assert "\n" not in str(e.value)


def test_a_model_that_mixes_its_sequences_is_refused() -> None:
    model = tiny_model("llama")
    norm = model.model.norm.forward
    model.model.norm.forward = lambda x: norm(x) + 0.1 * x[:1, :1]
    with pytest.raises(ConfigMismatch, match=r"'llama' .* each other's logits"):
        generic_backbone(model)


def test_logits_that_are_not_those_of_the_stock_model_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wrong(self: Generic, *given: object) -> torch.Tensor:
        return true(self, *given) + 2e-3  # type: ignore[arg-type]

    true = Generic.logits
    monkeypatch.setattr(fit.Generic, "logits", wrong)
    with pytest.raises(ConfigMismatch, match="'gpt2'"):
        generic_backbone(tiny_model("gpt2"))


def test_the_page_has_the_table_of_the_command() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)
    assert named == [*sorted(FAMILIES), *sorted(REFUSED)]
    rows = [Family(name) for name in FAMILIES] + [Family(n, refused="x: y; z") for n in REFUSED]
    assert re.findall(r"^\| `([\w-]+)` \|", table(rows), re.MULTILINE) == named
