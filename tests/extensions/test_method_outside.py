"""A method, a topology and a channel in a package of their own, found by their entry points."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "support" / "plugin"
ROUNDS = 400  # sixteen exchanges, where rounds played are fewer than those foreseen
WITHIN = 0.01

PLAN_AND_RUN = f"""
import json
from meshtune.engine.planning.plan import plan
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

config = tiny_config(
    rounds={ROUNDS}, method__kind="seldom", fleet__devices=2, topology__kind="full",
    training__local_steps=1, training__batch_size=1, evaluation__every_rounds={ROUNDS},
    evaluation__samples_per_task=1, fleet__train_samples=8, channel__kind="paper",
)
foreseen, world = plan(config), build_world(config)
bits = [
    sum(device.sent_bits for device in record.devices)
    for _, record in simulate(world, initial_state(world))
]
said = {{"foreseen": foreseen.total.payload_bits, "played": foreseen.rounds_sampled, "bits": bits}}
print(json.dumps(said))
"""
EVERYWHERE = """
import json
from meshtune.dashboard.look import theme
from meshtune.engine.config import RunConfig
from meshtune.engine.methods.registry import METHODS
from tests.golden.test_golden import RUNS

schema = json.dumps(RunConfig.model_json_schema()["$defs"])
look = theme.method_look("seldom")
print(json.dumps({
    "form": "Both factors are averaged with the neighbours, every 25 rounds." in schema,
    "card": [look.title, look.tint in theme.SPARE_TINTS],
    "golden": "seldom" in RUNS,
    "named": "seldom" in list(METHODS),
}))
"""
AIR = """
import json
from meshtune.engine.planning.plan import plan, problems
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

config = tiny_config(
    rounds=2, method__kind="lora_gossip", fleet__devices=4, topology__kind="pairs",
    channel__kind="deaf", channel__deaf=2,
)
foreseen, world = plan(config), build_world(config)
records = [record for _, record in simulate(world, initial_state(world))]
print(json.dumps({
    "links": sorted([link.receiver, link.sender] for link in foreseen.links),
    "heard": [[link.delivered for link in record.links] for record in records],
    "fraction": foreseen.total.delivered_fraction,
    "problems": problems(config),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package was installed into."""
    folder = tmp_path_factory.mktemp("outside")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"  # a build writes beside what it builds
    subprocess.run(["cp", "-r", str(PLUGIN), str(source)], check=True)
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(folder / "site"), str(source)],
        check=True,
    )
    return folder / "site"


def ask(program: str, site: Path) -> Any:
    """What a program prints as JSON, in a process that sees the package."""
    path = os.pathsep.join([str(site), str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_plan_is_its_run(installed: Path) -> None:
    said = ask(PLAN_AND_RUN, installed)
    bits = said["bits"]
    assert [t for t, sent in enumerate(bits) if sent] == list(range(24, ROUNDS, 25))
    assert said["played"] < ROUNDS
    assert said["foreseen"] == pytest.approx(sum(bits), rel=WITHIN)


def test_form_card_and_golden_row_know_it(installed: Path) -> None:
    said = ask(EVERYWHERE, installed)
    assert said["form"]
    assert said["card"] == ["Seldom gossip", True]
    assert said["golden"]
    assert said["named"]


def test_a_topology_and_a_channel_are_planned_and_run(installed: Path) -> None:
    said = ask(AIR, installed)
    assert said["links"] == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert said["heard"] == [[False, False, True, True]] * 2
    assert said["fraction"] == 0.5
    assert said["problems"] == []


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("METHOD = 5", "it is a int, not a MethodKind"),
        ("from nowhere import METHOD", "it cannot be imported: No module named 'nowhere'"),
        (
            "import dataclasses, meshtune_seldom as m\n"
            "METHOD = dataclasses.replace(m.METHOD, costs='faulty:told')\n"
            "told = lambda rule, terms: {'bits': 5}",
            "its costs are a dict, not Costs",
        ),
        (
            "import dataclasses, meshtune_seldom as m\n"
            "from meshtune.engine.methods.terms import Costs\n"
            "METHOD = dataclasses.replace(m.METHOD, costs='faulty:told')\n"
            "told = lambda rule, terms: Costs(accounts=0)",
            "missing 13 required keyword-only arguments: 'message_bits', 'work'",
        ),
        ("from meshtune_seldom import METHOD", "there is a 'seldom' already"),
    ],
)
def test_what_it_does_not_state_is_an_error_that_names_it(
    installed: Path, tmp_path: Path, broken: str, sentence: str
) -> None:
    (tmp_path / "faulty.py").write_text(broken, encoding="utf-8")
    info = tmp_path / "faulty-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[meshtune.methods]\nzz = faulty:METHOD\n")
    path = os.pathsep.join([str(tmp_path), str(installed), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "meshtune.engine.commands.app", "presets"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    said = done.stderr
    assert "the entry point 'zz' of faulty 2.0 in meshtune.methods cannot be used: " in said
    assert sentence in said
