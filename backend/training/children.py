"""A child as its supervisor sees it."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from meshtune.backend.training.orders import Order
from meshtune.db import leases


@dataclass
class Child:
    """A process that loads the engine, waits, and then trains one run."""

    process: SpawnProcess
    pipe: Connection
    ready: bool = False
    claim: leases.Claim | None = None
    claimed_at: float = 0.0
    progress: float = 0.0
    shown: float = 0.0  # progress that the store has
    stepped: bool = False  # it asks for orders only once it does
    heard_at: float = field(default_factory=time.monotonic)
    beaten_at: float = 0.0
    told: Order | None = None
    told_at: float = 0.0
    killed_for: str | None = None

    def take(self, claim: leases.Claim) -> None:
        """Start on a run."""
        self.claim = claim
        self.claimed_at = self.heard_at = self.beaten_at = time.monotonic()
        self._send(claim)

    def tell(self, order: Order) -> None:
        """Tell it once; `STOP` overrides `FINISH_ROUND`."""
        if self.told in (order, Order.STOP):
            return
        self.told, self.told_at = order, time.monotonic()
        self._send(order)

    def _send(self, what: leases.Claim | Order) -> None:
        with suppress(OSError):  # that it died is found out by the next `wait`
            self.pipe.send(what)
