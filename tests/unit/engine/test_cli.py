"""The command line: refusals are one sentence, exit code 2, and cost nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from meshtune.engine.commands.app import app
from meshtune.engine.commands.console import EXIT_REFUSED, Refused, answer, opened
from meshtune.engine.commands.experiment import parsed_change
from meshtune.engine.plans import Plan
from meshtune.engine.presets import preset_names
from meshtune.engine.quantities import quantity


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]):
    """Run a command line in this process."""

    def run(*argv: str | Path) -> Said:
        with pytest.raises(SystemExit) as ended:
            answer(app, argv=[str(word) for word in argv])
        code = ended.value.code
        return Said(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


def refused(said: Said, *parts: str) -> None:
    """One short line on standard error that names what is wrong."""
    assert said.code == EXIT_REFUSED
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "Traceback" not in said.err
    assert "validation error" not in said.err
    for part in parts:
        assert part in said.err


def test_an_unknown_preset_is_answered_with_those_that_exist(call) -> None:
    refused(call("run", "nope"), "'nope'", *preset_names())


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("channel.bandwidth_hz=-1", ["channel.bandwidth_hz", "greater than 0", "-1"]),
        ("channel.bandwidth_hz=nan", ["channel.bandwidth_hz", "finite", "nan"]),
        ("channel.bandwidth_hz=NaN", ["channel.bandwidth_hz", "finite"]),
        ("channel.deadline_s=inf", ["channel.deadline_s", "finite", "inf"]),
        ("channel.bandwidth_hz=wide", ["channel.bandwidth_hz", "number", "wide"]),
        ("fleet.devices=0", ["fleet.devices", "greater than or equal to 1", "0"]),
        ("fleet.devices=2.5", ["fleet.devices", "whole number"]),
        ("fleet.devise=4", ["fleet.devise", "no such field"]),
        ("fleet.devise=4", ["did you mean fleet.devices?"]),
        ("fleat.devices=4", ["did you mean fleet?"]),
        ("devices=4", ["did you mean fleet.devices?"]),
        ("channel.path_loss.exponnt=4", ["did you mean channel.path_loss.exponent?"]),
        ("method.kind=so_lroa", ["no kind 'so_lroa'", "did you mean so_lora?"]),
        ('fleet.tasks=["readng"]', ["fleet.tasks", "did you mean reading?"]),
        (f"rounds={'[' * 5000}", ["rounds", "nested too deeply"]),
        ("colour=red", ["colour", "no such field", "check the spelling"]),
        ("nothing.here=4", ["nothing.here", "no such field"]),
        ("rounds.more=4", ["rounds.more", "no such field"]),
        ("method.kind=magic", ["method", "magic", "so_lora"]),
        ("topology.kind=hexagon", ["topology", "hexagon"]),
        ('fleet.tasks=["cooking"]', ["fleet.tasks", "cooking"]),
        ("name=", ["name"]),
        ("rounds", ["--set rounds", "FIELD=VALUE"]),
        ("=5", ["--set =5", "FIELD=VALUE"]),
    ],
)
def test_a_wrong_field_is_named_with_its_value_and_bound(call, change: str, parts) -> None:
    refused(call("run", "quick", "--set", change), *parts)


def test_two_devices_in_one_place_are_refused(call, tmp_path: Path) -> None:
    file = tmp_path / "drawn.toml"
    file.write_text(
        "[fleet]\ndevices = 2\n[topology]\nkind = 'drawn'\nlinks = [[0, 1]]\n"
        "positions = [{x_m = 1, y_m = 2}, {x_m = 1, y_m = 2}]\n"
    )
    refused(call("run", file), "devices 0 and 1 are in one place")


def test_a_file_that_is_not_there_is_refused(call, tmp_path: Path) -> None:
    refused(call("run", tmp_path / "gone.toml"), "gone.toml", "No such file")


def test_a_folder_is_refused(call, tmp_path: Path) -> None:
    refused(call("run", tmp_path), "directory")


def test_a_file_that_is_not_toml_is_refused(call, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("rounds = = 3")
    refused(call("run", file), "bad.toml", "not valid TOML")


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 5000, "x = " + "[" * 200 + "]" * 200, ".".join("a" * 3000) + " = 1"]
)
def test_a_file_that_is_nested_without_end_is_refused(call, tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(text)
    refused(call("run", file), "deep.toml", "nested too deeply")


def test_a_mesh_that_is_nested_without_end_is_refused(call, tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    file.write_text('{"devices": ' + "[" * 100_000)
    refused(call("run", "quick", "--topology", file), "deep.json")


def test_a_misspelled_kind_is_told_by_its_name(call, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[method]\nknd = 'local'\n")
    refused(call("run", file), "method: say which kind it is with kind, not knd")


def test_a_file_that_is_not_text_is_refused(call, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(b"\xff\xfe\x00")
    refused(call("run", file), "bad.toml", "UTF-8")


def test_a_file_with_a_wrong_field_is_refused(call, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[config]\nrounds = 0\n")
    refused(call("run", file), "rounds", "greater than or equal to 1")


@pytest.mark.parametrize("place", ["no-such-folder/r.jsonl", "."])
def test_an_out_file_that_cannot_be_written_is_refused(call, tmp_path: Path, place: str) -> None:
    refused(call("run", "quick", "--out", tmp_path / place), "cannot write", "choose another --out")


def test_a_refused_run_costs_no_earlier_records(call, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    out.write_text("precious\n")
    refused(call("run", "quick", "--set", "rounds=0", "--out", out))
    assert out.read_text() == "precious\n"


def test_a_run_that_fails_before_its_first_round_costs_no_earlier_records(tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    out.write_text("precious\n")
    with pytest.raises(Refused), opened(out):
        raise Refused
    assert out.read_text() == "precious\n"


def test_an_out_file_left_empty_is_removed(tmp_path: Path) -> None:
    with opened(tmp_path / "r.jsonl"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_dash_is_the_standard_output() -> None:
    with opened(Path("-")) as sink:
        assert sink is sys.stdout
    with opened(None) as sink:
        assert sink is None


def test_presets_are_listed_with_their_question(call) -> None:
    said = call("presets")
    assert said.code == 0
    assert all(name in said.out for name in preset_names())


def test_an_unknown_command_is_refused(call) -> None:
    said = call("rnu", "quick")
    assert said.code == EXIT_REFUSED
    assert "rnu" in said.err


SMALL = ("quick", "--set", "fleet.devices=4", "--set", "rounds=2")
DEAF = ("--set", "channel.tx_power_dbm=-50", "--set", "topology.radius_m=100000")


def test_a_run_whose_radio_carries_nothing_is_refused_at_its_field(call) -> None:
    refused(call("run", *SMALL, *DEAF), "channel.tx_power_dbm: ", "raise the power")


def test_a_plan_is_shown_also_where_the_run_is_refused(call) -> None:
    said = call("plan", *SMALL, *DEAF)
    assert said.code == EXIT_REFUSED
    assert "Bits sent" in said.out
    assert said.err.startswith("channel.tx_power_dbm: ")


def test_a_plan_as_json_is_the_plan(call) -> None:
    said = call("plan", *SMALL, "--json")
    assert (said.code, said.err) == (0, "")
    plan = Plan.model_validate_json(said.out)
    assert len(plan.devices) == 4
    first, later = plan.first_round.payload_bits, plan.later_round.payload_bits
    assert plan.total.payload_bits == first + later > 0


def test_a_plan_names_costs_mesh_and_radio(call) -> None:
    said = call("plan", *SMALL)
    assert (said.code, said.err) == (0, "")
    for part in ["Bits sent", "Plain LoRA", "Receive", "Spectral gap", "SNR", "Machine time"]:
        assert part in said.out


def test_a_plan_of_a_missing_file_is_refused(call) -> None:
    table = ("--set", "channel.kind=radio", "--set", "channel.path_loss.kind=gain_table")
    refused(call("plan", *SMALL, *table), "gains")


def test_a_plan_needs_no_torch() -> None:
    script = (
        "import sys; from meshtune.engine.commands.app import app; "
        "app(['plan', 'quick', '--set', 'rounds=1'], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(("ending", "flags"), [(".json", ["--json"]), (".graphml", ["--graphml"])])
def test_a_mesh_that_was_printed_is_read_again(call, tmp_path: Path, ending: str, flags) -> None:
    file = tmp_path / f"mesh{ending}"
    file.write_text(call("mesh", *SMALL, *flags).out, encoding="utf-8")
    again = call("mesh", "quick", "--set", "rounds=9", "--topology", file)
    assert json.loads(again.out) == json.loads(call("mesh", *SMALL).out)
    assert len(json.loads(again.out)["devices"]) == 4


def test_a_mesh_with_one_way_links_is_no_file(call) -> None:
    links = ("--set", "topology.kind=exponential", "--set", "topology.direction=one_way")
    method = ("--set", "method.kind=lora_gossip", "--set", "mixing.rule=uniform")
    refused(call("mesh", *SMALL, *links, *method), "one-way")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("gone.json", None, "No such file"),
        ("mesh.txt", "", "neither JSON nor GraphML"),
        ("mesh.json", "[]", "mesh.json"),
        ("mesh.graphml", "<html/>", "no graph"),
        (
            "mesh.json",
            '{"nodes": [{"x": 0, "y": 0}, {"x": 0, "y": 0}, {"x": 1, "y": 0}]}',
            "in one",
        ),
    ],
)
def test_a_file_without_a_mesh_is_refused(call, tmp_path: Path, name: str, text, says) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text, encoding="utf-8")
    refused(call("plan", "quick", "--topology", file), name, says)


def test_a_mesh_of_any_tool_and_editor_is_read_and_what_is_made_up_is_said(
    call, tmp_path: Path
) -> None:
    file = tmp_path / "mesh.txt"
    text = '{"nodes": [{"id": "a"}, {"id": "b"}],\r\n "edges": [{"source": "a", "target": "b"}]}'
    file.write_bytes(text.encode("utf-16"))
    said = call("mesh", "quick", "--topology", file)
    assert json.loads(said.out)["links"] == [[0, 1]]
    assert len(json.loads(said.out)["devices"]) == 2
    assert len(said.err.splitlines()) == 1
    assert "are made up" in said.err
    file.write_bytes(b"\xe9")
    refused(call("mesh", "quick", "--topology", file), "save it as UTF-8")


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ("rounds=5", "rounds", 5),
        ("channel.bandwidth_hz=2e7", "channel.bandwidth_hz", 2e7),
        ("method.kind=local", "method.kind", "local"),
        ('name="a=b"', "name", "a=b"),
        ("name=a=b", "name", "a=b"),
        ('fleet.tasks=["reading", "addition"]', "fleet.tasks", ["reading", "addition"]),
        ("topology.links=[[0, 1]]", "topology.links", [[0, 1]]),
        (" rounds =5", "rounds", 5),
        ("name=2026-01-02", "name", "2026-01-02"),
        ("name=1\nrounds = 7", "name", "1\nrounds = 7"),
    ],
)
def test_values_are_toml_or_plain_text(change: str, field: str, value: object) -> None:
    assert parsed_change(change) == (field, value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 bit"),
        (999.0, "999 bit"),
        (22_507 * 16.0, "360 kbit"),
        (1.234e7, "12.3 Mbit"),
        (0.0123, "12.3 mbit"),
        (4.5e-6, "4.5 µbit"),
    ],
)
def test_quantities_have_three_digits_and_a_prefix(value: float, shown: str) -> None:
    assert quantity(value, "bit") == shown
