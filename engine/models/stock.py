"""Which models are in the state folder. Light: `shelf` fetches and shows them."""

from meshtune.engine.models.door import models_folder

CARD_FILE = "card.json"


def shelved() -> list[str]:
    """Names of the models in the state folder."""
    folder = models_folder()
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(p.name for p in found if (p / "config.json").is_file() and p.name[0] != ".")


def is_fetched(name: str) -> bool:
    """Whether a model was fetched, and not put there by hand."""
    return (models_folder() / name / CARD_FILE).is_file()


def disk_bytes(name: str) -> int:
    """What the files of a model in the state folder take."""
    return sum(path.stat().st_size for path in (models_folder() / name).iterdir())
