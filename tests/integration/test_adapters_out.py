"""Exported adapters in a process without Meshtune: plain peft gives the logits of the run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sqlalchemy import Engine

from meshtune.backend.commands.main import app
from meshtune.backend.settings import Settings
from meshtune.db import runs
from meshtune.db.session import reading
from meshtune.engine.adapters.stack import select
from meshtune.engine.bench.families import tiny_model
from meshtune.engine.checkpoint import save_state
from meshtune.engine.commands.console import answer
from meshtune.engine.config import with_values
from meshtune.engine.models import measured, measuring
from meshtune.engine.records import RunStatus
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import stored_run, tiny_config
from tests.support.models import saved

FAMILIES = ("llama", "qwen2", "gpt2", "opt")
VOCABULARY = 128
# Each folder that is named: its adapter asked for the logits of the tokens beside it.
PLAIN = """
import sys, warnings
sys.modules["meshtune"] = None  # whoever imports it fails
warnings.simplefilter("ignore")
import numpy, torch
from pathlib import Path
from peft import AutoPeftModelForCausalLM

for folder in map(Path, sys.argv[1:]):
    model = AutoPeftModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.from_numpy(numpy.load(folder.parent / "tokens.npy"))
    with torch.no_grad():
        numpy.save(folder.parent / f"{folder.name}.npy", model(input_ids=tokens).logits.numpy())
"""


@pytest.mark.filterwarnings("ignore")  # of transformers, about tiny configs
def test_plain_peft_gives_the_logits_of_a_run_without_meshtune(
    store: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(settings.state_dir))
    monkeypatch.setattr(measured, "_asked", measuring.answer)  # in this process
    ours, folders = {}, []
    for family in FAMILIES:
        home = tmp_path / family
        model = saved(tiny_model(family, VOCABULARY), home / "model")
        config = with_values(
            tiny_config(rounds=1), {"model.source": "folder", "model.path": model.path}
        )
        run_id = stored_run(store, config, rounds=1, status=RunStatus.COMPLETED)
        world = build_world(config)
        ((state, _),) = simulate(world, initial_state(world))
        with reading(store) as session:
            kept = settings.checkpoint_dir / str(runs.get(session, run_id).checkpoint)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_state(world, state, kept)

        tokens, scaling = world.exam.tokens[:3], world.rule.scaling
        np.save(home / "tokens.npy", tokens.numpy())
        one = select(state.adapters, [1])
        half = torch.full((len(tokens), 2), 0.5)
        with torch.no_grad():
            ours[home / "device"] = world.backbone.logits(tokens[None], one, scaling)[0]
            ours[home / "merged"] = world.backbone.blended(tokens, state.adapters, half, scaling)
            ours[home / "expert"] = ours[home / "device"]  # device 1 alone holds that task
        for name, wanted in (
            ("device", ["--device", "1"]),
            ("merged", ["--merged"]),
            ("expert", ["--expert", "reading"]),
        ):
            out = home / name
            command = ["export", str(run_id), "--format", "peft", "--out", str(out), *wanted]
            with pytest.raises(SystemExit) as ended:
                answer(app, argv=command)
            assert ended.value.code in (0, None)
            folders.append(out)

    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", PLAIN, *folders], check=True, cwd=tmp_path, env=alone)
    for folder, expected in ours.items():
        stock = torch.from_numpy(np.load(folder.parent / f"{folder.name}.npy"))
        torch.testing.assert_close(stock, expected, rtol=1e-5, atol=1e-5)
