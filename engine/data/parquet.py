"""Rows as Parquet, the format in which the hubs of data sets keep them."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from meshtune.engine.data.rows import DataError, Fault, Row, cells_of

BYTES_MAX = 2 * 2**30  # as arrays in memory: a small file can hold one value very often
BATCH = 4_096  # rows


def parquet_rows(content: bytes) -> Iterator[Row | Fault]:
    """The rows of a file, without columns of bytes, such as pictures.

    Raises:
        DataError: it is no Parquet, or too large.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            _require_size(file.metadata)
            names = [field.name for field in file.schema_arrow if not _holds_bytes(field.type)]
            number = 0
            for batch in file.iter_batches(BATCH, columns=names, use_threads=False):
                for tree in batch.to_pylist():
                    number += 1
                    yield _row(number, tree)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"the file cannot be read as Parquet: {error}") from error


def _row(number: int, tree: dict[str, object]) -> Row | Fault:
    try:
        return Row(number, cells_of(tree))
    except ValueError as error:
        return Fault(number, str(error))


def _require_size(found: pq.FileMetaData) -> None:
    size = sum(found.row_group(at).total_byte_size for at in range(found.num_row_groups))
    if size > BYTES_MAX:
        raise DataError(f"the file unpacks to {size} bytes; at most {BYTES_MAX} are read")


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return any(_holds_bytes(kind.field(at).type) for at in range(kind.num_fields))
    bytes_kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(is_kind(kind) for is_kind in bytes_kinds)
