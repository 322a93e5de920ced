"""The playground as the API holds it: one warm child process, asked one question at a time."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from meshtune.backend.errors import InvalidConfig, PlaygroundBusy
from meshtune.backend.playground.orders import FileNeeded, Order, Refused, Reply, RouteOrder
from meshtune.backend.schemas.learn import RoutingOut
from meshtune.backend.schemas.playground import AnsweredOut, AskIn
from meshtune.backend.training.artefacts import Artefacts, Kept
from meshtune.engine.config import RunConfig

PATIENCE_S = 60.0  # of one question: loading a run on a busy machine takes some seconds
QUEUE_S = 20.0


def work(pipe: Connection) -> None:
    """What the child does. By name, since the process of the API must never load torch."""
    # Before torch is loaded: a question must not take the cores from training.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import_module("meshtune.backend.playground.child").main(pipe)


class Playground:
    """Starts the child at the first question, and again when it has died or left."""

    def __init__(self, artefacts: Artefacts) -> None:
        self.artefacts = artefacts
        self._turn = threading.Lock()
        self._child: tuple[BaseProcess, Connection] | None = None

    def kept(self, run_id: int, rounds_done: int) -> dict[int, Kept]:
        """Checkpoints of a run by the number of finished rounds, oldest first.

        Raises:
            ArtefactsUnavailable: they cannot be listed now.
        """
        found = (kept for kept in self.artefacts.of_run(run_id) if not kept.partial)
        # Of two with one number the one saved under the later fence counts; sorted by it.
        return {k.round_index + 1: k for k in found if k.round_index < rounds_done}

    def ask(self, asked: AskIn, kept: Kept, config: RunConfig) -> AnsweredOut:
        """The answer of the child.

        Raises:
            InvalidConfig: the prompt or the state cannot be used; one sentence says why.
            PlaygroundBusy: others ask, or the child did not answer.
        """
        order = Order(asked, kept.round_index + 1, kept.name, config, None)
        with self._own_turn():
            reply = self._answer(order)
            if isinstance(reply, FileNeeded):
                with self.artefacts.fetched(kept.name) as path:
                    reply = self._answer(replace(order, path=path))
        if isinstance(reply, Refused):
            raise InvalidConfig([(reply.field, reply.sentence)])
        if not isinstance(reply, AnsweredOut):
            raise PlaygroundBusy("the playground lost the run it had loaded; ask again")
        return reply

    def route(self, layer: int) -> RoutingOut:
        """How prompts would be routed at a layer of the embedded model.

        Raises:
            PlaygroundBusy: others ask, or the child did not answer.
        """
        with self._own_turn():
            reply = self._answer(RouteOrder(layer))
        if not isinstance(reply, RoutingOut):
            raise PlaygroundBusy("the playground answered something else; ask again")
        return reply

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            process, pipe = self._child
            pipe.close()
            process.terminate()
            process.join(2.0)
            if process.is_alive():
                process.kill()
            self._child = None

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=QUEUE_S):
            raise PlaygroundBusy("others ask the playground now; try again in a moment")
        try:
            yield
        finally:
            self._turn.release()

    def _answer(self, order: Order | RouteOrder) -> Reply:
        """What the child replies; a child that died while idle is replaced once."""
        for again in (True, False):
            _, pipe = self._started()
            until = time.monotonic() + PATIENCE_S
            try:
                pipe.send(order)
                if pipe.poll(until - time.monotonic()):
                    reply: Reply = pipe.recv()
                    return reply
            except (EOFError, OSError):
                self.close()
                if again:
                    continue
                raise PlaygroundBusy(
                    "the playground's process ended while it worked; ask again, and look at the "
                    "log of the API if it happens twice"
                ) from None
            break
        self.close()  # what it still works on would answer the next question
        raise PlaygroundBusy(f"no answer within {PATIENCE_S:.0f} s; the machine is busy, ask again")

    def _started(self) -> tuple[BaseProcess, Connection]:
        if self._child is not None and self._child[0].is_alive():
            return self._child
        self.close()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs,), daemon=True, name="playground")
        try:
            process.start()
        except OSError as error:  # no memory or no process left
            raise PlaygroundBusy(
                f"the playground cannot start here ({error.strerror or error}); free memory"
            ) from error
        finally:
            theirs.close()  # so that our death is an end of file to it
        self._child = (process, ours)
        return self._child
