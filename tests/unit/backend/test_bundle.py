"""Bundles: the same bytes again after a journey, and no trust in what a stranger sends."""

import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given, settings as hypothesis_settings, strategies as st
from sqlalchemy import Engine, text

from meshtune.backend import errors
from meshtune.backend.archive.bundle import BundleError, BundleTooLarge, export_folder, export_zip
from meshtune.backend.archive.bundle_import import import_run
from meshtune.backend.archive.bundle_source import Limits
from meshtune.backend.routes import bundles
from meshtune.backend.settings import Settings, open_store
from meshtune.db import runs, steering
from meshtune.db.errors import StoreUnavailable
from meshtune.db.session import reading, writing
from meshtune.engine.config import config_hash
from meshtune.engine.records import RunStatus
from tests.support.builders import stored_run, tiny_config
from tests.support.bundles import contents, kept_run, with_files, with_manifest, zipped
from tests.support.workers import records


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    """The state folder of another lab."""
    return Settings(state_dir=tmp_path / "elsewhere")


@pytest.fixture
def other_store(elsewhere: Settings) -> Iterator[Engine]:
    engine = open_store(elsewhere)
    stored_run(engine, tiny_config(name="somebody else's"))  # so that numbers differ
    yield engine
    engine.dispose()


@pytest.fixture
def bundle(store: Engine, settings: Settings, tmp_path: Path) -> dict[str, bytes]:
    """Files of a good bundle."""
    export_zip(store, settings, kept_run(store, settings), tmp_path / "good.zip")
    return contents(tmp_path / "good.zip")


def without_here(files: dict[str, bytes]) -> dict[str, Any]:
    manifest = json.loads(files["manifest.json"])
    del manifest["here"]
    return {name: files[name] for name in files if name != "manifest.json"} | manifest


