"""Evaluation against the slow obvious way: every device asked every question by itself."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from meshtune.engine.adapters.stack import Adapters, select
from meshtune.engine.answering.asking import Answers
from meshtune.engine.answering.evaluate import answers, evaluate, own_accuracy, prompt_weights
from meshtune.engine.answering.exam import Exam
from meshtune.engine.answering.gating import shares_inputs
from meshtune.engine.answering.library_gate import LibraryGate
from meshtune.engine.backbone.forward import forward
from meshtune.engine.backbone.llama import Llama, backbone_from_llama
from meshtune.engine.backbone.reading import prompt_inputs
from meshtune.engine.methods.gates import GateName
from meshtune.engine.methods.rules import Bank, Gate
from meshtune.engine.methods.shared.signatures import by_device, signatures
from tests.support.gates import (
    BLIND_TO_INPUTS,
    held_experts,
    slow_logits,
    slow_score,
    slow_weights,
)
from tests.support.oracles import random_llama

TASKS, PER_TASK, LENGTH, VOCAB = 3, 2, 9, 20
QUESTIONS = TASKS * PER_TASK
SCALING = 2.0
GATES = [
    Gate(kind, level, blend, ranks, over)
    for kind, level, blend, (ranks, over) in product(
        get_args(GateName),
        ("prompt", "token"),
        ("hard", "soft"),
        [(0, "all"), (3, "all"), (1, "expert")],
    )
]


@pytest.fixture(scope="module")
def llama() -> Any:
    return random_llama(width=16, layers=2, heads=2, kv_heads=2, vocab=VOCAB)


@pytest.fixture(scope="module")
def backbone(llama: Any) -> Llama:
    return backbone_from_llama(llama)


@pytest.fixture(scope="module")
def exam(backbone: Llama) -> Exam:
    """Task 0 is multiple choice (3 options), the others have generated answers of two tokens."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(4, VOCAB, (QUESTIONS, LENGTH), generator=generator)
    targets = torch.full((QUESTIONS, LENGTH), -100)
    targets[:, 5:7] = torch.randint(4, VOCAB, (QUESTIONS, 2), generator=generator)
    choices = torch.full((QUESTIONS, 3), -1)
    choices[:PER_TASK] = torch.tensor([5, 6, 7])
    targets[:PER_TASK, 5], targets[:PER_TASK, 6] = 6, -100
    prompt = torch.zeros(QUESTIONS, LENGTH, dtype=torch.bool)
    prompt[:, 1:6] = True
    prompt[0, 1:3] = False  # not all prompts are of one length
    task = torch.arange(TASKS).repeat_interleave(PER_TASK)
    inputs = prompt_inputs(backbone, tokens, prompt)
    return Exam(tokens, targets, choices, task, prompt, inputs)


def bank_of(backbone: Llama, gate: Gate, held: list[list[int]]) -> Bank:
    """Experts with random factors, and signatures of random prompts; expert e has task e mod 3."""
    index = torch.tensor(held)
    count, rank = int(index.max()) + 1, 2
    generator = torch.Generator().manual_seed(2)
    a, b = {}, {}
    for name, (d_out, d_in) in backbone.shapes.items():
        a[name] = torch.randn(count, rank, d_in, generator=generator) / d_in**0.5
        b[name] = 0.3 * torch.randn(count, d_out, rank, generator=generator)
    tokens = torch.randint(4, VOCAB, (count * 6, 5), generator=generator)
    inputs = prompt_inputs(backbone, tokens, torch.ones_like(tokens, dtype=torch.bool))
    told = signatures(gate.kind, by_device(inputs, count))
    return Bank(Adapters(a, b), index, torch.arange(count) % TASKS, gate, told)


