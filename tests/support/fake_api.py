"""A stand-in for the API: plausible runs that advance by the clock. For tests of the dashboard.

tests/dashboard/test_stand_in.py holds it to what the API itself answers.
"""

import contextlib
import functools
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from meshtune.backend import errors
from meshtune.backend.errors import InvalidConfig
from meshtune.backend.schemas.runs import (
    FieldProblem,
    Health,
    PlanOut,
    PresetOut,
    RoundPage,
    RunCreate,
    RunDetail,
    RunEventOut,
    RunList,
    RunPatch,
    RunSummary,
)
from meshtune.db.errors import IllegalTransition, RunDeleted, RunNotFound
from meshtune.engine.config import Drawn, RunConfig, canonical_json, config_hash, plain_errors
from meshtune.engine.plans import Cost, GraphFacts, Plan, PlannedDevice, PlannedLink, Spread
from meshtune.engine.presets.stored import stored_result
from meshtune.engine.records import (
    ENDED,
    DeviceRecord,
    LinkRecord,
    Provenance,
    RoundRecord,
    RunStatus,
    ScoreRecord,
)
from tests.support.fake_comparisons import comparison_routes
from tests.support.fake_data import FakeData
from tests.support.fake_design import FakeDesign

# Where own-task and other-task accuracy of each method end up, and bits per parameter message.
ENDS = {"local": (0.66, 0.15), "lora_gossip": (0.42, 0.24), "so_lora": (0.84, 0.72)}
FOUR_TASKS = ("reading", "addition", "expression", "instruction")
PAYLOAD_BITS = {"local": 0, "lora_gossip": 1_310_720, "so_lora": 360_112}


def fake_record(config: RunConfig, index: int) -> RoundRecord:
    """Round `index` of a run of `config`: rising accuracies, random fading, a few lost messages."""
    rng = np.random.default_rng([config.seed, index, 7])
    mesh = _mesh(canonical_json(config))
    kind = config.method.kind
    payload = PAYLOAD_BITS[kind]
    leave = config.churn.leave_prob
    away = {i for i in range(config.fleet.devices) if rng.random() < leave} if leave else set()
    links = tuple(
        _message(rng, link, payload)
        for link in mesh.links
        if payload and not away & {link.receiver, link.sender}
    )
    tasks = config.fleet.present_tasks()
    evaluated = (index + 1) % config.evaluation.every_rounds == 0 or index + 1 == config.rounds
    scores = _scores(rng, config, index, tasks) if evaluated else ()
    own = [s.accuracy for s in scores if config.fleet.task_of(s.device) == s.task]
    devices = tuple(
        DeviceRecord(
            device=i,
            task=place.task,
            x_m=place.x_m,
            y_m=place.y_m,
            train_loss=float(2.2 * math.exp(-index / 8) + 0.3 + 0.05 * rng.random()),
            sent_bits=sum(link.payload_bits for link in links if link.sender == i),
            airtime_s=max((link.airtime_s for link in links if link.sender == i), default=0.0),
            energy_j=sum(link.energy_j for link in links if link.sender == i),
            receive_j=sum(0.3 * link.airtime_s for link in links if link.receiver == i),
            compute_s=1.6 if i else 2.4,
            compute_j=0.8,
            present=i not in away,
        )
        for i, place in enumerate(mesh.devices)
    )
    return RoundRecord(
        round_index=index,
        train_loss=float(np.mean([device.train_loss for device in devices])),
        accuracy_own=float(np.mean(own)) if own else None,
        accuracy_all=float(np.mean([s.accuracy for s in scores])) if scores else None,
        consensus_distance=1.0 / (index + 1),
        delivered_fraction=float(np.mean([link.delivered for link in links])) if links else None,
        sent_bits=sum(link.payload_bits for link in links),
        airtime_s=max((link.airtime_s for link in links), default=0.0),
        energy_j=sum(device.energy_j for device in devices),
        receive_j=sum(device.receive_j for device in devices),
        compute_j=sum(device.compute_j for device in devices),
        round_s=max(device.compute_s + device.airtime_s for device in devices),
        devices=devices,
        scores=scores,
        links=links,
        extra=_diagnostics(config, own),
        wall_s=0.5,
    )


