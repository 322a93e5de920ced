"""A method, a topology, a channel and a task in a package of their own, found by entry points."""

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

TASK = """
import json
import numpy as np
from pydantic import ValidationError
from meshtune.dashboard.design.fields import spec_of
from meshtune.dashboard.look import theme
from meshtune.engine.adapters.static_a import static_a
from meshtune.engine.config import Fleet, RunConfig, plain_errors
from meshtune.engine.planning.plan import plan, problems
from meshtune.engine.simulate import simulate
from meshtune.engine.world import build_world, initial_state
from tests.support.builders import tiny_config

config = tiny_config(
    rounds=2, fleet__devices=4, fleet__tasks=["parity", "reading"], topology__kind="ring",
)
world = build_world(config)
records = [record for _, record in simulate(world, initial_state(world))]
try:
    RunConfig.model_validate({"fleet": {"tasks": ["parety"]}})
except ValidationError as error:
    said = plain_errors(error.errors(), RunConfig)[0][1]
looks = [(look.color, look.marker, look.filled) for look in theme.TASKS.values()]
a = static_a("orthonormal", 0, {"m": (8, 64)}, 8, ("reading", "parity"), np.array([0, 1]))["m"]
print(json.dumps({
    "devices": [device.task for device in plan(config).devices],
    "scored": sorted({score.task for score in records[-1].scores}),
    "problems": problems(config),
    "said": said,
    "look": [theme.TASKS["parity"].title, len(set(looks)) == len(looks) == 17],
    "form": spec_of(Fleet.model_fields["tasks"], "tasks").options[-1],
    "reading": a[0].tolist(),
}))
"""
READING = """
import json
import numpy as np
from meshtune.engine.adapters.static_a import static_a

a = static_a("orthonormal", 0, {"m": (8, 64)}, 8, ("reading",), np.array([0]))["m"]
print(json.dumps(a[0].tolist()))
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


def refused(installed: Path, folder: Path, group: str, broken: str, name: str) -> str:
    """What is said of a package whose entry point `name` cannot be used."""
    (folder / "faulty.py").write_text(broken, encoding="utf-8")
    info = folder / "faulty-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nzz = faulty:{name}\n")
    path = os.pathsep.join([str(folder), str(installed), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "meshtune.engine.commands.app", "presets"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"the entry point 'zz' of faulty 2.0 in {group} cannot be used: " in done.stderr
    return done.stderr


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


def test_a_task_is_planned_trained_and_shown(installed: Path, tmp_path: Path) -> None:
    said = ask(TASK, installed)
    assert said["devices"] == ["parity", "reading"] * 2
    assert said["scored"] == ["parity", "reading"]
    assert said["problems"] == []
    assert said["said"].endswith("or 'parity' (got 'parety'); did you mean parity?")
    assert said["look"] == ["Parity", True]
    assert said["form"] == "parity"
    assert said["reading"] == ask(READING, tmp_path)  # as where the package is not installed


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("TASK = dataclasses.replace(PARITY, name='Pari ty')", "'Pari ty' is no name"),
        ("TASK = dataclasses.replace(PARITY, name='reading')", "there is a 'reading' already"),
        ("TASK = dataclasses.replace(PARITY, chance=2.0)", "its chance is 2.0"),
        (
            "TASK = dataclasses.replace(PARITY, name='odd', draw='faulty:told')\n"
            "told = lambda rng: 'a'",
            "it draws a str, not a Sample",
        ),
    ],
)
def test_a_task_that_cannot_be_drawn_is_an_error_that_names_it(
    installed: Path, tmp_path: Path, broken: str, sentence: str
) -> None:
    before = "import dataclasses\nfrom meshtune_seldom.questions import PARITY\n"
    said = refused(installed, tmp_path, "meshtune.tasks", before + broken, "TASK")
    assert sentence in said


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
    assert sentence in refused(installed, tmp_path, "meshtune.methods", broken, "METHOD")
