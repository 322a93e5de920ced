"""How loud the experts of other tasks are at the output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshtune.engine.methods.rules import Bank

# Weight of the experts that a device holds, in the order of `Bank.held`; the same on all devices
# (q, k) or one table per device (n, q, k); one for all modules or one per module.
Weights = Float[Tensor, "... q k"]
Gates = Weights | Mapping[str, Weights]
DEVICES_AT_ONCE = 16


@dataclass(frozen=True)
class Questions:
    """Prompt-mean inputs of the frozen model by module, and the task of every prompt."""

    inputs: Mapping[str, Float[Tensor, "q d_in"]]
    task: Int[Tensor, " q"]


def output_interference(
    bank: Bank, own: Int[Tensor, " n"], questions: Questions, gates: Gates | None = None
) -> Float[Tensor, " n"]:
    """How loud experts of other tasks are beside the expert of the device's own task.

        I_i = mean over l, q of  ||sum_{e: task(e) != own_i} g_e B_e A_e x||
                                 / ||sum_{e: task(e) = own_i} B_e A_e x||

    over the experts e that device i holds, its own task's questions q, and all modules l; x is the
    mean input of the prompt. Without `gates` all g are 1, which is what a merge of the experts
    does: sqrt(k - 1) for k experts with outputs of one size and unrelated directions. The own
    expert counts at full strength whatever its gate, or a question that is routed elsewhere would
    divide by zero (our choice). NaN for a device without questions or without own expert.
    Source: the bracket of Eq. 13 and 14 of arXiv 2602.20492.
    """
    return interferences(bank, own, questions, [gates])[0]


class _Block(NamedTuple):
    """Some devices and the questions of their own tasks, padded where not `valid`."""

    rows: Int[Tensor, " n"]
    asked: Int[Tensor, "n m"]
    valid: Bool[Tensor, "n m"]


def _own_questions(
    own: Int[Tensor, " n"], task: Int[Tensor, " q"]
) -> tuple[Int[Tensor, "n m"], Bool[Tensor, "n m"]]:
    mine = task[None, :] == own[:, None]
    most = int(mine.sum(dim=1).max())
    asked = mine.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    return asked, mine.gather(1, asked)


def interferences(
    bank: Bank, own: Int[Tensor, " n"], questions: Questions, several: Sequence[Gates | None]
) -> list[Float[Tensor, " n"]]:
    """`output_interference` under several gates, with the responses of the experts shared."""
    asked, valid = _own_questions(own, questions.task)
    parts = [
        _block_interference(
            bank, own[rows], questions, several, _Block(rows, asked[rows], valid[rows])
        )
        for rows in torch.arange(len(own)).split(DEVICES_AT_ONCE)
    ]
    return list(torch.cat(parts, dim=1))


def _block_interference(
    bank: Bank,
    own: Int[Tensor, " n"],
    questions: Questions,
    several: Sequence[Gates | None],
    block: _Block,
) -> Float[Tensor, "gates n"]:
    held = bank.held[block.rows]
    experts = held.clamp(min=0)
    wanted = bank.task[experts] == own[:, None]
    others = ((held >= 0) & ~wanted).float()[:, None, :]
    mine = ((held >= 0) & wanted).float()[:, None, :]
    seen: dict[int, Tensor] = {}  # modules that share an input share its rows
    total = torch.zeros(len(several), len(own))
    count = torch.zeros(len(own))
    for name, b in bank.experts.b.items():
        inputs = questions.inputs[name]
        x = seen.setdefault(id(inputs), inputs[block.asked])
        shares = [others * _weights_of(gates, name, len(bank.held), block) for gates in several]
        *loud, alone = _loudness(b, bank.experts.a.get(name), x, experts, [*shares, mine])
        known = block.valid & (alone > 0)
        total += torch.where(known, torch.stack(loud) / alone, 0.0).sum(dim=2)
        count += known.sum(dim=1)
    return total / count


def _weights_of(
    gates: Gates | None, name: str, devices: int, block: _Block
) -> Float[Tensor, "n m k"] | float:
    if gates is None:
        return 1.0
    weights = gates[name] if isinstance(gates, Mapping) else gates
    everyone = weights.expand(devices, *weights.shape[-2:])
    return everyone[block.rows[:, None], block.asked]


def _loudness(
    b: Float[Tensor, "e d_out r"],
    a: Float[Tensor, "e r d_in"] | None,
    x: Float[Tensor, "n m d_in"],
    experts: Int[Tensor, "n k"],
    shares: Sequence[Float[Tensor, "n _ k"]],
) -> list[Float[Tensor, "n m"]]:
    """||sum_k share_k B_k A_k x|| for every way to share."""
    if a is None:
        spread = x @ b[experts].flatten(1, 2).mT
        each = spread.unflatten(2, (experts.shape[1], -1))
        return [(each * share[..., None]).sum(dim=2).norm(dim=2) for share in shares]
    inner = x @ a[experts].flatten(1, 2).mT
    outer = b[experts].mT.flatten(1, 2)
    rank = b.shape[2]
    return [
        ((inner * share.repeat_interleave(rank, dim=2)) @ outer).norm(dim=2) for share in shares
    ]