def _diagnostics(config: RunConfig, own: list[float]) -> dict[str, float]:
    if not own:
        return {}
    undone = 0.08 if config.method.kind == "lora_gossip" else 0.0
    return {"accuracy_own_before_exchange": min(1.0, float(np.mean(own)) + undone)}


@functools.lru_cache(maxsize=4096)
def _kept_record(config_json: str, index: int) -> RoundRecord:
    return fake_record(RunConfig.model_validate_json(config_json), index)


@functools.lru_cache(maxsize=64)
def _mesh(config_json: str) -> Plan:
    return fake_plan(RunConfig.model_validate_json(config_json))


def fake_plan(config: RunConfig) -> Plan:
    """A plan that looks like one: places and links by a few simple rules, costs by hand."""
    places = _places(config)
    ideal = config.channel.kind == "ideal"
    links = tuple(
        _planned_link(places, receiver, sender, ideal=ideal)
        for pair in sorted(_pairs(config, places))
        for receiver, sender in (pair, pair[::-1])
    )
    degrees = [sum(link.sender == i for link in links) for i in range(len(places))]
    payload, plain = (float(PAYLOAD_BITS[k]) for k in (config.method.kind, "lora_gossip"))
    total = _fake_cost(payload, len(links), config.rounds)
    reference = _fake_cost(plain, len(links), config.rounds)
    sparse = config.method.kind == "so_lora"
    return Plan(
        devices=tuple(
            PlannedDevice(x_m=float(x), y_m=float(y), task=config.fleet.task_of(i))
            for i, (x, y) in enumerate(places)
        ),
        links=links,
        clusters=(0,) * len(places),
        merges=(),
        snr_db=_spread([link.mean_snr_db for link in links]),
        rate_bit_s=_spread([link.mean_rate_bit_s for link in links]),
        outage_prob=_spread([link.outage_prob for link in links]),
        graph=GraphFacts(
            degree_min=min(degrees),
            degree_mean=float(np.mean(degrees)),
            degree_max=max(degrees),
            components=1,
            diameter=4,
            spectral_gap=0.127,
            algebraic_connectivity=0.586,
        ),
        collision=0.25 if sparse else None,
        first_round=_fake_cost(1.2 * payload, len(links), 1),
        later_round=_fake_cost(payload, len(links), 1),
        total=total,
        plain_lora=reference,
        saving_fraction=1 - total.payload_bits / reference.payload_bits if links else None,
        rounds_sampled=8,
        wall_s=0.9 * config.rounds,
    )


def _places(config: RunConfig) -> list[tuple[float, float]]:
    topology, count = config.topology, config.fleet.devices
    if isinstance(topology, Drawn):
        return [(point.x_m, point.y_m) for point in topology.positions]
    if topology.kind in {"ring", "star"}:
        turns = [2 * math.pi * i / count for i in range(count)]
        middle = [(0.0, 0.0)] if topology.kind == "star" else []
        circle = [(100 * math.cos(turn), 100 * math.sin(turn)) for turn in turns]
        return [*middle, *circle[len(middle) :]]
    rng = np.random.default_rng([config.seed, count])
    turn, radius = 2 * np.pi * rng.random(count), 100 * np.sqrt(rng.random(count))
    return list(zip(radius * np.cos(turn), radius * np.sin(turn), strict=True))


def _pairs(config: RunConfig, places: list[tuple[float, float]]) -> set[tuple[int, int]]:
    """Linked pairs, lower number first: by shape, else the three nearest and a ring."""
    topology, count = config.topology, len(places)
    if isinstance(topology, Drawn):
        return {(min(pair), max(pair)) for pair in topology.links}
    if topology.kind == "full":
        return {(a, b) for b in range(count) for a in range(b)}
    if topology.kind == "star":
        return {(0, b) for b in range(1, count)}
    wanted = [(a, (a + 1) % count) for a in range(count) if count > 1]
    if topology.kind != "ring":
        for a, here in enumerate(places):
            nearest = sorted(range(count), key=lambda b, here=here: math.dist(here, places[b]))
            wanted += [(a, b) for b in nearest[1:4]]
    return {(min(pair), max(pair)) for pair in wanted}


