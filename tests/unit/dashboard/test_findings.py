"""What a run came to is said by rules, and each sentence leads to where it can be seen."""

import pytest

from meshtune.backend.schemas.compare import RunCurves, TaskCurve
from meshtune.dashboard.figures.frames import History
from meshtune.dashboard.run.findings import Finding, findings
from meshtune.engine.config import RunConfig
from tests.support.fake_api import fake_config, fake_record

CONFIG = fake_config(rounds=4, method={"kind": "local"})


def made(
    own: dict[str, list[float | None]],
    all_tasks: list[float | None] | None = None,
    forgetting: float = 0.0,
    delivered: list[float | None] | None = None,
    *,
    ended: bool = True,
    config: RunConfig = CONFIG,
) -> list[Finding]:
    """Findings of a run with these accuracies of four rounds."""
    rounds = [1, 2, 3, 4]
    curves = RunCurves(
        round=rounds,
        every_rounds=1,
        values={
            "accuracy_own": [0.5] * 4,
            "accuracy_all": all_tasks or [0.5] * 4,
            "forgetting": [0.0, 0.0, 0.0, forgetting],
            "exchange_loss": [None] * 4,
        },
        costs={},
        tasks={task: TaskCurve(own=values, all=values) for task, values in own.items()},
        reach={},
        totals={},
    )
    history = History()
    history.extend(
        fake_record(config, index).model_copy(update={"delivered_fraction": share})
        for index, share in enumerate(delivered or [1.0] * 4)
    )
    return findings(curves, history.round_frame(), config, ended=ended)


def said(found: list[Finding]) -> list[str]:
    """Their words."""
    return [each.text.replace("\u00a0", " ") for each in found]


def test_learned_and_stuck_tasks_are_counted_and_named_at_the_end() -> None:
    own = {"reading": [0.3, 0.6, 0.7, 0.8], "expression": [0.05, 0.1, 0.08, 0.06]}
    found = made(own)
    assert said(found) == ["1 of 2 tasks learned", "Expression stayed at 6 %"]
    assert [(each.tab, each.round) for each in found] == [("tasks", 4), ("tasks", 4)]


def test_before_the_end_no_task_is_stuck() -> None:
    own = {"reading": [0.3, 0.6, 0.7, 0.79], "expression": [0.05, 0.1, 0.08, 0.06]}
    assert said(made(own, ended=False)) == ["0 of 2 tasks learned so far"]


def test_a_task_that_once_was_better_fell() -> None:
    assert said(made({"reading": [0.3, 0.9, 0.5, 0.1]}))[1] == "Reading fell to 10 %"


def test_rounds_that_were_not_evaluated_are_passed_over() -> None:
    assert said(made({"reading": [None, 0.3, None, 0.85]})) == ["1 of 1 task learned"]
    assert made({"reading": [None] * 4}) == []


@pytest.mark.parametrize(
    ("course", "words", "place"),
    [
        ([0.2, 0.25, 0.39, 0.4], "All tasks jumped by +14.0 pt at round 3", 3),
        ([0.2, 0.3, 0.5, 0.5], "All tasks jumped at rounds 2 and 3", 3),
        ([0.1, 0.3, 0.4, 0.55], "All tasks jumped at rounds 2, 3 and 4", 2),
        ([0.2, None, 0.35, 0.35], "All tasks jumped by +15.0 pt at round 3", 3),
    ],
)
def test_a_jump_leads_to_the_round_of_the_largest(
    course: list[float | None], words: str, place: int
) -> None:
    found = made({"reading": [0.5] * 4}, course)[-1]
    assert said([found]) == [words]
    assert (found.tab, found.round) == ("tasks", place)


def test_a_small_step_is_no_jump() -> None:
    assert len(made({"reading": [0.5] * 4}, [0.2, 0.29, 0.38, 0.47])) == 1


def test_a_jump_at_an_exchange_of_experts_says_so() -> None:
    config = fake_config(rounds=4, method={"kind": "so_lora", "library_every": 2})
    exchanged = made({"reading": [0.5] * 4}, [0.2, 0.4, 0.4, 0.5], config=config)
    assert said(exchanged)[-1].endswith("rounds 2 and 4, when experts were exchanged")
    other = made({"reading": [0.5] * 4}, [0.2, 0.2, 0.4, 0.5], config=config)
    assert said(other)[-1].endswith("rounds 3 and 4")


def test_forgetting_is_told_from_five_points_on() -> None:
    assert said(made({"reading": [0.5] * 4}, forgetting=0.072))[-1] == (
        "7.2 pt of the own task forgotten"
    )
    assert len(made({"reading": [0.5] * 4}, forgetting=0.05)) == 1


def test_lost_messages_lead_to_the_map_of_the_worst_round() -> None:
    found = made({"reading": [0.5] * 4}, delivered=[1.0, 0.7, 0.9, None])[-1]
    assert said([found]) == ["13 % of the messages were lost"]
    assert (found.tab, found.round) == ("watch", 2)
    assert len(made({"reading": [0.5] * 4}, delivered=[1.0, 0.95, 0.9, 0.95])) == 1
    assert len(made({"reading": [0.5] * 4}, delivered=[None] * 4)) == 1