def tree(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def runs_in(store: Engine) -> list[int]:
    with reading(store) as session:
        return [run.id for run in runs.listed(session)]


# What a bundle holds


def test_a_bundle_holds_the_run_its_versions_and_a_hash_of_every_file(
    store: Engine, settings: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings, seed=5)
    export_folder(store, settings, run_id, tmp_path / "out")
    files = contents(tmp_path / "out")
    assert set(files) == {
        "README.txt",
        "adapters/device-000/adapter_config.json",
        "adapters/device-000/adapter_model.safetensors",
        "adapters/device-001/adapter_config.json",
        "adapters/device-001/adapter_model.safetensors",
        "checkpoint.safetensors",
        "config.toml",
        "manifest.json",
        "records.jsonl",
        "table.csv",
    }
    manifest = json.loads(files["manifest.json"])
    assert set(manifest["files"]) == set(files) - {"manifest.json"}
    assert manifest["seed"] == 5
    assert manifest["config_sha256"] == config_hash(tiny_config(adapter__rank=2, seed=5))
    assert manifest["provenance"]["torch"]
    assert manifest["here"]["run_id"] == run_id
    assert manifest["here"]["events"][0]["kind"] == "created"
    assert len(files["records.jsonl"].splitlines()) == 2


def test_the_same_run_gives_the_same_bytes(
    store: Engine, settings: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings)
    for name in ("a.zip", "b.zip"):
        export_zip(store, settings, run_id, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    export_folder(store, settings, run_id, tmp_path / "c")
    assert contents(tmp_path / "a.zip") == contents(tmp_path / "c")


def test_a_folder_that_holds_something_is_not_written_to(
    store: Engine, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x", encoding="utf-8")
    with pytest.raises(BundleError, match="exists; choose another --out"):
        export_folder(store, settings, kept_run(store, settings), tmp_path / "out")
    assert tree(tmp_path / "out") == {"precious"}


def test_a_run_that_lost_its_checkpoint_is_exported_without_and_says_so(
    store: Engine, settings: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings)
    for file in settings.checkpoint_dir.iterdir():
        file.unlink()
    export_folder(store, settings, run_id, tmp_path / "out")
    files = contents(tmp_path / "out")
    assert json.loads(files["manifest.json"])["missing"] == ["checkpoint.safetensors"]
    assert not [name for name in files if name.startswith("adapters/")]
    assert b"lost" in files["README.txt"]


# The journey


@pytest.mark.parametrize(
    ("status", "rounds", "becomes"),
    [
        (RunStatus.COMPLETED, 2, RunStatus.COMPLETED),
        (RunStatus.DIVERGED, 1, RunStatus.DIVERGED),
        (RunStatus.CANCELLED, 1, RunStatus.CANCELLED),
        (RunStatus.FAILED, 0, RunStatus.FAILED),
        (RunStatus.QUEUED, 0, RunStatus.PAUSED),
        (RunStatus.QUEUED, 1, RunStatus.PAUSED),
        (RunStatus.RUNNING, 1, RunStatus.PAUSED),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_only_number_times_and_events_differ_after_a_journey(  # noqa: PLR0913 - two labs
    store: Engine,
    settings: Settings,
    other_store: Engine,
    elsewhere: Settings,
    tmp_path: Path,
    *,
    status: RunStatus,
    rounds: int,
    becomes: RunStatus,
    form: str,
) -> None:
    run_id = kept_run(store, settings, rounds=rounds, status=status)
    export = export_zip if form == "zip" else export_folder
    export(store, settings, run_id, tmp_path / "there")
    number = import_run(tmp_path / "there", other_store, elsewhere)
    assert number != run_id
    with reading(other_store) as session:
        run = runs.get(session, number)
        assert (run.status, run.rounds_done) == (becomes, rounds)
        told = [(event.kind, event.detail) for event in runs.events(session, number)]
    assert told[-1][0] == "imported"
    assert f"run {run_id}" in (told[-1][1] or "")
    assert records(other_store, number) == records(store, run_id)
    export(other_store, elsewhere, number, tmp_path / "back")
    there, back = contents(tmp_path / "there"), contents(tmp_path / "back")
    assert without_here(there) == without_here(back)


def test_totals_of_a_run_are_the_same_after_a_journey(
    store: Engine, settings: Settings, other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings)
    export_zip(store, settings, run_id, tmp_path / "a.zip")
    number = import_run(tmp_path / "a.zip", other_store, elsewhere)
    totals = ("name", "method", "seed", "devices", "sent_bits", "airtime_s", "energy_j")
    scores = ("accuracy_own", "accuracy_all", "config", "config_sha256", "finished_at")
    with reading(store) as here, reading(other_store) as there:
        before, after = runs.get(here, run_id), runs.get(there, number)
        for name in totals + scores:
            assert getattr(before, name) == getattr(after, name), name


def test_name_and_note_that_were_given_later_travel_along(
    store: Engine, settings: Settings, other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings)
    with writing(store) as session:
        steering.rename(session, run_id, "<b>the best</b> 1 = 2")
        steering.annotate(session, run_id, "look at round 2")
    export_zip(store, settings, run_id, tmp_path / "a.zip")
    number = import_run(tmp_path / "a.zip", other_store, elsewhere, actor="token ci")
    with reading(other_store) as session:
        run = runs.get(session, number)
        assert (run.name, run.note) == ("<b>the best</b> 1 = 2", "look at round 2")
        assert runs.config_of(run).name == "tiny"
        assert runs.events(session, number)[-1].actor == "token ci"


def test_rounds_that_are_taken_back_while_a_run_is_exported_are_noticed(
    store: Engine, settings: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings)
    with store.begin() as connection:
        connection.execute(text("DELETE FROM rounds WHERE round_index = 1"))
    with pytest.raises(StoreUnavailable, match="changed while it was exported"):
        export_folder(store, settings, run_id, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_imported_run_goes_on_from_its_checkpoint(
    store: Engine, settings: Settings, other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    run_id = kept_run(store, settings, rounds=1, status=RunStatus.QUEUED)
    export_zip(store, settings, run_id, tmp_path / "a.zip")
    number = import_run(tmp_path / "a.zip", other_store, elsewhere)
    with reading(other_store) as session:
        checkpoint = runs.get(session, number).checkpoint
    assert checkpoint
    original = next(settings.checkpoint_dir.iterdir()).read_bytes()
    assert (elsewhere.checkpoint_dir / checkpoint).read_bytes() == original


def test_files_that_the_run_reads_travel_along(
    store: Engine, settings: Settings, other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    file = settings.state_dir / "inputs" / "traces" / "walk.csv"
    file.parent.mkdir(parents=True)
    file.write_text("round,device,x_m,y_m\n0,0,1,2\n0,1,3,4\n", encoding="utf-8")
    run_id = kept_run(store, settings, mobility__kind="trace", mobility__name="walk")
    export_zip(store, settings, run_id, tmp_path / "a.zip")
    import_run(tmp_path / "a.zip", other_store, elsewhere)
    target = elsewhere.state_dir / "inputs" / "traces" / "walk.csv"
    assert target.read_bytes() == file.read_bytes()

    import_run(tmp_path / "a.zip", other_store, elsewhere)  # the same file is no conflict
    target.write_text("another", encoding="utf-8")
    before = runs_in(other_store)
    with pytest.raises(BundleError, match=r"another inputs/traces/walk\.csv"):
        import_run(tmp_path / "a.zip", other_store, elsewhere)
    assert target.read_text(encoding="utf-8") == "another"
    assert runs_in(other_store) == before


def test_a_trace_of_a_simulator_travels_under_its_own_ending(
    store: Engine, settings: Settings, other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    file = settings.state_dir / "inputs" / "traces" / "walk.tcl"
    file.parent.mkdir(parents=True)
    lines = [f"$node_({node}) set {axis}_ {node}" for node in range(2) for axis in "XY"]
    file.write_text("\n".join(lines), encoding="utf-8")
    run_id = kept_run(store, settings, mobility__kind="trace", mobility__name="walk")
    export_zip(store, settings, run_id, tmp_path / "a.zip")
    import_run(tmp_path / "a.zip", other_store, elsewhere)
    target = elsewhere.state_dir / "inputs" / "traces" / "walk.tcl"
    assert target.read_bytes() == file.read_bytes()


# Strangers


BOMB = b"\0" * (32 << 20)


def _number_changed(files: dict[str, bytes]) -> dict[str, bytes]:
    first, rest = files["records.jsonl"].split(b"\n", 1)
    record = json.loads(first) | {"train_loss": 0.125}
    return files | {"records.jsonl": json.dumps(record).encode() + b"\n" + rest}


def _record(files: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    lines = files["records.jsonl"].splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | changes).encode()
    return with_files(files, {"records.jsonl": b"\n".join(lines) + b"\n"})


WRONG = {
    "a number was changed": (_number_changed, r"records\.jsonl is damaged"),
    "a file is missing": (lambda f: {k: v for k, v in f.items() if k != "table.csv"}, "disagree"),
    "no records": (lambda f: with_files(f, {"records.jsonl": None}), r"no records\.jsonl"),
    "no manifest": (lambda _: {"records.jsonl": b""}, "no manifest"),
    "a manifest that is no JSON": (lambda f: f | {"manifest.json": b"{"}, "manifest"),
    "a manifest of a list": (lambda f: f | {"manifest.json": b"[]"}, "manifest"),
    "a manifest of depth": (lambda f: f | {"manifest.json": b"[" * 10**6}, "manifest"),
    "a newer version": (
        lambda f: with_manifest(f, lambda m: m.update(version=2)),
        "another version",
    ),
    "the config was changed": (
        lambda f: with_manifest(f, lambda m: m["config"].update(seed=9)),
        "changed after it was hashed",
    ),
    "the config is none": (
        lambda f: with_manifest(f, lambda m: m["config"].update(rounds="many")),
        "config of the bundle",
    ),
    "completed too early": (
        lambda f: with_manifest(f, lambda m: m.update(rounds_done=1)),
        "completed after 1 of 2",
    ),
    "an end that is none": (
        lambda f: with_manifest(f, lambda m: m.update(outcome="running")),
        "running an end",
    ),
    "a file nobody reads": (
        lambda f: with_files(f, {"inputs/traces/walk.csv": b"x"}),
        "does not read",
    ),
    "another checkpoint": (
        lambda f: with_files(f, {"checkpoint.safetensors": b"\x08\0\0\0\0\0\0\0{}      "}),
        "checkpoint",
    ),
    "a missing round": (
        lambda f: with_files(f, {"records.jsonl": f["records.jsonl"].splitlines()[0] + b"\n"}),
        "line 2 is no round",
    ),
    "a round too many": (
        lambda f: with_files(f, {"records.jsonl": f["records.jsonl"] * 2}),
        "more than the 2 rounds",
    ),
    "another round": (lambda f: _record(f, round_index=1), "not round 0"),
    "a number that is none": (lambda f: _record(f, train_loss=float("nan")), "not finite"),
    "a number beyond all": (lambda f: _record(f, extra={"x": float("inf")}), "not finite"),
    "too many bits": (lambda f: _record(f, sent_bits=10**30), "add up to too much in line 1"),
    "bits that add up": (lambda f: _record(f, sent_bits=2**63 - 1), "add up to too much in line 2"),
    "joules that add up": (
        lambda f: _record(f, energy_j=1.7e308, airtime_s=1.7e308),
        "add up to too much in line 1",
    ),
    "less than no time": (lambda f: _record(f, airtime_s=-1.0), "airtime_s"),
    **{
        f"{field} {moment}": (
            lambda f, field=field, moment=moment: with_manifest(
                f, lambda m: m["here"].update({field: moment})
            ),
            rf"here\.{field}: must lie between the years 1900 and 2200",
        )
        for field in ("created_at", "started_at", "finished_at")
        for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
    },
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_a_wrong_bundle_is_one_sentence_and_leaves_nothing(
    wrong: str,
    bundle: dict[str, bytes],
    other_store: Engine,
    elsewhere: Settings,
    tmp_path: Path,
) -> None:
    change, sentence = WRONG[wrong]
    before, rows = tree(elsewhere.state_dir), runs_in(other_store)
    with pytest.raises(BundleError, match=sentence) as refusal:
        import_run(zipped(change(bundle), tmp_path / "bad.zip"), other_store, elsewhere)
    assert len(str(refusal.value).splitlines()) == 1
    assert runs_in(other_store) == rows
    left = {n for n in tree(elsewhere.state_dir) - before if not n.endswith(("-wal", "-shm"))}
    assert left <= {"checkpoints"}


LEFT_BEHIND = (
    "__MACOSX/._run-1",
    "__MACOSX/run-1/adapters/._device-000",
    ".DS_Store",
    "run-1/.DS_Store",
    "run-1/adapters/._adapter_config.json",
    "run-1/desktop.ini",
    "run-1/adapters/Thumbs.db",
    "run-1/adapters/device-000/thumbs.db",
    "run-1/.directory",
)


@pytest.mark.parametrize("separator", ["/", "\\"])
@pytest.mark.parametrize("top", ["run-1/", "a folder \N{CAT FACE}/", ""])
def test_a_bundle_that_a_desktop_packed_again_is_read(
    bundle: dict[str, bytes],
    other_store: Engine,
    elsewhere: Settings,
    tmp_path: Path,
    *,
    top: str,
    separator: str,
) -> None:
    names = {name: (top + name).replace("/", separator) for name in bundle}
    packed = {names[name]: content for name, content in bundle.items()}
    packed |= {name.replace("run-1/", top).replace("/", separator): b"x" for name in LEFT_BEHIND}
    file = zipped(packed, tmp_path / "again.zip")
    with zipfile.ZipFile(file, "a") as archive:  # desktops name folders as well
        archive.writestr(f"{top}adapters/", b"")
    number = import_run(file, other_store, elsewhere)
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if not name.endswith("/"):
                target = tmp_path / "unpacked" / name.replace("\\", "/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    again = import_run(tmp_path / "unpacked", other_store, elsewhere)
    assert records(other_store, number) == records(other_store, again)
    assert not [name for name in tree(elsewhere.state_dir) if "DS_Store" in name]


@pytest.mark.parametrize(
    "stranger", ["run-1/notes.txt", "notes.txt", "other/manifest.json", "run-1/.hidden"]
)
def test_a_stranger_in_what_a_desktop_packed_is_refused(
    stranger: str,
    bundle: dict[str, bytes],
    other_store: Engine,
    elsewhere: Settings,
    tmp_path: Path,
) -> None:
    packed = {f"run-1/{name}": content for name, content in bundle.items()} | {stranger: b"x"}
    with pytest.raises(BundleError, match="which no run has"):
        import_run(zipped(packed, tmp_path / "bad.zip"), other_store, elsewhere)


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "/tmp/escaped",
        "adapters/../../escaped",
        "inputs/gains/../../../escaped.csv",
        "inputs\\gains\\escaped.csv",
        "adapters/device-0000/adapter_config.json",
        "adapters/device-\u0660\u0660\u0660/adapter_config.json",
        "C:escaped",
        "extra.txt",
    ],
)
def test_a_name_that_no_run_has_is_refused(
    name: str, bundle: dict[str, bytes], other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    file = zipped(with_files(bundle, {name: b"x"}), tmp_path / "bad.zip")
    before = tree(tmp_path)
    with pytest.raises(BundleError):
        import_run(file, other_store, elsewhere)
    assert not [path for path in tree(tmp_path) - before if "escaped" in path]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_file_that_is_there_twice_is_refused(
    bundle: dict[str, bytes], other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    file = zipped(bundle, tmp_path / "bad.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("records.jsonl", b"")
    with pytest.raises(BundleError, match="twice"):
        import_run(file, other_store, elsewhere)


def test_a_file_without_a_name_is_refused(
    bundle: dict[str, bytes], other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    with zipfile.ZipFile(zipped(bundle, tmp_path / "bad.zip"), "a") as archive:
        archive.writestr("x", b"")
        archive.filelist[-1].filename = ""  # the directory is written at the end
    with pytest.raises(BundleError, match="which no run has"):
        import_run(tmp_path / "bad.zip", other_store, elsewhere)


def test_links_are_refused(
    bundle: dict[str, bytes], other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for name, content in bundle.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFLNK if name == "table.csv" else stat.S_IFREG) << 16
            archive.writestr(entry, content)
    with pytest.raises(BundleError, match="link"):
        import_run(tmp_path / "bad.zip", other_store, elsewhere)
    folder = tmp_path / "bad"
    for name, content in bundle.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "table.csv").unlink()
    (folder / "table.csv").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="link"):
        import_run(folder, other_store, elsewhere)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Limits(unpacked_bytes=1000), "unpacks to"),
        (Limits(files=3), "more than 3 files"),
        (Limits(manifest_bytes=100), "manifest.json is larger"),
        (Limits(unpacked_free_bytes=0, ratio=1), "times its size"),
    ],
)
def test_a_bundle_above_a_limit_is_refused(
    limits: Limits,
    sentence: str,
    bundle: dict[str, bytes],
    other_store: Engine,
    elsewhere: Settings,
    tmp_path: Path,
) -> None:
    file = zipped(bundle, tmp_path / "large.zip")
    with pytest.raises(BundleTooLarge, match=sentence):
        import_run(file, other_store, elsewhere, limits=limits)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    bundle: dict[str, bytes], other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    file = zipped(with_files(bundle, {"table.csv": BOMB}), tmp_path / "bomb.zip")
    assert file.stat().st_size < len(BOMB) / 500
    with pytest.raises(BundleTooLarge, match="times its size"):
        import_run(file, other_store, elsewhere)


def test_a_file_larger_than_it_claims_is_read_no_further(
    bundle: dict[str, bytes], other_store: Engine, elsewhere: Settings, tmp_path: Path
) -> None:
    file = zipped(bundle | {"table.csv": bundle["table.csv"] + b"x"}, tmp_path / "a.zip")
    with pytest.raises(BundleError, match=r"table\.csv is damaged"):
        import_run(file, other_store, elsewhere)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, Engine, Settings]]:
    """A good bundle as bytes, and a lab that takes bundles."""
    folder = tmp_path_factory.mktemp("lab")
    settings = Settings(state_dir=folder / "state")
    store = open_store(settings)
    export_zip(store, settings, kept_run(store, settings), folder / "good.zip")
    yield (folder / "good.zip").read_bytes(), store, settings
    store.dispose()


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[float, int, bytes]]:
    """Places (as a share of the length), lengths to drop and bytes to put there instead."""
    place = st.floats(0.0, 1.0, exclude_max=True)
    one = st.tuples(place, st.integers(0, 40), st.binary(max_size=40))
    return draw(st.lists(one, min_size=1, max_size=6))


@given(damaged=damages(), at_end=st.booleans())
@hypothesis_settings(max_examples=80)
def test_a_fuzzed_zip_is_refused_in_a_sentence_and_writes_nothing_outside(
    lab: tuple[bytes, Engine, Settings],
    damaged: list[tuple[float, int, bytes]],
    *,
    at_end: bool,
) -> None:
    good, store, settings = lab
    data = bytearray(good)
    for share, dropped, put in damaged:
        # The directory at the end is a small part, and the one that names and sizes come from.
        start = int(len(data) * (0.8 + 0.2 * share if at_end else share))
        data[start : start + dropped] = put
    file = settings.state_dir.parent / "fuzzed.zip"
    file.write_bytes(data)
    outside, rows = _outside(settings), runs_in(store)
    sentence = _refusal(file, store, settings)
    assert (sentence == "") == (runs_in(store) != rows)
    assert len(sentence.splitlines()) <= 1
    assert _outside(settings) == outside


def _refusal(file: Path, store: Engine, settings: Settings) -> str:
    """Why the bundle was refused; empty if it was not. Any other error is a crash."""
    try:
        import_run(file, store, settings)
    except BundleError as error:
        return str(error)
    return ""


def _outside(settings: Settings) -> set[str]:
    return {n for n in tree(settings.state_dir.parent) if not n.startswith("state/")}


MEMBERS = st.sampled_from(
    ["manifest.json", "records.jsonl", "checkpoint.safetensors", "table.csv", "config.toml"]
)


@given(name=MEMBERS, share=st.floats(0, 1, exclude_max=True), put=st.binary(max_size=30))
def test_fuzzed_contents_with_a_manifest_that_agrees_never_crash(
    lab: tuple[bytes, Engine, Settings],
    name: str,
    share: float,
    put: bytes,
) -> None:
    good, store, settings = lab
    file = settings.state_dir.parent / "fuzzed.zip"
    file.write_bytes(good)
    files = contents(file)
    start = int(len(files[name]) * share)
    content = files[name][:start] + put + files[name][start + len(put) :]
    changed = (
        files | {name: content} if name == "manifest.json" else with_files(files, {name: content})
    )
    rows = runs_in(store)
    sentence = _refusal(zipped(changed, file), store, settings)
    assert (sentence == "") == (runs_in(store) != rows)
    assert len(sentence.splitlines()) <= 1


# Over HTTP


@pytest.fixture
def client(store: Engine, settings: Settings) -> Iterator[TestClient]:
    app = FastAPI()
    errors.install(app)
    app.include_router(bundles.router)
    app.state.engine, app.state.settings = store, settings
    with TestClient(app) as client:
        yield client


ZIP = {"content-type": "application/zip"}


def test_a_bundle_goes_out_and_comes_in_over_http(
    client: TestClient, store: Engine, settings: Settings
) -> None:
    run_id = kept_run(store, settings)
    answer = client.get(f"/runs/{run_id}/bundle")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert f"run-{run_id}.zip" in answer.headers["content-disposition"]
    back = client.post("/runs/import", content=answer.content, headers=ZIP)
    assert back.status_code == 201, back.text
    assert back.json()["status"] == "completed"
    assert back.json()["id"] != run_id
    assert records(store, back.json()["id"]) == records(store, run_id)
    assert not [name for name in tree(settings.state_dir) if name.startswith(".")]


@pytest.mark.parametrize(
    ("content", "headers", "status", "error"),
    [
        (b"", ZIP, 422, "BundleUnusable"),
        (b"PK\x03\x04", ZIP, 422, "BundleUnusable"),
        (b"{}", {"content-type": "application/json"}, 415, "UnsupportedMediaType"),
    ],
)
def test_what_is_no_bundle_is_a_problem(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    answer = client.post("/runs/import", content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_run_that_is_not_there_has_no_bundle(client: TestClient) -> None:
    answer = client.get("/runs/7/bundle")
    assert (answer.status_code, answer.json()["error"]) == (404, "RunNotFound")


def test_bundles_above_the_limit_are_refused_both_ways(
    client: TestClient, store: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = kept_run(store, settings)
    whole = client.get(f"/runs/{run_id}/bundle").content
    monkeypatch.setattr(bundles, "BUNDLE_MAX_BYTES", 100)
    out = client.get(f"/runs/{run_id}/bundle")
    assert (out.status_code, out.json()["error"]) == (413, "BundleTooLarge")
    back = client.post("/runs/import", content=whole, headers=ZIP)
    assert (back.status_code, back.json()["error"]) == (413, "BundleTooLarge")


def test_a_state_folder_that_is_full_or_read_only_is_said_plainly(
    client: TestClient, store: Engine, settings: Settings
) -> None:
    run_id = kept_run(store, settings)
    client.app.state.settings = Settings(state_dir=settings.state_dir / "none")  # type: ignore[attr-defined]
    answer = client.get(f"/runs/{run_id}/bundle")
    assert (answer.status_code, answer.json()["error"]) == (503, "StoreUnavailable")
    assert os.fspath(settings.state_dir) not in answer.text
