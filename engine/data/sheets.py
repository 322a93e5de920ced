"""Rows as a table of text: CSV with commas, semicolons or tabs.

Unlike tables of numbers these have no remarks, and a quoted cell may go over lines.
"""

import csv
from collections import Counter
from collections.abc import Iterator

from meshtune.engine.data.rows import DataError, Fault, Row, require_text

Cells = list[str]


def sheet_rows(text: str) -> Iterator[Row | Fault]:
    """The rows below the header of a text; rows without any text are none.

    Raises:
        DataError: no header can be read, or two of its columns have one name.
    """
    lines = text.split("\n")
    begin = next((at for at, line in enumerate(lines) if line.strip()), 0)
    begin += lines[begin].lower().startswith("sep=")  # a hint of Excel to itself
    delimiter = max(",;\t", key=lines[begin].count) if begin < len(lines) else ","
    told = _told(lines, begin, delimiter)
    header = _names(next(told, (0, Cells()))[1])
    for number, cells in told:
        if isinstance(cells, str):
            yield Fault(number, cells)
        elif any(cells):
            yield _row(number, header, cells)


def _row(number: int, header: Cells, cells: Cells) -> Row | Fault:
    if len(cells) != len(header):
        return Fault(number, f"it has {len(cells)} cells, but {len(header)} columns have a name")
    return Row(number, {name: cell for name, cell in zip(header, cells, strict=True) if name})


def _names(header: Cells | str) -> Cells:
    if isinstance(header, str):
        raise DataError(f"the first line, which names the columns, cannot be read: {header}")
    if not any(header):
        raise DataError("the first line names no column; write the names of the columns there")
    name, times = Counter(filter(None, header)).most_common(1)[0]
    if times > 1:
        raise DataError(f"the first line names the column {name[:80]!r} {times} times; rename one")
    return header


def _told(lines: list[str], at: int, delimiter: str) -> Iterator[tuple[int, Cells | str]]:
    """Line number and cells of every row, or the sentence why there are none.

    Behind a row that cannot be read the next line begins a new one.
    """
    while at < len(lines):
        reader = csv.reader(
            (f"{lines[each]}\n" for each in range(at, len(lines))),
            delimiter=delimiter,
            skipinitialspace=True,
            strict=True,
        )
        begun = at
        try:
            for cells in reader:
                yield begun + 1, _checked(cells)
                begun = at + reader.line_num
        except csv.Error as error:
            yield begun + 1, _sentence(error)
        at = begun + 1


def _checked(cells: Cells) -> Cells | str:
    try:
        require_text("".join(cells))
    except ValueError as error:
        return str(error)
    return [cell.strip() for cell in cells]


def _sentence(error: csv.Error) -> str:
    said = str(error)
    if "field larger" in said:
        return f"it has a cell of more than {csv.field_size_limit()} characters"
    if "end of data" in said:
        return "a quote is opened and never closed"
    return 'a quote stands within a cell; write "" for a quote, and put the cell in quotes'
