"""Gains of a file, for instance from a ray tracer (docs/gain-tables.md has the schema)."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.inputs import input_path
from meshtune.engine.texts import read_text, sheet_of
from meshtune.engine.units import db_to_ratios

COLUMNS = ("round", "receiver", "sender", "gain_db")
# As an array in memory: 60 rounds of 1,000 devices.
LARGEST_BYTES = 512 * 2**20


@dataclass(frozen=True)
class GainTable:
    """Mean gains of links, round by round, wherever the devices stand.

    Attributes:
        table: Linear power gain, row = receiver, column = sender; zero where there is no link, and
            on the diagonal. Directions may differ.
        starts: The round from which each matrix holds, until the next one does; begins with 0.
    """

    table: Float64[np.ndarray, "r n n"]
    starts: Int64[np.ndarray, " r"]

    def gain(
        self, positions: Float64[np.ndarray, "n 2"], round_index: int
    ) -> Float64[np.ndarray, "n n"]:
        """The matrix that holds in a round; rounds after the last one keep it (our choice).

        Raises:
            ConfigMismatch: the table is of another number of devices.
        """
        return self._held(len(positions), round_index).copy()

    def link_gain(
        self,
        positions: Float64[np.ndarray, "n 2"],
        receivers: Int64[np.ndarray, " m"],
        senders: Int64[np.ndarray, " m"],
        round_index: int,
    ) -> Float64[np.ndarray, " m"]:
        """The gain of some links; raises as `gain` does."""
        chosen: Float64[np.ndarray, " m"] = self._held(len(positions), round_index)[
            receivers, senders
        ]
        return chosen

    def _held(self, devices: int, round_index: int) -> Float64[np.ndarray, "n n"]:
        known = self.table.shape[1]
        if known != devices:
            raise ConfigMismatch(
                f"the gain table is of {known} devices but the run has {devices}; set "
                f"fleet.devices to {known} or use another table"
            )
        held: Float64[np.ndarray, "n n"] = self.table[
            np.searchsorted(self.starts, round_index, side="right") - 1
        ]
        return held


def load_gain_table(name: str, sha256: str = "") -> GainTable:
    """The table `name` of the folder inputs/gains, an npz or CSV file.

    Raises:
        AssetMissing: there is no such file, or it has another hash.
        ConfigMismatch: the file holds something else than gains.
    """
    path = input_path("gains", name, (".npz", ".csv"), sha256)
    if path.suffix == ".npz":
        table = _of_arrays(path)
        starts = np.arange(len(table))
    else:
        table, starts = _of_rows(path)
    diagonal = np.arange(table.shape[1])
    table[:, diagonal, diagonal] = 0.0
    _check(path, table)
    return GainTable(table, starts)


def _of_arrays(path: Path) -> Float64[np.ndarray, "r n n"]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        _check_size(path, size)  # before anything is unpacked
        with np.load(path, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in ("gain", "positions_m") if key in arrays}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigMismatch(f"{path} is not an npz file of plain numbers: {error}") from error
    if "gain" not in found:
        raise ConfigMismatch(f"{path} has no array 'gain'; docs/gain-tables.md has the schema")
    gain = found["gain"]
    if gain.ndim not in (2, 3) or gain.shape[-1] != gain.shape[-2] or 0 in gain.shape:
        raise ConfigMismatch(
            f"{path}: 'gain' has shape {gain.shape}, not (rounds, devices, devices) or (devices, "
            "devices)"
        )
    if gain.dtype.kind not in "fiu":
        raise ConfigMismatch(f"{path}: 'gain' is of type {gain.dtype}, not real numbers")
    places = found.get("positions_m")
    if places is not None and (places.ndim < 2 or places.shape[-2] != gain.shape[-1]):
        raise ConfigMismatch(
            f"{path}: 'positions_m' has shape {places.shape} but 'gain' is of {gain.shape[-1]} "
            "devices; give one place per device"
        )
    # A copy, because the diagonal is written.
    table: Float64[np.ndarray, "r n n"] = np.array(
        gain if gain.ndim == 3 else gain[None], dtype=np.float64
    )
    return table


def _of_rows(path: Path) -> tuple[Float64[np.ndarray, "r n n"], Int64[np.ndarray, " r"]]:
    numbers, gain_db = _rows(path)
    rounds, receivers, senders = numbers.T
    starts, which = np.unique(rounds, return_inverse=True)
    if starts[0] != 0:
        raise ConfigMismatch(f"{path} begins with round {starts[0]}; rounds count from 0")
    devices = int(max(receivers.max(), senders.max())) + 1
    _check_size(path, len(starts) * devices**2 * 8)
    places = np.ravel_multi_index((which, receivers, senders), (len(starts), devices, devices))
    once, first, times = np.unique(places, return_index=True, return_counts=True)
    if (times > 1).any():
        twice = numbers[first[times > 1][0]]
        raise ConfigMismatch(
            f"{path} has round {twice[0]}, receiver {twice[1]}, sender {twice[2]} more than once"
        )
    table = np.zeros((len(starts), devices, devices))
    with np.errstate(over="ignore"):  # infinity is refused with all gains above 1
        table.flat[once] = db_to_ratios(gain_db[first])
    return table, starts


def _rows(path: Path) -> tuple[Int64[np.ndarray, "m 3"], Float64[np.ndarray, " m"]]:
    """The numbers of a CSV file: round, receiver and sender of each row, and its decibels."""
    _check_size(path, path.stat().st_size)
    try:
        sheet = sheet_of(read_text(path))
        if not set(COLUMNS) <= set(sheet.header):
            raise ConfigMismatch(
                f"{path} must have the columns {','.join(COLUMNS)}, named in its first line"
            )
        rows = sheet.floats(COLUMNS)
    except (OSError, ValueError) as error:
        raise ConfigMismatch(f"{path} is not a CSV file of numbers: {error}") from error
    if not len(rows):
        raise ConfigMismatch(f"{path} has no rows")
    if not np.isfinite(rows).all():
        raise ConfigMismatch(f"{path} has an infinite number or NaN; leave out links without gain")
    numbers = rows[:, :3].clip(-1, 2**31).astype(np.int64)
    if (numbers != rows[:, :3]).any() or (numbers < 0).any():
        raise ConfigMismatch(f"{path}: round, receiver and sender must be whole numbers from 0")
    return numbers, rows[:, 3]


def _check(path: Path, table: Float64[np.ndarray, "r n n"]) -> None:
    """Gains lie between 0 and 1."""
    bad = ~((table >= 0.0) & (table <= 1.0))  # NaN as well
    if bad.any():
        round_index, receiver, sender = (int(at) for at in np.argwhere(bad)[0])
        raise ConfigMismatch(
            f"{path} has gain {table[round_index, receiver, sender]:g} in matrix {round_index}, "
            f"receiver {receiver}, sender {sender}; gains are linear power ratios from 0 to 1, so "
            "at most 0 dB in a CSV file"
        )


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST_BYTES:
        raise ConfigMismatch(
            f"{path} holds {size / 2**20:.0f} MiB of numbers, more than {LARGEST_BYTES // 2**20}; "
            "give fewer rounds"
        )
