"""Texts of people: marks, line ends, decimal commas; and XML that must not blow up."""

import numpy as np
import pytest

from meshtune.engine.texts import plain, sheet_of, text_of, xml_of, xml_parts

BOMB = '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_text_is_the_same_in_every_encoding(encoding: str) -> None:
    content = "a é\r\nb\rc\n".encode(encoding)
    if encoding == "utf-16-be":
        content = b"\xfe\xff" + content
    assert text_of(content) == "a é\nb\nc\n"


@pytest.mark.parametrize("content", [b"\xe9", b"\xff\xfea", b"\x80"])
def test_bytes_that_are_no_text_are_an_error_of_the_encoding(content: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        text_of(content)


def test_a_mark_goes_and_text_stays() -> None:
    assert plain("\ufeff{}") == "{}"
    assert plain("a\ufeff") == "a\ufeff"


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2.5\n",
        "a, b\n 1 , 2.5 \n\n",
        "b;a\n2,5;1\n",
        "b\ta\n2,5\t1\n",
        "sep=;\na;b;c\n1.0;2.5;x\n",
        '# by hand\n"a","b"\n"1","2.5"\n',
        "a,b\n1,2.5 # a remark\n# another\n",
    ],
)
def test_a_sheet_is_read_as_spreadsheets_of_all_countries_write_it(text: str) -> None:
    assert np.array_equal(sheet_of(text).floats(("a", "b")), [[1.0, 2.5]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n\n1,x\n", "line 3: there is no number in column b"),
        ("a,b\n1,2\n3\n", "line 3: there is no number in column b"),
        ("a,b\n1,2\n,3\n", "line 3: there is no number in column a"),
        ("a;b\n1;1.234,5\n", "line 2: there is no number in column b"),
    ],
)
def test_a_cell_that_is_no_number_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sheet_of(text).floats(("a", "b"))


def test_a_sheet_without_lines_has_no_numbers() -> None:
    assert sheet_of("a,b\n").floats(("a", "b")).shape == (0, 2)
    assert sheet_of("").header == ("",)


@pytest.mark.parametrize("text", [BOMB, BOMB.lower(), " \n" + BOMB])
def test_a_document_type_is_refused_before_it_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="document type"):
        xml_of(text)
    with pytest.raises(ValueError, match="document type"):
        next(xml_parts(text, "x"))


def test_xml_comes_whole_or_in_parts() -> None:
    text = '\n<?xml version="1.0" encoding="UTF-16"?><r><p k="é"/><p k="2"/></r>'
    assert [part.get("k") for part in xml_of(text)] == ["é", "2"]
    assert [part.get("k") for part in xml_parts(text, "p")] == ["é", "2"]
    for read in (xml_of, lambda t: list(xml_parts(t, "p"))):
        with pytest.raises(ValueError, match="not XML"):
            read(text[:-2])