def _planned_link(
    places: list[tuple[float, float]], receiver: int, sender: int, *, ideal: bool
) -> PlannedLink:
    distance_m = max(1.0, math.dist(places[receiver], places[sender]))
    snr_db = 84.0 - 30.0 * math.log10(distance_m)
    return PlannedLink(
        receiver=receiver,
        sender=sender,
        distance_m=distance_m,
        mean_snr_db=None if ideal else snr_db,
        mean_rate_bit_s=None if ideal else 20e6 / 3 * min(7.4, math.log2(1 + 10 ** (snr_db / 10))),
        outage_prob=None if ideal else min(1.0, 10 ** (-snr_db / 10)),
    )


def _spread(values: list[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, median, high = np.percentile(known, (10, 50, 90))
    return Spread(low=float(low), median=float(median), high=float(high))


def _fake_cost(payload_bits: float, links: int, rounds: int) -> Cost:
    bits = payload_bits * links * rounds
    return Cost(
        parameters_sent=bits / 16,
        payload_bits=bits,
        airtime_s=payload_bits / 18e6 * rounds,
        bandwidth_time_hz_s=20e6 * payload_bits / 18e6 * rounds,
        transmit_j=2e-9 * bits,
        receive_j=16e-9 * bits,
        compute_j=3.2 * rounds,
        compute_s=1.6 * rounds,
        round_s=(1.6 + payload_bits / 18e6) * rounds,
        delivered_fraction=0.94 if bits else None,
    )


def _message(rng: np.random.Generator, link: Any, payload: int) -> LinkRecord:
    if link.mean_snr_db is None:
        return LinkRecord(
            receiver=link.receiver,
            sender=link.sender,
            payload_bits=payload,
            snr_db=None,
            rate_bit_s=None,
            airtime_s=0.0,
            energy_j=0.0,
            delivered=True,
        )
    snr_db = link.mean_snr_db + 10 * math.log10(rng.exponential() + 1e-6)
    rate = max(1e4, link.mean_rate_bit_s * max(0.02, 1 + (snr_db - link.mean_snr_db) / 30))
    airtime_s = payload / rate
    delivered = bool(rng.random() > 0.06)
    return LinkRecord(
        receiver=link.receiver,
        sender=link.sender,
        payload_bits=payload,
        snr_db=snr_db,
        rate_bit_s=rate,
        airtime_s=airtime_s if delivered else 10.0,
        energy_j=0.05 * airtime_s,
        delivered=delivered,
    )


def _scores(
    rng: np.random.Generator, config: RunConfig, index: int, tasks: tuple[Any, ...]
) -> tuple[ScoreRecord, ...]:
    own_end, other_end = ENDS[config.method.kind]
    share = 1 - math.exp(-4 * (index + 1) / max(config.rounds, 1))
    samples = config.evaluation.samples_per_task
    scores = []
    for device in range(config.fleet.devices):
        for place, task in enumerate(tasks):
            end = own_end if config.fleet.task_of(device) == task else other_end
            mean = min(
                0.99, max(0.02, 0.08 + share * (end - 0.08) + 0.1 * math.sin(place + device))
            )
            accuracy = float(rng.binomial(samples, mean) / samples)
            scores.append(
                ScoreRecord(device=device, task=task, accuracy=accuracy, loss=1 - accuracy)
            )
    return tuple(scores)


@dataclass
class FakeRun:
    """One run; how far it is follows from the clock."""

    id: int
    config: RunConfig
    created: datetime
    round_s: float = 0.35
    first_round_s: float = 0.7
    fixed: RunStatus | None = None  # a state that does not move
    done: int = 0  # rounds stored, when fixed
    reason: str | None = None
    cancelled_at: float | None = None
    name: str | None = None  # else that of the config
    note: str | None = None
    priority: int = 0
    cloned_from: int | None = None
    deleted: bool = False
    pause_asked: bool = False  # of a running run that does not obey, to look at it
    began: float = field(default_factory=time.monotonic)
    records: dict[int, RoundRecord] = field(default_factory=dict)

    def state(self) -> tuple[RunStatus, int]:
        """Status and number of stored rounds, now."""
        if self.fixed is not None:
            return self.fixed, self.done
        until = self.cancelled_at or time.monotonic()
        done = int(max(0.0, until - self.began - self.first_round_s) / self.round_s)
        if done >= self.config.rounds:
            return RunStatus.COMPLETED, self.config.rounds
        return (RunStatus.CANCELLED if self.cancelled_at else RunStatus.RUNNING), done

    def pause(self) -> None:
        """Stand still where it is."""
        if self.state()[0] in {RunStatus.QUEUED, RunStatus.RUNNING}:
            self.done = self.state()[1]
            self.fixed = RunStatus.PAUSED

    def resume(self) -> None:
        """Go on by the clock from where it stands."""
        self.began = time.monotonic() - self.first_round_s - self.done * self.round_s
        self.fixed = self.cancelled_at = self.reason = None

    @functools.cached_property
    def played(self) -> str:
        """What its rounds follow from; a name changes none of them."""
        return canonical_json(self.config.model_copy(update={"name": "run"}))

    def record(self, index: int) -> RoundRecord:
        """One stored round."""
        if index not in self.records:
            self.records[index] = _kept_record(self.played, index)
        return self.records[index]

    def summary(self) -> dict[str, Any]:
        """The fields of RunSummary."""
        status, done = self.state()
        stored = [self.record(i) for i in range(done)]
        evaluated = [record for record in stored if record.scores]
        return {
            "id": self.id,
            "name": self.name or self.config.name,
            "status": status,
            "method": self.config.method.kind,
            "seed": self.config.seed,
            "devices": self.config.fleet.devices,
            "rounds_done": done,
            "rounds_total": self.config.rounds,
            "cancel_requested": self.cancelled_at is not None,
            "pause_requested": self.pause_asked,
            "priority": self.priority,
            "note": self.note,
            "cloned_from": self.cloned_from,
            "deleted_at": datetime.now(UTC) if self.deleted else None,
            "created_at": self.created,
            "started_at": None if status is RunStatus.QUEUED else self.created,
            "finished_at": self.created + timedelta(minutes=1) if status in ENDED else None,
            "accuracy_own": evaluated[-1].accuracy_own if evaluated else None,
            "accuracy_all": evaluated[-1].accuracy_all if evaluated else None,
            "sent_bits": sum(record.sent_bits for record in stored),
            "airtime_s": sum(record.airtime_s for record in stored),
            "energy_j": sum(record.energy_j for record in stored),
            "reason": self.reason or ("cancelled by a person" if self.cancelled_at else None),
        }

    def detail(self) -> RunDetail:
        """The run whole."""
        summary = self.summary()
        running = summary["status"] is RunStatus.RUNNING
        left = (self.config.rounds - summary["rounds_done"]) * self.round_s
        kinds: list[tuple[str, str | None]] = [("created", None)]
        if summary["status"] is not RunStatus.QUEUED:
            kinds.insert(1, ("claimed", "worker-1"))
        if summary["status"] in ENDED:
            kinds.append((str(summary["status"]), summary["reason"]))
        events = [
            RunEventOut(
                id=n,
                at=self.created + timedelta(seconds=n),
                kind=kind,
                actor="worker-1" if kind == "claimed" else "person",
                detail=detail,
            )
            for n, (kind, detail) in enumerate(kinds)
        ]
        provenance = Provenance(
            meshtune="0.1.0", python="3.11", torch="2.13.0", transformers="5.23.0",
            platform="linux", threads=2, precision="bfloat16", commit=None, dirty=None,
        )  # fmt: skip
        return RunDetail(
            **summary,
            config=self.config,
            config_sha256=config_hash(self.config),
            provenance=None if summary["status"] is RunStatus.QUEUED else provenance,
            events=events,
            progress=0.4 if running else 0.0,
            seconds_left=left if running and summary["rounds_done"] else None,
        )


def fake_config(**changes: Any) -> RunConfig:
    """A small config: eight devices, four tasks, twenty rounds."""
    base: dict[str, Any] = {
        "name": "quick",
        "seed": 1,
        "rounds": 20,
        "fleet": {"devices": 8, "tasks": FOUR_TASKS},
        "topology": {"kind": "clusters"},
    }
    return RunConfig.model_validate({**base, **changes})


def fake_preset(name: str, title: str, question: str, watch: str, **config: Any) -> PresetOut:
    """A gallery entry; the first one stands in a group of its own."""
    return PresetOut(
        name=name,
        group="Start here" if name == "quick" else "Compare",
        title=title,
        question=question,
        watch=watch,
        duration="about 1 min on 2 cores",
        config=fake_config(name=title, **config),
        result=stored_result(name) if name != "local" else None,
    )


PRESETS = [
    fake_preset(
        "quick",
        "First light",
        "Can eight phones without a server teach each other four tasks?",
        "Own-task accuracy climbs at once; accuracy on all tasks jumps when experts are exchanged.",
    ),
    fake_preset(
        "so_lora",
        "Sparse and orthogonal",
        "How far do separate sparse experts carry eight tasks?",
        "All-task accuracy without forgetting, at a third of the bits.",
        fleet={"devices": 16},
        topology={"kind": "geometric", "range_m": 90.0},
    ),
    fake_preset(
        "lora_gossip",
        "Plain LoRA gossip",
        "What happens when everyone averages everything?",
        "The own task is forgotten while bits pile up.",
        method={"kind": "lora_gossip"},
        topology={"kind": "ring"},
    ),
    fake_preset(
        "local",
        "Local only",
        "What does a device learn alone?",
        "The own task is learned; every other task stays at chance.",
        method={"kind": "local"},
        topology={"kind": "star"},
    ),
    fake_preset(
        "no_gate",
        "No gate",
        "What if all experts answer at once?",
        "They interfere: accuracy collapses although every expert is good.",
        method={"kind": "so_lora", "gate": "none"},
    ),
]


PRESET_LIST = TypeAdapter(list[PresetOut])


@dataclass
class FakeApi:
    """Runs in memory and the routes to them."""

    runs: dict[int, FakeRun] = field(default_factory=dict)
    workers: int = 1
    round_s: float = 0.35
    problems: tuple[FieldProblem, ...] = ()  # what every config is told to put right
    plans_anyway: bool = True  # whether there is a plan in spite of these
    design: FakeDesign = field(default_factory=FakeDesign)
    data: FakeData = field(default_factory=FakeData)

    def add(self, config: RunConfig | None = None, **values: Any) -> FakeRun:
        """A new run; a fixed status needs `done`, the number of stored rounds."""
        created = datetime.now(UTC) - timedelta(minutes=len(self.runs))
        run = FakeRun(
            id=len(self.runs) + 1,
            config=config or fake_config(),
            created=values.pop("created", created),
            round_s=values.pop("round_s", self.round_s),
            **values,
        )
        self.runs[run.id] = run
        return run

    def app(self) -> FastAPI:
        """The ASGI app; it refuses as the API does."""
        app = FastAPI(
            openapi_url=None,
            routes=[
                Route("/health", self._health),
                Route("/presets", self._presets),
                Route("/schema/run-config", self._schema),
                Route("/plan", self._plan, methods=["POST"]),
                Route("/runs", self._list, methods=["GET"]),
                Route("/runs", self._create, methods=["POST"]),
                *comparison_routes(self.runs),
                *self.design.routes(),
                *self.data.routes(),
                Route("/runs/{run_id:int}", self._run, methods=["GET"]),
                Route("/runs/{run_id:int}", self._patch, methods=["PATCH"]),
                Route("/runs/{run_id:int}", self._delete, methods=["DELETE"]),
                Route("/runs/{run_id:int}/restore", self._restore, methods=["POST"]),
                Route("/runs/{run_id:int}/rounds", self._rounds),
                Route("/runs/{run_id:int}/cancel", self._cancel, methods=["POST"]),
                Route("/runs/{run_id:int}/pause", self._pause, methods=["POST"]),
                Route("/runs/{run_id:int}/resume", self._resume, methods=["POST"]),
                Route("/runs/{run_id:int}/retry", self._retry, methods=["POST"]),
                Route("/runs/{run_id:int}/export", self._export),
            ],
        )
        errors.install(app)
        return app

    async def _health(self, request: Request) -> Response:
        states = [run.state()[0] for run in self.runs.values()]
        return _json(
            Health(
                status="ok",
                version="0.1.0",
                database="sqlite",
                queued=states.count(RunStatus.QUEUED),
                running=states.count(RunStatus.RUNNING),
                workers=self.workers,
            )
        )

    async def _presets(self, request: Request) -> Response:
        return Response(PRESET_LIST.dump_json(PRESETS), media_type="application/json")

    async def _schema(self, request: Request) -> Response:
        return JSONResponse(RunConfig.model_json_schema())

    async def _plan(self, request: Request) -> Response:
        def planned(config: RunConfig) -> Response:
            plan = None if self.problems and not self.plans_anyway else fake_plan(config)
            return _json(PlanOut(plan=plan, problems=self.problems))

        return await _with_body(request, RunConfig, planned)

    async def _list(self, request: Request) -> Response:
        deleted = request.query_params.get("deleted") == "true"
        text = request.query_params.get("text", "").lower()
        statuses = request.query_params.getlist("status") or list(RunStatus)
        found = [
            run
            for run in self.runs.values()
            if run.deleted == deleted
            and run.state()[0] in statuses
            and text in " ".join((run.name or run.config.name, run.config.method.kind)).lower()
        ]
        newest = sorted(found, key=lambda run: -run.id)
        limit = int(request.query_params.get("limit", 50))
        summaries = [RunSummary(**run.summary()) for run in newest[:limit]]
        more = newest[limit - 1].id if len(newest) > limit else None
        return _json(RunList(runs=summaries, next_before=more))

    async def _create(self, request: Request) -> Response:
        def created(body: RunCreate) -> Response:
            if self.problems:
                raise InvalidConfig([(each.field, each.message) for each in self.problems])
            run = self.add(
                body.config,
                created=datetime.now(UTC),
                cloned_from=body.cloned_from,
                note=body.note,
            )
            return _json(run.detail(), 201)

        return await _with_body(request, RunCreate, created)

    async def _run(self, request: Request) -> Response:
        return self._on_run(request, lambda run: _json(run.detail()))

    async def _rounds(self, request: Request) -> Response:
        def page(run: FakeRun) -> Response:
            status, done = run.state()
            after = int(request.query_params.get("after", -1))
            limit = int(request.query_params.get("limit", 200))
            every = int(request.query_params.get("every", 1))
            kept = [i for i in range(after + 1, done) if i % every == 0 or i == done - 1]
            shown = kept[:limit]
            records = [_reduced(run.record(i), request.query_params.get("detail")) for i in shown]
            return _json(
                RoundPage(
                    status=status, rounds_done=done, rounds_total=run.config.rounds, rounds=records
                )
            )

        return self._on_run(request, page)

    async def _cancel(self, request: Request) -> Response:
        def cancel(run: FakeRun) -> Response:
            if run.state()[0] in ENDED:
                raise IllegalTransition(run.id, run.state()[0], "cancelled")
            run.cancelled_at = run.cancelled_at or time.monotonic()
            if run.fixed is not None:
                run.fixed = RunStatus.CANCELLED
            return _json(run.detail())

        return self._on_run(request, cancel)

    async def _pause(self, request: Request) -> Response:
        return self._steer(request, FakeRun.pause, {*ENDED}, "paused")

    async def _resume(self, request: Request) -> Response:
        def resume(run: FakeRun) -> None:
            if run.state()[0] is RunStatus.PAUSED:
                run.resume()

        return self._steer(request, resume, {*ENDED}, "resumed")

    async def _retry(self, request: Request) -> Response:
        return self._steer(request, FakeRun.resume, {*RunStatus} - {RunStatus.FAILED}, "retried")

    def _steer(
        self,
        request: Request,
        move: Callable[[FakeRun], None],
        refused: set[RunStatus],
        wanted: str,
    ) -> Response:
        def steered(run: FakeRun) -> Response:
            status = run.state()[0]
            if status in refused:
                raise IllegalTransition(run.id, status, wanted)
            move(run)
            return _json(run.detail())

        return self._on_run(request, steered)

    async def _patch(self, request: Request) -> Response:
        def changed(body: RunPatch) -> Response:
            def change(run: FakeRun) -> Response:
                run.priority = run.priority if body.priority is None else body.priority
                run.note = run.note if body.note is None else body.note or None
                run.name = body.name or run.name
                return _json(run.detail())

            return self._on_run(request, change)

        return await _with_body(request, RunPatch, changed)

    async def _delete(self, request: Request) -> Response:
        def delete(run: FakeRun) -> Response:
            status = run.state()[0]
            if status is RunStatus.RUNNING:
                raise IllegalTransition(run.id, status, "deleted", because="cancel it first")
            run.deleted = True
            if status not in ENDED:
                run.fixed = RunStatus.CANCELLED
            return Response(status_code=204)

        return self._on_run(request, delete)

    async def _restore(self, request: Request) -> Response:
        run = self.runs.get(request.path_params["run_id"])
        if run is not None:
            run.deleted = False
        return await self._run(request)

    async def _export(self, request: Request) -> Response:
        def export(run: FakeRun) -> Response:
            records = [run.record(i) for i in range(run.state()[1])]
            if request.query_params.get("format") == "csv":
                lines = ["round_index,accuracy_own,sent_bits"]
                lines += [f"{r.round_index},{r.accuracy_own},{r.sent_bits}" for r in records]
                return PlainTextResponse("\n".join(lines) + "\n", media_type="text/csv")
            lines = [f"{r.model_dump_json()}\n" for r in records]
            return PlainTextResponse("".join(lines), media_type="application/jsonl")

        return self._on_run(request, export)

    def _on_run(self, request: Request, answer: Callable[[FakeRun], Response]) -> Response:
        run_id = request.path_params["run_id"]
        run = self.runs.get(run_id)
        if run is None:
            raise RunNotFound(run_id)
        if run.deleted:
            raise RunDeleted(run_id)
        return answer(run)


def _reduced(record: RoundRecord, detail: str | None) -> RoundRecord:
    gone: dict[str, Any] = {"summary": {"devices": (), "scores": (), "links": ()}}
    gone["scores"] = {"devices": (), "links": ()}
    return record.model_copy(update=gone.get(detail or "summary", {}))


def _json(body: BaseModel, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status, media_type="application/json")


async def _with_body(
    request: Request, model: type[Any], answer: Callable[[Any], Response]
) -> Response:
    try:
        body = model.model_validate_json(await request.body())
    except ValidationError as error:
        wrong = plain_errors(error.errors())
        raise InvalidConfig([(f.removeprefix("config."), m) for f, m in wrong]) from error
    return answer(body)


@dataclass
class Served:
    """An app that can be exchanged while it is served."""

    app: ASGIApp = field(default_factory=Starlette)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app of the moment answer."""
        await self.app(scope, receive, send)


def served(api: FakeApi, port: int = 0) -> contextlib.AbstractContextManager[str]:
    """Serve `api` in a thread; gives its address."""
    return listening(
        uvicorn.Config(api.app(), log_level="warning", access_log=False, ws="none"), port
    )


@contextlib.contextmanager
def listening(config: uvicorn.Config, port: int = 0) -> Iterator[str]:
    """Any app in a thread; gives its address."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(5)
