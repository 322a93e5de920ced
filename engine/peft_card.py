"""The model card of an exported adapter: what it is, how it is loaded, and where it comes from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import tomli_w

from meshtune.engine import quantities as words
from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.quantities import quantity
from meshtune.engine.records import Provenance, RoundRecord, ScoreRecord

CARD_FILE = "README.md"


@dataclass(frozen=True)
class Origin:
    """The run of an adapter, as far as a card tells of it.

    Attributes:
        config: Of the run.
        provenance: Of the run; None if no worker has told it.
        rounds_done: After which the adapter was kept.
        sent_bits: By all devices in these rounds.
        evaluated: The last of them with an evaluation; None if there is none.
        base: By which transformers finds the frozen model.
    """

    config: RunConfig
    provenance: Provenance | None
    rounds_done: int
    sent_bits: int
    evaluated: RoundRecord | None
    base: str

    def scores_of(self, device: int) -> tuple[ScoreRecord, ...]:
        """How well a device answered at the last evaluation, task by task."""
        found = self.evaluated.scores if self.evaluated else ()
        return tuple(score for score in found if score.device == device)


def card(origin: Origin, what: str, device: int | None) -> str:
    """The text of the card of an adapter.

    Args:
        origin: The run.
        what: The adapter, in words.
        device: Whose adapter it is; None for one of several devices.
    """
    config, base = origin.config, origin.base
    return "\n".join(
        (
            *("---", f"base_model: {json.dumps(base)}", "library_name: peft"),
            *("pipeline_tag: text-generation", "tags:", "- lora", "- meshtune", "---", ""),
            *(f"# {config.name}", ""),
            f"{what[0].upper()}{what[1:]}, after round {origin.rounds_done} of {config.rounds} of "
            "a decentralized fine-tuning that was simulated by Meshtune.",
            *("", "## Load", "", _code("python", _loading(base)), ""),
            *("## Training", "", _table(_facts(origin)), ""),
            *_scored(origin, device),
            *("## Config", "", _code("toml", tomli_w.dumps(config.model_dump(mode="json"))), ""),
        )
    )


def _loading(base: str) -> str:
    return (
        "from peft import AutoPeftModelForCausalLM\n"
        "from transformers import AutoTokenizer\n\n"
        'model = AutoPeftModelForCausalLM.from_pretrained(".")  # the folder of this file\n'
        f"tokenizer = AutoTokenizer.from_pretrained({base!r})\n"
    )


def _facts(origin: Origin) -> list[tuple[str, str]]:
    config, made, seen = origin.config, origin.provenance, origin.evaluated
    found = [
        ("method", config.method.kind),
        ("seed", str(config.seed)),
        ("devices", str(config.fleet.devices)),
        ("tasks", ", ".join(config.fleet.present_tasks())),
        ("rounds", f"{origin.rounds_done} of {config.rounds}"),
        (
            f"{words.OWN_TASK.small}, mean over devices",
            _percent(seen.accuracy_own if seen else None),
        ),
        (
            f"{words.ALL_TASKS.small}, mean over devices",
            _percent(seen.accuracy_all if seen else None),
        ),
        (words.BITS_SENT.small, f"{origin.sent_bits} ({quantity(float(origin.sent_bits), 'bit')})"),
        ("SHA-256 of the config", config_hash(config)),
    ]
    if made:
        found += [
            ("SHA-256 of the base model", made.weights_sha256 or "unknown"),
            ("made with", f"Meshtune {made.meshtune}, torch {made.torch}"),
        ]
    return found


def _scored(origin: Origin, device: int | None) -> Sequence[str]:
    scores = () if device is None else origin.scores_of(device)
    if not scores:
        return ()
    rows = [(f"device {device} on {score.task}", _percent(score.accuracy)) for score in scores]
    return (
        "## Accuracy",
        "",
        _table(rows),
        "",
        "Measured in the run, where a device answers with all that its method gives it: a library "
        "and a gate, for some.",
        "",
    )


def _percent(share: float | None) -> str:
    return "not evaluated" if share is None else f"{100.0 * share:.1f} %"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(("| | |", "|---|---|", *(f"| {what} | {told} |" for what, told in rows)))


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}```"
