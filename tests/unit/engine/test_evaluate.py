"""Evaluation against the slow obvious way: every device asked every question by itself."""

import pytest
import torch
from torch.testing import assert_close
from transformers import LlamaConfig, LlamaForCausalLM

from engine.adapters import Adapters, select
from engine.backbone.forward import Backbone, backbone_from_llama, forward, prompt_inputs
from engine.evaluate import Exam, Scores, choose_experts, evaluate, own_accuracy
from engine.methods import Bank

TASKS, PER_TASK, WIDTH, LENGTH = 3, 5, 16, 9
SCALING = 2.0


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=20,
        hidden_size=WIDTH,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return backbone_from_llama(LlamaForCausalLM(config).eval())


def exam_for(backbone: Backbone) -> Exam:
    """Task 0 is multiple choice (3 options), the others have generated answers of two tokens."""
    generator = torch.Generator().manual_seed(1)
    q = TASKS * PER_TASK
    tokens = torch.randint(4, 20, (q, LENGTH), generator=generator)
    targets = torch.full((q, LENGTH), -100)
    targets[:, 6:8] = torch.randint(4, 20, (q, 2), generator=generator)
    choices = torch.full((q, 3), -1)
    targets[:PER_TASK, 7] = -100
    choices[:PER_TASK] = torch.tensor([5, 6, 7])
    targets[:PER_TASK, 6] = 6
    mask = torch.zeros(q, LENGTH, dtype=torch.bool)
    mask[:, 1:6] = True
    task = torch.arange(TASKS).repeat_interleave(PER_TASK)
    return Exam(tokens, targets, choices, task, prompt_inputs(backbone, tokens, mask))


def experts_for(backbone: Backbone, count: int) -> Adapters:
    generator = torch.Generator().manual_seed(2)
    a, b = {}, {}
    for name, (d_out, d_in) in backbone.shapes.items():
        a[name] = torch.randn(count, 2, d_in, generator=generator) / d_in**0.5
        b[name] = torch.randn(count, d_out, 2, generator=generator)
    return Adapters(a, b)


def slowly(backbone: Backbone, bank: Bank, exam: Exam, summed: bool) -> Scores:
    """One question, one device at a time, from the definition."""
    n = len(bank.held)
    accuracy, loss = torch.zeros(n, TASKS), torch.zeros(n, TASKS)
    chosen = None if summed else choose_experts(bank, exam)
    for i in range(n):
        for q, task in enumerate(exam.task.tolist()):
            a, b = {}, {}
            for column, name in enumerate(bank.experts.b):
                if chosen is None:
                    picks = bank.held[i][bank.held[i] >= 0]
                else:
                    picks = chosen[i, q, column][None]
                some = select(bank.experts, picks)
                a[name] = torch.cat(list(some.a[name]))[None]
                b[name] = torch.cat(list(some.b[name]), dim=1)[None]
            tokens = exam.tokens[q][None, None]
            with torch.no_grad():
                said = forward(backbone, tokens, Adapters(a, b), SCALING)[0, 0].log_softmax(-1)
            places = [t for t in range(LENGTH) if exam.targets[q, t] != -100]
            answer = [int(exam.targets[q, t]) for t in places]
            if exam.choices[q, 0] >= 0:
                best = max(exam.choices[q].tolist(), key=lambda c: float(said[places[0], c]))
                right = best == answer[0]
            else:
                right = [int(said[t].argmax()) for t in places] == answer
            nll = -sum(float(said[t, c]) for t, c in zip(places, answer, strict=True))
            accuracy[i, task] += right / PER_TASK
            loss[i, task] += nll / len(places) / PER_TASK
    return Scores(accuracy, loss, None)


def bank_of(backbone: Backbone, gate: str, held: list[list[int]]) -> Bank:
    index = torch.tensor(held)
    experts = experts_for(backbone, int(index.max()) + 1)
    generator = torch.Generator().manual_seed(3)
    prototypes = {
        name: 0.1 * torch.randn(int(index.max()) + 1, d_in, generator=generator)
        for name, (_, d_in) in backbone.shapes.items()
    }
    return Bank(experts, index, gate, prototypes)


BANKS = {
    "single": [[0], [1], [2], [3]],
    "oracle": [[0, 1, 2], [3, 1, -1]],
    "prototype": [[0, 1, 2], [0, 1, 2], [3, 1, -1], [4, -1, -1]],
    "none": [[0, 1, 2], [3, -1, 2]],
}


@pytest.mark.parametrize("gate", BANKS)
def test_batched_and_deduplicated_equals_one_question_at_a_time(backbone, gate):
    exam, bank = exam_for(backbone), bank_of(backbone, gate, BANKS[gate])
    fast = evaluate(backbone, bank, exam, SCALING)
    slow = slowly(backbone, bank, exam, summed=gate == "none")
    assert_close(fast.accuracy, slow.accuracy)
    assert_close(fast.loss, slow.loss, rtol=1e-4, atol=1e-4)


def test_the_prototype_gate_may_choose_another_expert_in_every_module(backbone):
    exam, bank = exam_for(backbone), bank_of(backbone, "prototype", [[0, 1, 2]])
    chosen = choose_experts(bank, exam)
    assert (chosen != chosen[..., :1]).any()  # so the test above covers the mixed path


def test_only_the_oracle_reads_the_task(backbone):
    exam = exam_for(backbone)
    shuffled = Exam(exam.tokens, exam.targets, exam.choices, exam.task.flip(0), exam.inputs)
    for gate in ("prototype", "single"):
        bank = bank_of(backbone, gate, BANKS[gate])
        assert torch.equal(choose_experts(bank, exam), choose_experts(bank, shuffled))


def test_routing_is_right_where_prompts_are_prototypes(backbone):
    exam = exam_for(backbone)
    bank = bank_of(backbone, "prototype", [[0, 1, 2]])
    means = {
        name: torch.stack([value[exam.task == k].mean(dim=0) for k in range(TASKS)])
        for name, value in exam.inputs.items()
    }
    at_means = Exam(
        exam.tokens,
        exam.targets,
        exam.choices,
        exam.task,
        {name: value[exam.task] for name, value in means.items()},
    )
    routed = Bank(bank.experts, bank.held, "prototype", means)
    assert evaluate(backbone, routed, at_means, SCALING).routed_right == 1.0


def test_a_generated_answer_is_right_only_if_every_token_is(backbone):
    exam = exam_for(backbone)
    bank = bank_of(backbone, "single", [[0]])
    logits = forward(backbone, exam.tokens[None], select(bank.experts, [0]), SCALING)[0]
    said = logits.argmax(-1)
    right = exam.targets.clone()
    right[PER_TASK:, 6:8] = said[PER_TASK:, 6:8]
    spoiled = right.clone()
    spoiled[PER_TASK:, 7] = (spoiled[PER_TASK:, 7] + 1) % 20
    for targets, expected in ((right, 1.0), (spoiled, 0.0)):
        asked = Exam(exam.tokens, targets, exam.choices, exam.task, exam.inputs)
        accuracy = evaluate(backbone, bank, asked, SCALING).accuracy
        assert accuracy[0, 1:].tolist() == [expected] * (TASKS - 1)


def test_own_accuracy_is_the_mean_of_the_own_column(backbone):
    exam, bank = exam_for(backbone), bank_of(backbone, "single", [[0], [1], [2], [3]])
    own = torch.tensor([0, 1, 2, 0])
    matrix = evaluate(backbone, bank, exam, SCALING).accuracy
    expected = float(matrix[torch.arange(4), own].mean())
    assert own_accuracy(backbone, bank.experts, own, exam, SCALING) == pytest.approx(expected)
