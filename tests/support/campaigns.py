"""Made-up results of runs, for tests of what is concluded from them."""

from collections.abc import Sequence

from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.reproduce.results import Milestone, RunResult
from meshtune.engine.simulate import Check
from tests.support.builders import sample_provenance


def run_result(  # noqa: PLR0913 - one per field that some test cares for
    arm: str,
    seed: int,
    curve: Sequence[tuple[int, float]],
    *,
    losses: Sequence[float] = (),
    trained_values: int = 1000,
    diverged: bool = False,
    hashed: str = "0" * 64,
    learning_rate: float = 1e-3,
) -> RunResult:
    """A run with one round per point of `curve` after the first: (bits so far, accuracy so far).

    `losses` are what the exchanges of those rounds cost of the own task.
    """
    points = [
        Milestone(
            rounds_done=place,
            accuracy={"reading": accuracy, "addition": accuracy},
            accuracy_own=accuracy if place else None,
            accuracy_all=accuracy,
            bits=bits,
            airtime_s=0.5 * place,
            energy_j=0.25 * place,
            extra=(
                {"accuracy_own_before_exchange": accuracy + losses[place - 1]}
                if place and losses
                else {}
            ),
        )
        for place, (bits, accuracy) in enumerate(curve)
    ]
    rounds = len(points) - 1
    return RunResult(
        arm=arm,
        seed=seed,
        config_hash=hashed,
        learning_rate=learning_rate,
        rounds=rounds,
        diverged=diverged,
        milestones=tuple(points),
        bits=points[-1].bits,
        airtime_s=0.5 * rounds,
        energy_j=0.25 * rounds,
        trained_values=trained_values,
        message_bits=16.0 * trained_values,
        wall_s=2.0,
        provenance=sample_provenance(),
    )


class FakePlay:
    """Plays a run by making it up, and remembers which it was asked for."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.played: list[tuple[str, int]] = []
        self.stop_after = stop_after

    def __call__(self, config: RunConfig, check: Check) -> RunResult:
        if self.stop_after is not None and len(self.played) >= self.stop_after:
            raise KeyboardInterrupt
        check(0.5)
        self.played.append((config.name, config.seed))
        rate = config.training.learning_rate
        return run_result(
            config.name,
            config.seed,
            [(0, 0.1), (1000 * config.rounds, 0.5 + 0.01 * (config.seed % 10) - rate)],
            hashed=config_hash(config),
            learning_rate=rate,
        )
