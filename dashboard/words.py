"""Values of the config as a screen names them. A value that is not here is shown as it is."""

from dashboard.theme import METHODS, TASKS

WORDS: dict[str, str] = {
    **{name: look.title for name, look in TASKS.items()},
    **{name: look.title for name, look in METHODS.items()},
    "ring": "Ring",
    "full": "Full",
    "star": "Star",
    "geometric": "Random geometric",
    "clusters": "Clusters",
    "drawn": "Drawn",
    "paper": "Paper's radio",
    "ideal": "Ideal",
    "rayleigh": "Rayleigh",
    "none": "None",
    "prototype": "Prototype",
    "task": "Task",
    "place": "Place",
    "adamw": "AdamW",
    "sgd": "SGD",
    "auto": "Auto",
}


def word(value: object) -> str:
    """What the screen calls a config value."""
    return WORDS.get(str(value), str(value))