def slow_answer(llama: Any, bank: Bank, exam: Exam, device: int, q: int) -> tuple[bool, float]:
    """One device and one question, from the definitions."""
    experts, told, numbers = held_experts(bank, device)
    gate = bank.gate
    shown = exam.tokens[q]
    if gate.kind == "single":
        fixed: list[float] = [0.0] * len(numbers)
        fixed[0] = 1.0
    elif gate.kind == "oracle":
        fixed = slow_weights(gate, [float(bank.task[e] == exam.task[q]) for e in numbers])
    elif gate.kind == "prompt_loss":
        fixed = slow_weights(
            gate, [slow_prompt_score(llama, experts, k, exam, q) for k in range(len(numbers))]
        )
    else:
        fixed = slow_weights(gate, [0.0] * len(numbers))

    def weigh(module: str, x: Tensor) -> list[float]:
        if gate.kind in BLIND_TO_INPUTS:
            return fixed
        if len(numbers) == 1:
            return [1.0]
        seen = x if gate.level == "token" else exam.inputs[module][q]
        return slow_weights(gate, slow_score(gate.kind, seen, module, experts, told))

    said = slow_logits(llama, shown, experts, weigh, gate, SCALING).log_softmax(-1)
    places = [t for t in range(LENGTH) if exam.targets[q, t] != -100]
    due = [int(exam.targets[q, t]) for t in places]
    if exam.choices[q, 0] >= 0:
        right = max(exam.choices[q].tolist(), key=lambda c: float(said[places[0], c])) == due[0]
    else:
        right = [int(said[t].argmax()) for t in places] == due
    loss = -sum(float(said[t, c]) for t, c in zip(places, due, strict=True)) / len(places)
    return right, loss


def slow_prompt_score(llama: Any, experts: Adapters, k: int, exam: Exam, q: int) -> float:
    alone = [float(j == k) for j in range(len(next(iter(experts.b.values()))))]
    said = slow_logits(
        llama, exam.tokens[q], experts, lambda _module, _x: alone, Gate(), SCALING
    ).log_softmax(-1)
    asked = [t for t in range(1, LENGTH) if exam.prompt[q, t]]
    return sum(float(said[t - 1, exam.tokens[q, t]]) for t in asked)


