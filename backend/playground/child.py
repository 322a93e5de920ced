"""The process behind the playground: keeps torch and the runs asked last warm, answers in turn.

Nobody imports this module but that process (`meshtune.backend.playground.asking`): it loads torch.
"""

import time
from collections import OrderedDict
from dataclasses import asdict
from multiprocessing.connection import Connection

from meshtune.backend.playground.orders import FileNeeded, Order, Refused, Reply, RouteOrder
from meshtune.backend.schemas.learn import RoutingOut
from meshtune.backend.schemas.playground import AnsweredOut, AskIn
from meshtune.engine.errors import EngineError
from meshtune.engine.explain.routing import routing
from meshtune.engine.playground.lab import Lab, ask
from meshtune.engine.playground.outside import outside_adapter
from meshtune.engine.playground.values import Answered, BadPrompt, GateWish, Question

LABS_KEPT = 3
IDLE_S = 600.0


def main(pipe: Connection) -> None:
    """Answer orders until the pipe is closed or nobody asked for a while."""
    labs: OrderedDict[str, Lab] = OrderedDict()
    try:
        while pipe.poll(IDLE_S):
            order = pipe.recv()
            routes = isinstance(order, RouteOrder)
            pipe.send(_routed(order) if routes else _reply(labs, order))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _routed(order: RouteOrder) -> RoutingOut:
    return RoutingOut.model_validate(vars(routing(order.layer)))


def _reply(labs: OrderedDict[str, Lab], order: Order) -> Reply:
    began = time.monotonic()
    if order.name not in labs:
        if order.path is None:
            return FileNeeded()
        try:
            labs[order.name] = Lab.of(order.config, order.path)
        except EngineError as error:
            return Refused("rounds_done", str(error))
        while len(labs) > LABS_KEPT:
            labs.popitem(last=False)
    labs.move_to_end(order.name)
    lab = labs[order.name]
    question, given = _question(lab, order.ask), order.ask.adapter
    try:
        outside = outside_adapter(order.config, given) if given else None
    except EngineError as error:
        return Refused("adapter", str(error))
    try:
        answered = ask(lab, question, order.ask.device, _wish(order.ask), outside)
    except BadPrompt as error:
        return Refused("prompt", str(error))
    return _told(order, question, answered, time.monotonic() - began)


def _question(lab: Lab, asked: AskIn) -> Question:
    if asked.prompt is not None:
        return Question(asked.prompt, asked.task)
    task = asked.task or lab.world.config.fleet.task_of(asked.device)
    return lab.question(task, asked.number)


def _wish(asked: AskIn) -> GateWish:
    gate = asked.gate
    return GateWish(gate.kind, gate.level, gate.blend, gate.top_k, frozenset(gate.off))


def _told(order: Order, question: Question, answered: Answered, seconds: float) -> AnsweredOut:
    shown = asdict(answered)
    used = shown.pop("gate_used")
    return AnsweredOut.model_validate(
        shown
        | {
            "rounds_done": order.rounds_done,
            "prompt": question.prompt,
            "task": question.task,
            "answer": question.answer,
            "choices": question.choices,
            "gate_kind": used["kind"],
            "gate_level": used["level"],
            "gate_blend": used["blend"],
            "seconds": seconds,
        }
    )
