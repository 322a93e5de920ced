"""What can go wrong in the engine, each with a sentence that says what to do next."""

from importlib.metadata import EntryPoint


class EngineError(Exception):
    """Base of every error that the engine raises on purpose."""


class PresetNotFound(EngineError):
    """The named preset does not ship with the package."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no preset or file named {name!r}; presets: {', '.join(known)}")
        self.name = name


class PluginRefused(EngineError):
    """What a package outside adds by entry point cannot be used.

    Args:
        group: Of the entry point.
        point: The entry point.
        why: What is wrong with it, in a few words.
    """

    def __init__(self, group: str, point: EntryPoint, why: str) -> None:
        package = "" if point.dist is None else f" of {point.dist.name} {point.dist.version}"
        super().__init__(
            f"the entry point {point.name!r}{package} in {group} cannot be used: {why}; mend the "
            "package or uninstall it"
        )


class ConfigFileError(EngineError):
    """A config file is unreadable or not TOML."""


class ConfigMismatch(EngineError):
    """A config that is valid alone but does not fit the model or the data."""


class AssetMissing(EngineError):
    """A model or data file is not on this disk."""


CALMER = "lower training.learning_rate or set training.clip_norm"


class NumericsError(EngineError):
    """Numbers left the finite range: the run has diverged.

    Args:
        round_index: In which round, from 0.
        devices: On which devices.
        what: Which numbers, and what became of them.
        advice: What to change.
    """

    def __init__(
        self,
        round_index: int,
        devices: list[int],
        what: str = "loss or adapter became NaN or infinite",
        advice: str = CALMER,
    ) -> None:
        named = ", ".join(str(d) for d in devices[:8]) + (" ..." if len(devices) > 8 else "")
        super().__init__(f"{what} in round {round_index + 1} on device {named}; {advice}")
        self.round_index = round_index
        self.devices = devices


class CheckpointError(EngineError):
    """A checkpoint is unreadable or belongs to another config."""


class Interrupted(EngineError):
    """Someone asked the run to stop; the rounds already yielded stand."""