@pytest.mark.parametrize("gate", GATES, ids=lambda g: "-".join(map(str, vars(g).values())))
def test_every_gate_answers_as_its_definition_one_token_at_a_time(llama, backbone, exam, gate):
    bank = bank_of(backbone, gate, [[3, 1, 2], [0, -1, -1]])
    fast = answers(backbone, bank, exam, SCALING)
    generated = 3 + GATES.index(gate) % 3  # a question of several tokens, another one per gate
    for device, q in [(0, 0), (GATES.index(gate) % 2, generated)]:
        right, loss = slow_answer(llama, bank, exam, device, q)
        assert bool(fast.correct[device, q]) == right
        assert float(fast.loss[device, q]) == pytest.approx(loss, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("held", [[[0], [1], [2], [3]], [[1, 2], [0, -1]]], ids=["one", "several"])
def test_a_single_expert_answers_whatever_else_is_held(llama, backbone, exam, held):
    bank = bank_of(backbone, Gate("single"), held)
    fast = answers(backbone, bank, exam, SCALING)
    for device, q in product(range(len(held)), range(QUESTIONS)):
        right, loss = slow_answer(llama, bank, exam, device, q)
        assert bool(fast.correct[device, q]) == right
        assert float(fast.loss[device, q]) == pytest.approx(loss, rel=1e-4, abs=1e-4)


def test_t9_with_all_ranks_and_no_gate_the_bank_is_the_plain_sum_of_its_adapters(backbone, exam):
    """Against dense weights W0 + scaling sum_k B_k A_k in transformers."""
    dense = random_llama(width=16, layers=2, heads=2, kv_heads=2, vocab=VOCAB)
    bank = bank_of(backbone, Gate("none", top_ranks=3 * 2), [[0, 1, 2]])
    with torch.no_grad():
        for name in backbone.shapes:
            _, layer, kind = name.split(".")
            block = dense.model.layers[int(layer)]
            linear = getattr(block.self_attn, kind, None) or getattr(block.mlp, kind)
            for a, b in zip(bank.experts.a[name], bank.experts.b[name], strict=True):
                linear.weight += SCALING * (b @ a)
        said = dense(exam.tokens).logits.log_softmax(-1)
    picked = exam.targets.clamp(min=0)[..., None]
    scored = exam.targets != -100
    expected = -(said.gather(2, picked)[..., 0] * scored).sum(dim=1) / scored.sum(dim=1)
    for gate in (bank.gate, Gate("none"), replace(bank.gate, top_ranks_over="expert", top_ranks=2)):
        got = answers(backbone, replace(bank, gate=gate), exam, SCALING)
        assert_close(got.loss[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [k for k in get_args(GateName) if k != "oracle"] + ["single"])
@pytest.mark.parametrize("level", ["prompt", "token"])
def test_no_gate_but_the_oracle_sees_the_task(backbone, exam, kind, level):
    permuted = replace(exam, task=exam.task.flip(0))
    for blend in ("hard", "soft"):
        bank = bank_of(backbone, Gate(kind, level, blend), [[0, 1, 2], [3, 1, -1]])
        for tasks in (bank.task, bank.task.flip(0)):
            told = answers(backbone, replace(bank, task=tasks), exam, SCALING)
            other = answers(backbone, bank, permuted, SCALING)
            assert torch.equal(told.correct, other.correct)
            assert torch.equal(told.loss, other.loss)


def test_the_oracle_takes_the_first_expert_of_the_task_or_else_the_first_it_holds(backbone, exam):
    bank = bank_of(backbone, Gate("oracle"), [[2, 4, 1, 0], [5, 3, -1, -1]])
    alone = bank_of(backbone, Gate("single"), [[0], [1], [2], [3], [4], [5]])
    expected = answers(backbone, alone, exam, SCALING).loss
    got = answers(backbone, bank, exam, SCALING).loss
    takes = [{0: 0, 1: 4, 2: 2}, {0: 3, 1: 5, 2: 5}]
    for device, q in product(range(2), range(QUESTIONS)):
        assert_close(got[device, q], expected[takes[device][int(exam.task[q])], q])


def test_the_prototype_gate_may_choose_another_expert_in_every_module(backbone, exam):
    """So the test against the definition covers prompts whose modules disagree."""
    bank = bank_of(backbone, Gate("prototype"), [[3, 1, 2]])
    right = answers(backbone, bank, exam, SCALING).routed_right
    assert ((right > 0) & (right < 1)).any()


def test_scores_are_means_of_the_answers_by_task(backbone, exam):
    bank = bank_of(backbone, Gate("arrow", "token", "soft"), [[0, 1, 2], [3, 1, -1]])
    given, scores = answers(backbone, bank, exam, SCALING), evaluate(backbone, bank, exam, SCALING)
    for device, task in product(range(2), range(TASKS)):
        rows = [q for q in range(QUESTIONS) if exam.task[q] == task]
        mean = sum(float(given.correct[device, q]) for q in rows) / PER_TASK
        assert float(scores.accuracy[device, task]) == pytest.approx(mean)
        assert_close(scores.loss[device, task], given.loss[device, rows].mean())


@pytest.mark.parametrize("level", ["prompt", "token"])
def test_routes_and_entropy_are_those_of_the_weights_one_token_at_a_time(
    llama, backbone, exam, level
):
    gate = Gate("output_norm", level, "soft")
    bank = bank_of(backbone, gate, [[3, 1, 2]])
    given = answers(backbone, bank, exam, SCALING)
    experts, told, numbers = held_experts(bank, 0)
    for q in (0, 4):
        seen: dict[str, list[list[float]]] = {name: [] for name in backbone.shapes}

        def weigh(module: str, x: Tensor, q: int = q, seen: dict[str, Any] = seen) -> list[float]:
            given_x = x if level == "token" else exam.inputs[module][q]
            weights = slow_weights(gate, slow_score(gate.kind, given_x, module, experts, told))
            seen[module].append(weights)
            return weights

        slow_logits(llama, exam.tokens[q], experts, weigh, gate, SCALING)
        weights = torch.tensor(
            [[rows[t] for t in range(LENGTH) if exam.prompt[q, t]] for rows in seen.values()]
        )
        share = weights / weights.sum(dim=2, keepdim=True)
        entropy = -(share * share.log()).sum(dim=2).mean()
        best = bank.task[numbers][weights.argmax(dim=2)]
        assert float(given.entropy[0, q]) == pytest.approx(float(entropy), abs=1e-4)
        expected = float((best == exam.task[q]).float().mean())
        assert float(given.routed_right[0, q]) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["prototype", "arrow"])
@pytest.mark.parametrize("blend", ["hard", "soft"])
def test_prompt_weights_are_those_with_which_a_device_answers(backbone, exam, kind, blend):
    bank = bank_of(backbone, Gate(kind, "prompt", blend), [[3, 1, 2], [0, -1, 2], [2, -1, -1]])
    weights = prompt_weights(bank, exam)
    assert weights is not None
    for device, q, (name, given) in product((0, 1), (0, 5), weights.items()):
        experts, told, _ = held_experts(bank, device)
        expected = slow_weights(
            bank.gate, slow_score(kind, exam.inputs[name][q], name, experts, told)
        )
        assert_close(given[device, q, bank.held[device] >= 0], torch.tensor(expected))
        assert not given[device, q, bank.held[device] < 0].any()
    assert all(value[2, :, 0].eq(1).all() for value in weights.values())
    for gate in (Gate("none"), Gate("oracle"), Gate(kind, "token")):
        assert prompt_weights(replace(bank, gate=gate), exam) is None


def test_entropy_without_a_gate_is_the_logarithm_of_the_number_of_experts(backbone, exam):
    bank = bank_of(backbone, Gate("none"), [[0, 1, 2], [3, -1, -1]])
    scores = evaluate(backbone, bank, exam, SCALING)
    assert scores.gate_entropy == pytest.approx(float(torch.tensor(3.0).log()))
    assert scores.routed_right is None


@pytest.mark.parametrize(
    ("kind", "held"), [("single", [[0], [1]]), ("oracle", [[0, 1]]), ("prototype", [[0], [1]])]
)
def test_where_nothing_is_chosen_blindly_there_is_nothing_to_report(backbone, exam, kind, held):
    scores = evaluate(backbone, bank_of(backbone, Gate(kind), held), exam, SCALING)
    assert scores.routed_right is None
    assert scores.gate_entropy is None


def test_routing_is_right_where_prompts_are_prototypes(backbone, exam):
    means = {
        name: torch.stack([value[exam.task == k].mean(dim=0) for k in range(TASKS)])
        for name, value in exam.inputs.items()
    }
    at_means = replace(exam, inputs={name: value[exam.task] for name, value in means.items()})
    bank = bank_of(backbone, Gate("prototype"), [[0, 1, 2]])
    routed = replace(bank, signatures={"mean": means})
    assert evaluate(backbone, routed, at_means, SCALING).routed_right == 1.0


@pytest.mark.parametrize("gate", [Gate("single"), Gate("prototype"), Gate("arrow", "token")])
def test_what_comes_after_the_last_scored_token_does_not_matter(backbone, exam, gate):
    padded = replace(
        exam,
        tokens=torch.cat([exam.tokens, torch.ones(QUESTIONS, 4, dtype=torch.int64)], dim=1),
        targets=torch.nn.functional.pad(exam.targets, (0, 4), value=-100),
        prompt=torch.nn.functional.pad(exam.prompt, (0, 4)),
    )
    bank = bank_of(backbone, gate, [[0, 1, 2]])
    assert torch.equal(
        answers(backbone, bank, exam, SCALING).loss, answers(backbone, bank, padded, SCALING).loss
    )


@pytest.mark.parametrize("kind", ["prototype", "subspace", "gaussian", "projection_norm", "arrow"])
def test_one_choice_for_the_network_is_that_of_the_mean_score(backbone, exam, kind):
    """Modules that read one input count once if no adapter enters the score."""
    numbers = torch.tensor([3, 1, 2])
    bank = bank_of(backbone, Gate(kind), [[3, 1, 2]])
    apart = LibraryGate.of(bank, numbers, exam, None).scores
    again = ("k_proj", "v_proj", "up_proj") if shares_inputs(kind) else ()
    once = [score for name, score in apart.items() if not name.endswith(again)]
    best = torch.stack(once).mean(dim=0).argmax(dim=1)
    whole = replace(bank, gate=Gate(kind, "network"))
    chosen = LibraryGate.of(whole, numbers, exam, None).chosen()
    assert torch.equal(chosen, numbers[best][:, None].expand_as(chosen))
    alone = bank_of(backbone, Gate("single"), [[0], [1], [2], [3]])
    expected = answers(backbone, alone, exam, SCALING).loss[numbers[best], torch.arange(QUESTIONS)]
    assert_close(answers(backbone, whole, exam, SCALING).loss[0], expected)
    weights = prompt_weights(whole, exam)
    assert weights is not None
    assert all(torch.equal(each[0].argmax(dim=1), best) for each in weights.values())


def test_a_generated_answer_is_right_only_if_every_token_is(backbone, exam):
    bank = bank_of(backbone, Gate(), [[0]])
    logits = forward(backbone, exam.tokens[None], select(bank.experts, [0]), SCALING)[0]
    said = logits.argmax(-1)
    right = exam.targets.clone()
    right[PER_TASK:, 5:7] = said[PER_TASK:, 5:7]
    spoiled = right.clone()
    spoiled[PER_TASK:, 6] = (spoiled[PER_TASK:, 6] + 1) % VOCAB
    for targets, expected in ((right, 1.0), (spoiled, 0.0)):
        accuracy = evaluate(backbone, bank, replace(exam, targets=targets), SCALING).accuracy
        assert accuracy[0, 1:].tolist() == [expected] * (TASKS - 1)


def test_whoever_is_always_right_has_an_accuracy_of_one(backbone, exam, monkeypatch):
    ones = torch.ones(1, 24)
    all_right = Answers(ones.bool(), ones, ones, ones, ones[:, :, None])
    monkeypatch.setattr("meshtune.engine.answering.evaluate.answers", lambda *_: all_right)
    asked = replace(exam, task=torch.zeros(24, dtype=torch.int64))
    found = evaluate(backbone, bank_of(backbone, Gate(), [[0]]), asked, SCALING)
    assert found.accuracy.tolist() == [[1.0]]


def test_own_accuracy_is_the_mean_over_what_a_device_holds(backbone, exam):
    bank = bank_of(backbone, Gate(), [[0], [1], [2], [3]])
    matrix = evaluate(backbone, bank, exam, SCALING).accuracy
    alone = torch.eye(TASKS)[[0, 1, 2, 0]]
    mixed = torch.tensor([[0.2, 0.8, 0.0], [0.0, 0.0, 1.0], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    for mixture in (alone, mixed):
        expected = float((matrix * mixture).sum(dim=1).mean())
        got = own_accuracy(backbone, bank.experts, mixture, exam, SCALING)
        assert got == pytest.approx(expected)


@pytest.fixture
def some_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "gate", [Gate("single"), Gate("prototype"), Gate("arrow", "token", "soft")]
)
def test_answers_depend_on_the_threads_in_the_last_bits_at_most(backbone, exam, gate, some_threads):
    bank = bank_of(backbone, gate, [[0, 1, 2], [3, 1, -1], [4, 2, 0]])
    many = answers(backbone, bank, exam, SCALING)
    assert torch.get_num_threads() == some_threads
    torch.set_num_threads(1)
    one = answers(backbone, bank, exam, SCALING)
    assert torch.equal(many.correct, one.correct)
    # Not to the bit: some processors' kernels split one product in another way for more threads.
    torch.testing.assert_close(many.loss, one.loss, rtol=1e-6, atol=0)


@pytest.mark.parametrize("gate", [Gate("single"), Gate("none")])
def test_check_ends_the_evaluation_by_raising_in_this_thread(backbone, exam, gate):
    called_in = []

    def check() -> None:
        called_in.append(threading.current_thread())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(backbone, bank_of(backbone, gate, [[0, 1], [2, 1]]), exam, SCALING, check)
    assert called_in == [threading.current_thread()]
    assert not [t for t in threading.enumerate() if t.name.startswith("side_by_side")]
