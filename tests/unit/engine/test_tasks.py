"""Tasks: splits never meet, draws repeat, answers are true, encodings line up."""

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable

import pytest

from meshtune.engine.backbone.embedded import embedded_tokenizer
from meshtune.engine.backbone.encode import IGNORED, choice_tokens, encode
from meshtune.engine.config import TASK_NAMES, WORLD_TASKS, TaskName
from meshtune.engine.tasks import TASKS
from meshtune.engine.tasks.base import (
    Sample,
    split_of,
    test_samples as held_out_samples,
    train_samples,
)
from meshtune.engine.tasks.words import FACTS, KINDS, OPPOSITES, WORDS, number_in_words

COUNT = 400
EMBEDDED = WORLD_TASKS["embedded"]
OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def drawn(name: TaskName) -> tuple[Sample, ...]:
    return train_samples(TASKS[name], seed=3, device=1, count=COUNT)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_no_held_out_prompt_is_ever_trained_on(name: TaskName) -> None:
    task = TASKS[name]
    trained = {
        s.prompt for seed in (0, 1) for i in (0, 7) for s in train_samples(task, seed, i, COUNT)
    }
    held_out = {s.prompt for seed in (0, 1) for s in held_out_samples(task, seed, COUNT)}
    assert held_out
    assert not trained & held_out
    assert all(split_of(name, prompt) == "test" for prompt in held_out)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_samples_repeat_from_their_seed_and_differ_between_devices(name: TaskName) -> None:
    task = TASKS[name]
    assert train_samples(task, 5, 2, COUNT) == train_samples(task, 5, 2, COUNT)
    assert train_samples(task, 5, 2, 10) == train_samples(task, 5, 2, COUNT)[:10]
    assert train_samples(task, 5, 2, COUNT) != train_samples(task, 5, 3, COUNT)
    assert train_samples(task, 5, 2, COUNT) != train_samples(task, 6, 2, COUNT)
    assert held_out_samples(task, 5, COUNT) == held_out_samples(task, 5, COUNT)


@pytest.mark.parametrize("name", EMBEDDED)
def test_prompt_and_answer_are_short_printable_text(name: TaskName) -> None:
    for sample in drawn(name):
        text = sample.prompt + sample.answer
        assert len(text) <= 64
        assert text.isascii()
        assert text.isprintable()
        assert sample.prompt.endswith(">")


@pytest.mark.parametrize("name", TASK_NAMES)
def test_no_choice_is_favoured(name: TaskName) -> None:
    task, samples = TASKS[name], drawn(name)
    assert task.name == name
    choices = samples[0].choices
    assert task.chance == (1 / len(choices) if choices else 0.0)
    if choices:
        places = Counter(s.choices.index(s.answer) for s in train_samples(task, 0, 0, 2000))
        assert len(places) == len(choices)
        assert all(abs(n / 2000 - task.chance) < 0.05 for n in places.values())


def test_no_samples_asked_for_gives_none() -> None:
    assert train_samples(TASKS["addition"], 0, 0, 0) == ()


def integer_value(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](integer_value(node.left), integer_value(node.right))
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int)
    return node.value


@pytest.mark.parametrize("name", ["addition", "expression"])
def test_arithmetic_answers_are_what_a_second_evaluator_finds(name: TaskName) -> None:
    for sample in drawn(name):
        source = sample.prompt.removesuffix(">").removeprefix("x=").removesuffix(";x")
        tree = ast.parse(source, mode="eval")
        assert sample.answer == str(integer_value(tree.body))


def test_list_answers_are_what_python_prints() -> None:
    for sample in drawn("list_result"):
        value = eval(sample.prompt.removesuffix(">"))
        assert sample.answer == str(value).replace(" ", "")


def test_number_words_read_back_to_the_number() -> None:
    worth = {number_in_words(n): n for n in (*range(1, 20), *range(20, 100, 10))}
    for sample in drawn("number_words"):
        hundreds, rest = sample.answer.split(" hundred")
        total = 100 * worth[hundreds] + sum(worth[word] for word in rest.split())
        assert sample.prompt == f"#{total}>"


def test_a_number_without_a_name_is_refused() -> None:
    assert number_in_words(0) == "zero"
    with pytest.raises(ValueError, match="number 1000 has no name here"):
        number_in_words(1000)


def test_reading_says_yes_exactly_when_the_passage_states_the_claim() -> None:
    for sample in drawn("reading"):
        passage, claim = sample.prompt.removesuffix("?>").split(".")
        assert sample.answer == ("y" if claim in passage.split(",") else "n")


def test_entailment_labels_follow_from_opposites_and_kinds() -> None:
    opposite = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
    for sample in drawn("entailment"):
        match = re.fullmatch(r"(\w+) is (\w+);(\w+) is (\w+)>", sample.prompt)
        assert match
        animal, known, subject, claimed = match.groups()
        assert subject == animal or animal in KINDS[subject]
        assert sample.answer == {known: "e", opposite[known]: "c"}.get(claimed, "n")


def test_the_sensible_ending_is_the_only_fact_among_the_four() -> None:
    facts = dict(FACTS)
    assert len(set(facts.values())) == len(facts)
    for sample in drawn("ending"):
        start, endings = sample.prompt.removesuffix(">").split(":")
        assert sample.choices == tuple(ending[0] for ending in endings.split(","))
        assert len(set(sample.choices)) == 4
        assert [e for e in endings.split(",") if e[0] == sample.answer] == [facts[start]]


def test_instructions_are_followed_to_the_letter() -> None:
    assert len(WORDS) > 100
    for sample in drawn("instruction"):
        match = re.fullmatch(r'(\w+) "(\w+)">', sample.prompt)
        assert match
        order, word = match.groups()
        expected = {
            "capitals": word.upper(),
            "spell": "-".join(list(word)),
            "first": word[:1],
            "last": word[-1:],
            "repeat": word,
            "twice": word + " " + word,
        }
        assert sample.answer == expected[order]


@pytest.mark.parametrize("name", EMBEDDED)
def test_targets_are_the_answer_shifted_by_one(name: TaskName) -> None:
    tokenizer, samples = embedded_tokenizer(), drawn(name)[:16]
    batch = encode(samples, tokenizer)
    for row, sample in enumerate(samples):
        scored = batch.targets[row] != IGNORED
        ending = "" if sample.choices else "<eos>"
        assert tokenizer.decode(batch.targets[row, scored].tolist()) == sample.answer + ending
        assert tokenizer.decode(batch.tokens[row, batch.prompt_mask[row]].tolist()) == sample.prompt
        assert tokenizer.decode([int(batch.tokens[row, int(scored.int().argmax())])]) == ">"
        assert batch.tokens[row, 0] == tokenizer.bos_token_id


def test_choices_become_single_tokens_padded_with_minus_one() -> None:
    tokenizer = embedded_tokenizer()
    samples = (
        Sample("q>", "y", ("y", "n")),
        Sample("q>", "x"),
        Sample("q>", "a", tuple("abc")),
        Sample("q>", "no", ("yes", "no")),
    )
    ids = choice_tokens(samples, tokenizer)
    y, n, a, b, c = (tokenizer.get_vocab()[letter] for letter in "ynabc")
    assert ids.tolist() == [[y, n, -1], [-1, -1, -1], [a, b, c], [-1, -1, -1]]
