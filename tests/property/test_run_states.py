"""Whatever people and workers do, in any order: no round is lost, doubled or stored by others."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from meshtune.backend.settings import Settings, open_store
from meshtune.db import leases, runs, steering
from meshtune.db.errors import ClaimLost, IllegalTransition
from meshtune.db.models import Round, Run, RunEvent, Wanted
from meshtune.db.session import reading, writing
from meshtune.engine.records import ENDED, LEGAL_MOVES, RunStatus
from tests.support.builders import LEASE_S, expire_lease, sample_record, tiny_config

ROUNDS = 3
R = RunStatus
# What people ask, and where a run stands afterwards; from elsewhere it is refused.
ASKS: dict[str, tuple[Callable[[Session, int], Run], dict[RunStatus, RunStatus]]] = {
    "cancel": (
        steering.request_cancel,
        {
            R.QUEUED: R.CANCELLED,
            R.PAUSED: R.CANCELLED,
            R.RUNNING: R.RUNNING,
            R.CANCELLED: R.CANCELLED,
        },
    ),
    "pause": (
        steering.request_pause,
        {R.QUEUED: R.PAUSED, R.RUNNING: R.RUNNING, R.PAUSED: R.PAUSED},
    ),
    "resume": (
        steering.request_resume,
        {R.PAUSED: R.QUEUED, R.QUEUED: R.QUEUED, R.RUNNING: R.RUNNING},
    ),
    "retry": (steering.retry, {R.FAILED: R.QUEUED}),
}


class RunStates(RuleBasedStateMachine):
    """The store beside a model of it: per run its rounds, and who may write."""

    queued = Bundle("queued")
    claims = Bundle("claims")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = open_store(Settings(state_dir=Path(self.folder.name)))
        self.rounds: dict[int, int] = {}
        self.owner: dict[int, int] = {}  # fence that may write, by run

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.dispose()
            self.folder.cleanup()

    @rule(target=queued)
    def create(self) -> int:
        with writing(self.store) as session:
            run = runs.create(session, tiny_config(rounds=ROUNDS))
        self.rounds[run.id] = 0
        return run.id

    @rule(target=claims, worker=st.sampled_from(["a", "b"]))
    def claim(self, worker: str) -> object:
        with writing(self.store) as session:
            claim = leases.claim_next(session, worker, lease_s=LEASE_S)
        if claim is None:
            return multiple()
        assert self.owner.get(claim.run_id) is None, "two owners"
        assert claim.rounds_done == self.rounds[claim.run_id]
        self.owner[claim.run_id] = claim.fence
        return claim

    @rule(claim=claims)
    def append(self, claim: leases.Claim) -> None:
        index = self.rounds[claim.run_id]
        if index < ROUNDS and self.allowed(claim, lambda s: self.store_round(s, claim, index)):
            self.rounds[claim.run_id] += 1

    @rule(claim=claims, stale=st.integers(-2, 2).filter(bool))
    def append_out_of_turn(self, claim: leases.Claim, stale: int) -> None:
        index = self.rounds[claim.run_id] + stale
        if index >= 0:
            assert not self.tried(lambda s: self.store_round(s, claim, index))

    @rule(claim=claims)
    def beat(self, claim: leases.Claim) -> None:
        self.allowed(claim, lambda s: leases.beat(s, claim, progress=0.5, lease_s=LEASE_S))

    @rule(claim=consumes(claims), status=st.sampled_from(sorted(ENDED)))
    def finish(self, claim: leases.Claim, status: RunStatus) -> None:
        if self.allowed(claim, lambda s: leases.finish(s, claim, status, "why")):
            self.owner.pop(claim.run_id)

    @rule(claim=claims, lost=st.booleans())
    def give_back(self, claim: leases.Claim, lost: bool) -> None:
        give = leases.report_loss if lost else leases.release
        if self.allowed(claim, lambda s: give(s, claim, "why")):
            self.owner.pop(claim.run_id)

    @rule(claim=claims)
    def fall_silent(self, claim: leases.Claim) -> None:
        if self.owner.get(claim.run_id) != claim.fence:
            return
        with writing(self.store) as session:
            expire_lease(session, claim.run_id)
            assert leases.requeue_stale(session, actor="test") == [claim.run_id]
        self.owner.pop(claim.run_id)

    @rule(run_id=queued, ask=st.sampled_from(sorted(ASKS)))
    def ask(self, run_id: int, ask: str) -> None:
        request, moves = ASKS[ask]
        with reading(self.store) as session:
            before = runs.get(session, run_id)
        try:
            with writing(self.store) as session:
                after = request(session, run_id).status
        except IllegalTransition:
            being_cancelled = before.wanted is Wanted.CANCEL and ask in {"pause", "resume"}
            assert before.status not in moves or being_cancelled
        else:
            assert after is moves[before.status]

    @rule(run_id=queued)
    def hide_and_restore(self, run_id: int) -> None:
        with reading(self.store) as session:
            before = runs.get(session, run_id).status
        try:
            with writing(self.store) as session:
                steering.delete(session, run_id)
        except IllegalTransition:
            assert before is RunStatus.RUNNING
        else:
            with writing(self.store) as session:
                assert run_id not in [run.id for run in runs.listed(session)]
                status = steering.restore(session, run_id).status
                assert status is (before if before in ENDED else RunStatus.CANCELLED)

    @rule()
    def wait(self) -> None:
        with writing(self.store) as session:
            for run in session.scalars(select(Run)):
                run.not_before = 0.0

    @invariant()
    def rounds_are_complete_and_fenced(self) -> None:
        if not hasattr(self, "store"):
            return
        with reading(self.store) as session:
            for run in session.scalars(select(Run)):
                stored = session.execute(
                    select(Round.round_index, Round.fence)
                    .where(Round.run_id == run.id)
                    .order_by(Round.round_index)
                ).all()
                assert [index for index, _ in stored] == list(range(self.rounds[run.id]))
                fences = [fence for _, fence in stored]
                assert fences == sorted(fences)
                assert run.rounds_done == self.rounds[run.id]
                assert (run.status is RunStatus.RUNNING) == (run.id in self.owner)

    @invariant()
    def events_tell_only_legal_moves(self) -> None:
        if not hasattr(self, "store"):
            return
        with reading(self.store) as session:
            for run in session.scalars(select(Run)):
                kinds = session.scalars(
                    select(RunEvent.kind).where(RunEvent.run_id == run.id).order_by(RunEvent.id)
                )
                at = RunStatus.QUEUED
                for kind in kinds:
                    if kind in set(RunStatus):
                        assert RunStatus(kind) in LEGAL_MOVES[at]
                        at = RunStatus(kind)
                assert at is run.status

    def store_round(self, session: Session, claim: leases.Claim, index: int) -> None:
        name = f"{claim.run_id}-{index}-f{claim.fence}"
        record = sample_record(claim.config, index)
        leases.append_round(session, claim, record, name, lease_s=LEASE_S)

    def tried(self, write: Callable[[Session], object]) -> bool:
        try:
            with writing(self.store) as session:
                write(session)
        except ClaimLost:
            return False
        return True

    def allowed(self, claim: leases.Claim, write: Callable[[Session], object]) -> bool:
        """Write; that succeeds if and only if the claim is the one that holds."""
        mine = self.owner.get(claim.run_id) == claim.fence
        assert self.tried(write) == mine
        return mine


RunStates.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
test_run_states = RunStates.TestCase
