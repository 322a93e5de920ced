"""A file of rows: JSON lines, CSV or Parquet, told apart by name and content."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from meshtune.engine.data.rows import DataError, Fault, Row, Table, told
from meshtune.engine.registry import load
from meshtune.engine.texts import text_of

BYTES_MAX = 512 * 2**20
ROWS_MAX = 1_000_000
PARQUET_MARK = b"PAR1"
JSON, SHEET = "json_lines:json_rows", "sheets:sheet_rows"
TEXTS = {
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".csv": SHEET,
    ".tsv": SHEET,
}


def read_table(path: Path) -> Table:
    """The rows of a file, and what is wrong with those that are left out.

    Raises:
        DataError: there is no such file, it is no such file, or no row of it can be used.
    """
    return table_of(_content(path), path)


def table_of(content: bytes, path: Path) -> Table:
    """The rows of the content of a file of that name, as `read_table`.

    Raises:
        DataError: it is no such file, or no row of it can be used.
    """
    if not content.strip():
        raise DataError(f"{path} is empty")
    try:
        parquet = content.startswith(PARQUET_MARK)
        rows, faults = _parted(_rows_of(path, content, parquet=parquet))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    unit = "row" if parquet else "line"
    if not rows:
        found = "; ".join(told(faults, unit))
        raise DataError(f"{path} has no row that can be used" + (f": {found}" if found else ""))
    columns = dict.fromkeys(name for row in rows for name in row.cells)
    sha256 = hashlib.sha256(content).hexdigest()
    return Table(rows, faults, tuple(columns), sha256, unit)


def _content(path: Path) -> bytes:
    try:
        about = path.stat()
        if not S_ISREG(about.st_mode) and not S_ISDIR(about.st_mode):
            raise DataError(f"{path} is no file but a device or a pipe")  # it might never end
        if about.st_size > BYTES_MAX:
            raise DataError(f"{path} has {about.st_size} bytes; at most {BYTES_MAX} are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the name
        raise DataError(f"{str(path)[:80]!r} is no name of a file") from error


def _rows_of(path: Path, content: bytes, *, parquet: bool) -> Iterator[Row | Fault]:
    if parquet:
        yield from load(f"{__package__}.parquet:parquet_rows")(content)
        return
    try:
        # What is no UTF-8 makes its own line unreadable, not the file.
        text = text_of(content, errors="surrogateescape")
    except UnicodeDecodeError as error:
        raise DataError("the file is neither UTF-8 nor whole UTF-16; save it as UTF-8") from error
    begins = JSON if text.lstrip().startswith(("{", "[")) else SHEET
    yield from load(f"{__package__}.{TEXTS.get(path.suffix.lower(), begins)}")(text)


def _parted(found: Iterable[Row | Fault]) -> tuple[tuple[Row, ...], tuple[Fault, ...]]:
    rows: list[Row] = []
    faults: list[Fault] = []
    for each in islice(found, ROWS_MAX + 1):
        if isinstance(each, Row):
            rows.append(each)
        else:
            faults.append(each)
    if len(rows) + len(faults) > ROWS_MAX:
        raise DataError(f"the file has more than {ROWS_MAX} rows; use a part of it")
    return tuple(rows), tuple(faults)
