"""What local training costs a device, and how long this machine will take to simulate a run."""

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from meshtune.engine import config as c
from meshtune.engine.costs import method_costs
from meshtune.engine.models.door import facts_of
from meshtune.engine.models.questions import lengths_of

# What this machine really takes, by runs of 2 to 16 devices on one and on two threads: operations
# of training and of evaluation as counted here, in units of those of a matrix product, and what a
# step costs beside them (`wall_s`).
TRAIN_FACTOR = 1.55
STEP_FLOP = 4.5e9
ANSWER_FACTOR = 1.2
START_S = 5.0
ENCODE_S = 1e-4
EXAM_S = 1e-3
PRODUCT_SIZE = 512
PRODUCTS = 10
MEASUREMENTS = 5  # of the machine, one per plan
_rates: list[float] = []


@dataclass(frozen=True)
class Hardware:
    """A class of devices: what it trains with, and what it draws meanwhile."""

    flop_s: float
    power_w: float


# Our choice, good for an order of magnitude: single-precision peak of the class as vendors print
# it, times the tenth or so that steps of a small model reach, for as long as a cool device can.
HARDWARE: dict[c.HardwareName, Hardware] = {
    # GPU of 3 to 4 TFLOP/s; about 5 W leave a phone through its skin without throttling.
    "flagship": Hardware(flop_s=4e11, power_w=5.0),
    # GPU of about 1 TFLOP/s.
    "midrange": Hardware(flop_s=1.2e11, power_w=3.5),
    # GPU or eight small cores of 0.1 to 0.3 TFLOP/s.
    "entry": Hardware(flop_s=3e10, power_w=2.5),
    # Two small cores of 10 to 20 GFLOP/s; a wrist and its battery bear half a watt.
    "wearable": Hardware(flop_s=1e9, power_w=0.6),
}


@dataclass(frozen=True)
class ComputeCost:
    """Local training of one round, per device."""

    seconds: Float64[np.ndarray, " n"]
    joules: Float64[np.ndarray, " n"]


def compute_cost(config: c.RunConfig, round_index: int | None = None) -> ComputeCost:
    """Time and energy of every device's local training in a round (docs/model.md M29).

        seconds_i = flop / flop_s(hardware_i),   joules_i = power_w(hardware_i) seconds_i

    Args:
        config: the experiment.
        round_index: the round, whose warm-up of masks counts; a round without one if None.

    Source: energy as power times time; speed and power per class are our choice (`HARDWARE`).
    """
    flop = training_flop(config, round_index)
    owned = [HARDWARE[config.fleet.hardware_of(i)] for i in range(config.fleet.devices)]
    seconds = np.array([flop / hardware.flop_s for hardware in owned])
    return ComputeCost(seconds, seconds * np.array([hardware.power_w for hardware in owned]))


def training_flop(config: c.RunConfig, round_index: int | None = None) -> float:
    """Floating-point operations of one device's local training in a round (M29).

        flop = steps x batch x tokens x (4 N + 4 F + 6 T)

    N frozen weights of the linear layers and the head, each used forward and to hand the gradient
    on (2 + 2); F adapter values that stand still (2 + 2); T trained values (2 + 2, and 2 for their
    own gradient). Where all weights are trained they are T. `steps` counts the warm-up of masks in
    the rounds that have one. Masked entries cost as much as others: arithmetic on scattered zeros
    saves no time (our choice). Attention, norms and optimizer are left out: some percent.

    The paper's proxy eps Q N_i / Bsz (arXiv 2602.20492, Eq. 7) counts trained values Q per step
    and takes N_i / Bsz steps, as if the frozen model cost nothing. Here these values are about a
    tenth of a step at rank 8, so that rank and density hardly change the time.

    Raises:
        AssetMissing: the package was installed without its model.
    """
    samples = training_steps(config, round_index) * config.training.batch_size
    tokens = lengths_of(config, config.fleet.present_tasks()).padded
    return samples * tokens * flop_per_token(config)


def training_steps(config: c.RunConfig, round_index: int | None = None) -> int:
    """Steps of local training in a round, those of the warm-up of masks included."""
    steps = config.training.local_steps
    return steps if round_index is None else steps + method_costs(config).warm_up_steps(round_index)


def flop_per_token(config: c.RunConfig) -> float:
    """Operations of a training step per token: 4 N + 4 F + 6 T, see `training_flop`."""
    work = method_costs(config).work
    head = facts_of(config.model).head_weights
    return 4.0 * (work.frozen + head + work.still) + 6.0 * work.trained


def wall_s(config: c.RunConfig) -> float:
    """How long the run will take on this machine, in seconds (docs/model.md M29).

        start + samples + [steps (1.55 F + 4.5e9) + 1.2 answers G] / rate

    F are the operations of one step of all devices, padded to the longest sample of the tasks, G
    those of one answer forward, and `rate` is that of a float32 matrix product here, measured once
    per process in about 20 ms. The numbers are fitted to runs (our choice) and good for a factor of
    about 1.5 on an idle machine; who measures while another run trains sees a slower one.
    """
    fleet, training = config.fleet, config.training
    longest = lengths_of(config, fleet.present_tasks()).longest
    step_flop = fleet.devices * training.batch_size * longest * flop_per_token(config)
    steps = sum(training_steps(config, t) for t in range(config.rounds))
    flop = steps * (TRAIN_FACTOR * step_flop + STEP_FLOP)
    flop += ANSWER_FACTOR * _answer_flop(config)
    questions = len(fleet.present_tasks()) * config.evaluation.samples_per_task
    samples_s = ENCODE_S * fleet.devices * fleet.train_samples + EXAM_S * questions
    return START_S + samples_s + flop / product_flop_s()


def product_flop_s() -> float:
    """Operations per second of a float32 matrix product on this machine, the best seen so far.

    Measured anew for some time: what starts beside us would otherwise look like a slow machine for
    ever.
    """
    if len(_rates) < MEASUREMENTS:
        _rates.append(_measured_flop_s())
    return max(_rates)


def _measured_flop_s() -> float:
    factor = np.ones((PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    product = factor @ factor  # the first one starts threads
    taken_s = []
    for _ in range(PRODUCTS):
        began = time.perf_counter()
        np.matmul(factor, factor, out=product)
        taken_s.append(time.perf_counter() - began)
    return 2.0 * PRODUCT_SIZE**3 / min(taken_s)


def _answer_flop(config: c.RunConfig) -> float:
    """Operations of all answers of the run, 2 per value and token.

    Every device answers every question, and those of its own task once more before the exchange.
    """
    fleet, every = config.fleet, config.evaluation.every_rounds
    tasks = fleet.present_tasks()
    lengths = [lengths_of(config, (task,)) for task in tasks]
    tokens = config.evaluation.samples_per_task * sum(
        each.longest * each.passes for each in lengths
    )
    evaluated = {*range(every - 1, config.rounds, every), config.rounds - 1}
    answers = method_costs(config).answers
    asked = sum(answers(t + 1) for t in sorted(evaluated))
    asked += len(evaluated) * fleet.devices / len(tasks)
    return asked * tokens * flop_per_token(config) / 2.0
