"""Text files that people and their tools write, read as they come.

Editors of Windows put a mark in front of the text or write UTF-16, lines end in three ways, and
spreadsheets of half the world part cells by semicolons, because their decimals have commas.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float64

MARK = "\ufeff"
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """The text of a file, as `text_of` reads it.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    return text_of(path.read_bytes())


def text_of(content: bytes, errors: str = "strict") -> str:
    """UTF-8 or, behind its mark, UTF-16, as `plain` leaves it.

    Args:
        content: of a file.
        errors: what becomes of bytes that are neither, as `bytes.decode` has it.

    Raises:
        UnicodeDecodeError: it is neither, and `errors` does not say otherwise.
    """
    return plain(content.decode("utf-16" if content.startswith(UTF_16) else "utf-8", errors))


def plain(text: str) -> str:
    """The text without a byte order mark, with lines that end in a line feed."""
    return text.removeprefix(MARK).replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class Sheet:
    """A table of text: cells parted by commas, semicolons or tabs.

    Attributes:
        header: Names of the columns.
        lines: The lines below it, without blank ones and remarks (`#`).
        numbers: Of these lines in the file, from 1.
        delimiter: What parts the cells. Behind any but a comma, decimals may have a comma.
    """

    header: tuple[str, ...]
    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    delimiter: str

    def floats(self, columns: Sequence[str]) -> Float64[np.ndarray, "m k"]:
        """The numbers of some columns of the header, row by row.

        Raises:
            ValueError: a line has a cell that is no number, or lacks one; says which line.
        """
        lines = [self.decimal(line) for line in self.lines]
        chosen = [self.header.index(column) for column in columns]
        if not lines:
            return np.empty((0, len(chosen)))
        try:
            read: Float64[np.ndarray, "m k"] = np.loadtxt(
                lines, delimiter=self.delimiter, usecols=chosen, ndmin=2, quotechar='"'
            )
        except ValueError as error:
            raise ValueError(self._first_bad(lines, chosen)) from error
        return read

    def cells(self, line: str) -> list[str]:
        """The cells of a line."""
        return [cell.strip() for cell in next(csv.reader([line], delimiter=self.delimiter))]

    def decimal(self, text: str) -> str:
        """The text of a number, or a line of them, with decimal points."""
        return text if self.delimiter == "," else text.replace(",", ".")

    def _first_bad(self, lines: list[str], chosen: list[int]) -> str:
        for number, line in zip(self.numbers, lines, strict=True):
            cells = line.partition("#")[0].split(self.delimiter)
            for column in chosen:
                try:
                    float(cells[column].strip().strip('"'))
                except (IndexError, ValueError):
                    return f"line {number}: there is no number in column {self.header[column]}"
        return "it holds something else than numbers"


def sheet_of(text: str) -> Sheet:
    """The table in a text; its first line that is neither blank nor a remark names the columns."""
    said = [
        (number, line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if said and said[0][1].lower().startswith("sep="):  # a hint of Excel to itself
        said = said[1:]
    head = said[0][1] if said else ""
    delimiter = max(",;\t", key=head.count)
    return Sheet(
        header=tuple(cell.strip().strip('"') for cell in head.split(delimiter)),
        lines=tuple(line for _, line in said[1:]),
        numbers=tuple(number for number, _ in said[1:]),
        delimiter=delimiter,
    )


def xml_of(text: str) -> ElementTree.Element:
    """The root of an XML text.

    Raises:
        ValueError: it is no XML, or declares a document type: entities can blow up a small text.
    """
    _refuse_doctype(text)
    try:
        return ElementTree.fromstring(text.strip())
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"the file is not XML: {error}") from error


def xml_parts(text: str, name: str) -> Iterator[ElementTree.Element]:
    """The elements of one name in an XML text, one after the other, so that a large one fits.

    Raises:
        ValueError: as `xml_of`.
    """
    _refuse_doctype(text)
    try:
        for _, element in ElementTree.iterparse(io.StringIO(text.strip())):
            if element.tag == name:
                yield element
                element.clear()
    except ElementTree.ParseError as error:
        raise ValueError(f"the file is not XML: {error}") from error


def _refuse_doctype(text: str) -> None:
    if re.search("<!doctype", text, re.IGNORECASE):
        raise ValueError("the file has a document type declaration; remove it")
