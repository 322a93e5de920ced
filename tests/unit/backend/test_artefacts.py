"""Checkpoints by name, in a folder and elsewhere: the same laws."""

from pathlib import Path

import pytest

from meshtune.backend.settings import Settings
from meshtune.backend.training.artefacts import (
    Artefacts,
    ArtefactSettings,
    ArtefactsUnavailable,
    Kept,
    open_artefacts,
)


@pytest.fixture(params=["folder", "file://", "memory://"])
def artefacts(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Artefacts:
    where = {
        "folder": str(tmp_path / "a [folder]"),
        "file://": f"file://{tmp_path}/other",
        "memory://": f"memory://{tmp_path.name}/deep",
    }[request.param]
    return open_artefacts(settings, ArtefactSettings(artefacts=where))


def put(artefacts: Artefacts, name: str, content: bytes = b"state") -> None:
    def save(path: Path) -> None:
        path.write_bytes(content)

    artefacts.keep(name, save)


def test_what_is_kept_is_fetched_until_it_is_dropped(artefacts: Artefacts) -> None:
    name = Kept(7, 3, 2).name
    put(artefacts, name, b"first")
    put(artefacts, name, b"second")
    with artefacts.fetched(name) as path:
        assert path.read_bytes() == b"second"
    artefacts.drop(name)
    artefacts.drop(name)
    with artefacts.fetched(name) as path:
        assert not path.exists()


def test_a_run_lists_its_own_files_in_order_of_rounds(artefacts: Artefacts) -> None:
    assert artefacts.of_run(1) == []
    files = [Kept(1, 2, 9), Kept(1, 10, 1), Kept(1, 10, 3), Kept(1, 11, 1, partial=True)]
    for file in [*files[::-1], Kept(11, 0, 1), Kept(2, 1, 1)]:
        put(artefacts, file.name)
    put(artefacts, "1-notes.txt")
    assert artefacts.of_run(1) == files


def test_a_second_look_sees_what_others_wrote(artefacts: Artefacts) -> None:
    put(artefacts, Kept(1, 0, 1).name)
    assert len(artefacts.of_run(1)) == 1
    put(Artefacts(artefacts.files, artefacts.root, artefacts.folder), Kept(1, 1, 1).name)
    assert len(artefacts.of_run(1)) == 2


def test_a_failed_save_leaves_the_old_file_and_no_other(artefacts: Artefacts) -> None:
    name = Kept(1, 0, 1).name
    put(artefacts, name, b"whole")

    def fail(path: Path) -> None:
        path.with_name(path.name + ".tmp").write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(ArtefactsUnavailable, match="No space left on device"):
        artefacts.keep(name, fail)
    assert [file.name for file in artefacts.of_run(1)] == [name]
    with artefacts.fetched(name) as path:
        assert path.read_bytes() == b"whole"


def test_checkpoints_are_in_the_state_folder_unless_said_otherwise(settings: Settings) -> None:
    assert open_artefacts(settings).folder == settings.checkpoint_dir.absolute()


@pytest.mark.parametrize("address", ["nosuch://bucket/x", "s4://a"])
def test_an_address_that_cannot_be_used_is_told_in_one_sentence(
    settings: Settings, address: str
) -> None:
    with pytest.raises(ArtefactsUnavailable, match="MESHTUNE_ARTEFACTS begins with"):
        open_artefacts(settings, ArtefactSettings(artefacts=address))
