"""The TOML box of a design: pasted from any editor."""

from meshtune.dashboard.design.text import read


def test_a_text_pasted_from_an_editor_of_windows_is_read() -> None:
    assert read("\ufeffname = 'a'\r\nrounds = 2\r\n")["rounds"] == 2
