"""Any config, however broken, is answered with sentences: by the command line and by the API."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import pytest
import tomli_w
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings as budget, strategies as st

from meshtune.backend.app import create_app
from meshtune.backend.schemas.runs import PlanOut, Problem, RunDetail
from meshtune.backend.settings import Settings
from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import EXIT_REFUSED, answer
from meshtune.engine.config import RunConfig
from meshtune.engine.presets import load_preset, preset_names

EXAMPLES = 30
# The same each time; a failure is shown as it was found, since shrinking would plan for minutes.
BOUNDED = budget(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
# Small fleets: what is asked here is what is said, not how long a large plan takes.
SEEDS = [
    load_preset(name).config.model_dump(mode="json")
    for name in preset_names()
    if load_preset(name).config.fleet.devices <= 16
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1, 2, 3, 10**9, 2**63, -(2**63), 10**30])
    | st.floats()
    | st.sampled_from([5e-324, 1e-300, 1e300, float("nan"), float("inf"), -0.0])
    | st.text(max_size=12)
    | st.sampled_from(["", "ring", "so_lora", "../../etc/passwd", "\x00", "<script>", "9" * 400])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=4,
)


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a tree."""
    yield at
    if isinstance(tree, dict | list):
        for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(child, (*at, key))


def with_value(tree: Any, at: tuple[Any, ...], value: Any) -> Any:
    """The tree with another value at a place."""
    if not at:
        return value
    copy = tree.copy()
    copy[at[0]] = with_value(tree[at[0]], at[1:], value)
    return copy


@st.composite
def broken_configs(draw: st.DrawFn) -> Any:
    """A good config with one to three values replaced, added or dropped."""
    tree: Any = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(list(places(tree))))
        match draw(st.sampled_from(["replace", "replace", "add", "drop"])):
            case "replace":
                tree = with_value(tree, at, draw(VALUES))
            case "add" if isinstance(value_at(tree, at), dict):
                added = value_at(tree, at) | {draw(st.text(max_size=8)): draw(VALUES)}
                tree = with_value(tree, at, added)
            case "drop" if at and isinstance(value_at(tree, at[:-1]), dict):
                left = {k: v for k, v in value_at(tree, at[:-1]).items() if k != at[-1]}
                tree = with_value(tree, at[:-1], left)
    return bounded(tree)


def value_at(tree: Any, at: tuple[Any, ...]) -> Any:
    """The value at a place."""
    for key in at:
        tree = tree[key]
    return tree


def bounded(tree: Any) -> Any:
    """The tree with fewer devices and rounds, where it is one that a plan could take long for."""
    if not isinstance(tree, dict):
        return tree
    tree = dict(tree)
    if isinstance(tree.get("rounds"), int | float) and not tree["rounds"] <= 50:
        tree["rounds"] = 51.5
    fleet = tree.get("fleet")
    devices = fleet.get("devices") if isinstance(fleet, dict) else None
    if isinstance(fleet, dict) and isinstance(devices, int | float) and not devices <= 16:
        tree["fleet"] = fleet | {"devices": 300}
    return tree


def as_toml(value: Any) -> str | None:
    """A value as TOML; None if it has no such form."""
    try:
        return tomli_w.dumps({"x": value}).partition("=")[2].strip()
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it said on both streams."""

    code: int
    out: str
    err: str


def call(*argv: str) -> Ended:
    """Run a command line of the engine in this process; what nobody expected passes through."""
    code = 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            answer(app, argv=list(argv))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())


def answered(ended: Ended) -> None:
    """The command did as planned, or refused in sentences."""
    assert ended.code in (0, EXIT_REFUSED), ended
    assert "Traceback" not in ended.err
    assert "pydantic" not in ended.err
    assert "validation error" not in ended.err
    assert bool(ended.err.strip()) == bool(ended.code)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(tree=broken_configs())
@BOUNDED
def test_a_broken_config_file_is_planned_or_refused_in_sentences(
    tmp_path_factory: pytest.TempPathFactory, tree: Any
) -> None:
    file = tmp_path_factory.mktemp("config") / "broken.toml"
    try:
        file.write_text(tomli_w.dumps(tree), encoding="utf-8")
    except (TypeError, ValueError, AttributeError):
        file.write_text(str(tree), encoding="utf-8", errors="replace")
    answered(call("plan", str(file), "--json"))


@given(content=st.binary(max_size=80))
@BOUNDED
def test_a_file_of_anything_is_refused_in_sentences(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.mktemp("config") / "anything.toml"
    file.write_bytes(b"rounds = 0\n" + content)  # never one that could be trained
    for command in ("plan", "run"):
        ended = call(command, str(file))
        answered(ended)
        assert ended.code == EXIT_REFUSED


FIELDS = sorted(
    {".".join(map(str, at)) for tree in SEEDS for at in places(tree) if at}
    | {"", ".", "a", "fleet.", ".fleet", "fleet..devices"}
)


@given(field=st.sampled_from(FIELDS) | st.text(max_size=12), value=VALUES)
@BOUNDED
def test_any_change_by_set_is_planned_or_refused_in_sentences(field: str, value: Any) -> None:
    text = as_toml(value) or str(value)
    if field in {"fleet.devices", "rounds"} and text.isdecimal() and len(text) < 10:
        text = text[:1]
    ended = call("plan", "quick", "--json", f"--set={field}={text}")
    answered(ended)
    # Rounds are out of bounds, so `run` must refuse whatever else it is told.
    ended = call("run", "quick", f"--set={field}={text}", "--set", "rounds=0")
    answered(ended)
    assert ended.code == EXIT_REFUSED


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An API over an empty store."""
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("fuzz"),
        writes_per_s=1e6,
        writes_burst=10**6,
        reads_per_s=1e6,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def sent(api: TestClient, path: str, body: Any) -> Any:
    """The answer to a body as Python writes it, NaN and Infinity included."""
    content = json.dumps(body).encode()
    return api.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(tree=broken_configs())
@BOUNDED
def test_a_broken_config_is_planned_or_refused_by_the_api(api: TestClient, tree: Any) -> None:
    said = sent(api, "/plan", tree)
    if said.status_code == 200:
        PlanOut.model_validate_json(said.content)
    else:
        refused(said)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(tree=broken_configs())
@BOUNDED
def test_a_broken_config_is_queued_or_refused_by_the_api(api: TestClient, tree: Any) -> None:
    said = sent(api, "/runs", {"config": tree})
    if said.status_code == 201:
        run = RunDetail.model_validate_json(said.content)
        assert RunConfig.model_validate(tree) == run.config
    else:
        refused(said)


def refused(said: Any) -> None:
    """A 4xx with a sentence and nothing of the inside."""
    assert said.status_code in (413, 415, 422), said.text
    problem = Problem.model_validate_json(said.content)
    assert problem.detail
    assert "Traceback" not in said.text
    assert "pydantic" not in said.text
