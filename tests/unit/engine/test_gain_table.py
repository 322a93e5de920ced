"""Gain tables: what a file must hold, where it lies, and the example of the documents."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

from meshtune.engine import config as c
from meshtune.engine.channels import gain_table
from meshtune.engine.channels.gain_table import GainTable, load_gain_table
from meshtune.engine.channels.propagation import build_propagation
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.inputs import input_path

DOCUMENT = Path(__file__).parents[3] / "docs" / "gain-tables.md"
GAIN = np.array([[0.0, 0.5, 0.25], [0.1, 0.0, 0.0], [1.0, 1e-9, 0.0]])
HEADER = "round,receiver,sender,gain_db\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path))
    place = tmp_path / "inputs" / "gains"
    place.mkdir(parents=True)
    return place


def places(devices: int) -> np.ndarray:
    return np.zeros((devices, 2))


def stored(folder: Path, **arrays: object) -> GainTable:
    np.savez(folder / "gains.npz", **arrays)  # type: ignore[arg-type]
    return load_gain_table("gains")


def written(folder: Path, text: str) -> GainTable:
    (folder / "gains.csv").write_text(text, encoding="utf-8")
    return load_gain_table("gains")


def test_one_matrix_holds_in_every_round(folder: Path) -> None:
    table = stored(folder, gain=GAIN)
    for round_index in (0, 1, 99):
        assert np.array_equal(table.gain(places(3), round_index), GAIN)


def test_rounds_after_the_last_matrix_keep_it(folder: Path) -> None:
    table = stored(folder, gain=np.stack([GAIN, GAIN / 2]))
    assert np.array_equal(table.gain(places(3), 0), GAIN)
    for round_index in (1, 2, 99):
        assert np.array_equal(table.gain(places(3), round_index), GAIN / 2)


def test_row_is_receiver_and_column_is_sender_and_directions_may_differ(folder: Path) -> None:
    stored(folder, gain=GAIN)
    propagation = build_propagation(c.GainTable(), 3.5e9, "model", 0)
    receivers, senders = np.array([0, 1, 2, 2]), np.array([1, 0, 1, 0])
    links = propagation.link_gain(places(3), receivers, senders, 0)
    assert links.tolist() == [0.5, 0.1, 1e-9, 1.0]
    assert np.array_equal(propagation.gain(places(3), 0)[receivers, senders], links)


def test_the_diagonal_is_ignored(folder: Path) -> None:
    odd = GAIN.copy()
    np.fill_diagonal(odd, [np.nan, np.inf, -5.0])
    assert np.array_equal(stored(folder, gain=odd).gain(places(3), 0), GAIN)


def test_whoever_changes_a_gain_does_not_change_the_table(folder: Path) -> None:
    table = stored(folder, gain=GAIN)
    table.gain(places(3), 0)[:] = 0.0
    assert np.array_equal(table.gain(places(3), 0), GAIN)


def test_a_table_of_another_number_of_devices_is_refused_when_it_is_asked(folder: Path) -> None:
    table = stored(folder, gain=GAIN)
    said = "table is of 3 devices but the run has 4; set fleet.devices to 3"
    with pytest.raises(ConfigMismatch, match=said):
        table.gain(places(4), 0)
    with pytest.raises(ConfigMismatch, match=said):
        table.link_gain(places(4), np.array([0]), np.array([1]), 0)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"gains": GAIN}, "no array 'gain'"),
        ({"gain": GAIN[:2]}, r"shape \(2, 3\)"),
        ({"gain": GAIN[0]}, r"shape \(3,\)"),
        ({"gain": GAIN[None, None]}, r"shape \(1, 1, 3, 3\)"),
        ({"gain": np.empty((0, 3, 3))}, r"shape \(0, 3, 3\)"),
        ({"gain": GAIN + 0j}, "complex128, not real"),
        ({"gain": GAIN > 0}, "bool, not real"),
        ({"gain": GAIN.astype(object)}, "not an npz file of plain numbers"),
        ({"gain": np.where(GAIN == 0.25, np.nan, GAIN)}, "gain nan in matrix 0, receiver 0, sen"),
        (
            {"gain": np.where(GAIN == 0.1, -0.1, GAIN)},
            "gain -0.1 in matrix 0, receiver 1, sender 0",
        ),
        ({"gain": np.stack([GAIN, 2 * GAIN])}, "gain 2 in matrix 1, receiver 2, sender 0"),
        ({"gain": GAIN, "positions_m": places(4)}, r"'positions_m' has shape \(4, 2\)"),
        ({"gain": GAIN, "positions_m": np.zeros(3)}, r"'positions_m' has shape \(3,\)"),
    ],
)
def test_an_npz_file_without_gains_is_refused(
    folder: Path, arrays: dict[str, np.ndarray], said: str
) -> None:
    with pytest.raises(ConfigMismatch, match=said):
        stored(folder, **arrays)


@pytest.mark.parametrize("shape", [(3, 2), (3, 3), (5, 3, 3)])
def test_places_may_come_along(folder: Path, shape: tuple[int, ...]) -> None:
    assert np.array_equal(
        stored(folder, gain=GAIN, positions_m=np.zeros(shape)).gain(places(3), 0), GAIN
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip file", b"round,receiver"])
def test_a_file_that_is_no_npz_is_refused(folder: Path, content: bytes) -> None:
    (folder / "gains.npz").write_bytes(content)
    with pytest.raises(ConfigMismatch, match="not an npz file"):
        load_gain_table("gains")


def test_a_single_array_under_the_name_of_an_archive_is_refused(folder: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, GAIN)
    (folder / "gains.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ConfigMismatch, match="not an npz file"):
        load_gain_table("gains")


def test_rows_give_the_matrix_that_they_describe(folder: Path) -> None:
    table = written(folder, HEADER + "0,0,1,-10\n0,2,0,0\n\n0,1,0,-90.0\n")
    wanted = np.zeros((3, 3))
    wanted[0, 1], wanted[2, 0], wanted[1, 0] = 0.1, 1.0, 1e-9
    np.testing.assert_allclose(table.gain(places(3), 5), wanted, rtol=1e-12)


def test_a_round_with_rows_replaces_the_matrix_until_the_next_such_round(folder: Path) -> None:
    table = written(folder, HEADER + "3,1,0,-20\n0,0,1,-10\n")
    first, later = np.array([[0.0, 0.1], [0.0, 0.0]]), np.array([[0.0, 0.0], [0.01, 0.0]])
    for round_index, wanted in ((0, first), (2, first), (3, later), (50, later)):
        np.testing.assert_allclose(table.gain(places(2), round_index), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfround,receiver,sender,gain_db\r\n0.0,0.0,1.0,-10.5\r\n",
        "round;receiver;sender;gain_db\n0;0;1;-10,5\n".encode("utf-16"),
        b"sep=;\nround;receiver;sender;gain_db\n0;0;1;-10,5\n",
        b"round, receiver, sender, gain_db\n0, 0, 1, -10.5 # measured\n",
        b"# by hand\ngain_db\tround\tsender\treceiver\n-10.5\t0\t1\t0\n",
        b'"round","receiver","sender","gain_db"\n"0","0","1","-10.5"\n',
    ],
)
def test_what_editors_and_spreadsheets_write_is_one_table(folder: Path, content: bytes) -> None:
    (folder / "gains.csv").write_bytes(content)
    gain = load_gain_table("gains").gain(places(2), 0)
    np.testing.assert_allclose(gain, [[0.0, 10**-1.05], [0.0, 0.0]], rtol=1e-12)


def test_a_row_with_itself_names_a_device_without_links(folder: Path) -> None:
    gain = written(folder, HEADER + "0,0,1,-10\n0,3,3,0\n").gain(places(4), 0)
    assert np.count_nonzero(gain) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have the columns round,receiver,sender,gain_db"),
        (HEADER, "has no rows"),
        ("0,0,1,-10\n", "must have the columns"),
        ("round,sender,gain_db\n0,0,-10\n", "must have the columns"),
        (HEADER + "0,0,1\n", "line 2: there is no number in column gain_db"),
        (HEADER + "0,0,1,-10\n\n0,0\n", "line 4: there is no number in column sender"),
        (HEADER + "0,0,one,-10\n", "not a CSV file of numbers: line 2: .* column sender"),
        (HEADER + "0,0,1,nan\n", "infinite number or NaN"),
        (HEADER + "0,0,1,-inf\n", "infinite number or NaN"),
        (HEADER + "0,0,1.5,-10\n", "whole numbers from 0"),
        (HEADER + "0,0,-1,-10\n", "whole numbers from 0"),
        (HEADER + "0,0,1e300,-10\n", "whole numbers from 0"),
        (HEADER + "0,0,1,-10\n0,0,1,-10\n", "round 0, receiver 0, sender 1 more than once"),
        (HEADER + "1,0,1,-10\n", "begins with round 1"),
        (HEADER + "0,0,1,0.5\n", "gain 1.12202 in matrix 0, receiver 0, sender 1"),
        (HEADER + "0,0,1,1e9\n", "gain inf in matrix 0"),
        (HEADER + "0,0,100000,-10\n", "more than 512; give fewer rounds"),
    ],
)
def test_a_csv_file_without_gains_is_refused(folder: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigMismatch, match=said):
        written(folder, text)


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "gains.csv").write_bytes(b"round,\xff\xfe\x00")
    with pytest.raises(ConfigMismatch, match="not a CSV file of numbers"):
        load_gain_table("gains")


def test_a_file_that_would_fill_the_memory_is_refused_unread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gain_table, "LARGEST_BYTES", 2**20)
    np.savez_compressed(folder / "gains.npz", gain=np.zeros((40, 64, 64)))  # 1.25 MiB unpacked
    assert (folder / "gains.npz").stat().st_size < 2**16
    with pytest.raises(ConfigMismatch, match="holds 1 MiB of numbers, more than 1"):
        load_gain_table("gains")
    (folder / "gains.npz").unlink()
    with pytest.raises(ConfigMismatch, match="more than 1; give fewer rounds"):
        written(folder, HEADER + "0,0,1,-10\n" * 2**17)  # 1.25 MiB of text


def test_a_missing_file_says_where_it_was_looked_for(folder: Path) -> None:
    said = f"no other.npz or other.csv in {folder}; put the file there"
    with pytest.raises(AssetMissing, match=re.escape(said)):
        load_gain_table("other")


def test_without_a_setting_the_folder_is_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path(".state", "inputs", "traces")
    place.mkdir(parents=True)
    (place / "walk.csv").touch()
    assert input_path("traces", "walk", (".csv",)) == place / "walk.csv"
    with pytest.raises(AssetMissing, match=r"inputs.gains"):
        input_path("gains", "walk", (".csv",))


def test_the_first_suffix_that_exists_counts(folder: Path) -> None:
    (folder / "gains.csv").touch()
    assert input_path("gains", "gains", (".npz", ".csv")).suffix == ".csv"
    (folder / "gains.npz").touch()
    assert input_path("gains", "gains", (".npz", ".csv")).suffix == ".npz"


def test_a_pinned_hash_takes_that_file_only(folder: Path) -> None:
    stored(folder, gain=GAIN)
    pinned = hashlib.sha256((folder / "gains.npz").read_bytes()).hexdigest()
    chosen = c.GainTable(sha256=pinned)
    assert isinstance(build_propagation(chosen, 3.5e9, "none", 0), GainTable)
    stored(folder, gain=GAIN / 2)
    with pytest.raises(AssetMissing, match=f"asks for {pinned}; put the right file there"):
        build_propagation(chosen, 3.5e9, "none", 0)


def test_the_example_of_the_documents_makes_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[0], str(DOCUMENT), "exec"), {})
    table = load_gain_table("street")
    gain = table.gain(places(12), 4)
    assert np.count_nonzero(gain) == 12 * 11
    assert not np.array_equal(table.gain(places(12), 0), gain)


def test_the_rows_of_the_documents_make_a_table(folder: Path) -> None:
    text = re.search(
        r"^    round,receiver.*?(?=^\S)", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    assert text is not None
    table = written(folder, text.group().replace("    ", ""))
    assert np.count_nonzero(table.gain(places(3), 2)) == 3
    assert np.count_nonzero(table.gain(places(3), 3)) == 1
