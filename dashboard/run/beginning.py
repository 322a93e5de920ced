"""A run before its first round: its mesh, what it will take, and how far it has got."""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from meshtune.backend.schemas.runs import RunDetail
from meshtune.dashboard import state
from meshtune.dashboard.api.client import ApiProblem
from meshtune.dashboard.figures import maps
from meshtune.dashboard.figures.components import network_map
from meshtune.dashboard.figures.html_table import STYLE, html_table
from meshtune.dashboard.look import format as fmt, theme
from meshtune.dashboard.look.words import word
from meshtune.dashboard.run import layout
from meshtune.engine import quantities as words
from meshtune.engine.config import RunConfig
from meshtune.engine.plans import Plan
from meshtune.engine.records import RunStatus

MAP_PX = 290  # with its names and legend as high as the charts beside it
PLANNED = "run-planned"  # in the session: of the run that is looked at


def show(run: RunDetail, line: DeltaGenerator, pictures: DeltaGenerator) -> None:
    """What is known at once, in the places of what will come; nothing waits for a round."""
    if run.status is RunStatus.RUNNING:
        done = fmt.percent(run.progress, 0)
        line.markdown(f"Training the first round: {done} of its steps done. This is the plan.")
    plan = planned(run.config)
    if plan is None:
        line.caption("This run has no plan: it cannot be told what it will take.")
        return
    with pictures, layout.panes("watch"):
        with st.container(gap=None):
            st.markdown("**The mesh**")
            network_map(maps.planned_map(plan, state.mode()), key="run-map", height=MAP_PX)
        with st.container(key="plan"):
            st.markdown("**What will run**")
            st.html(STYLE + html_table(facts(run.config, plan), "What will run"))
    with layout.panes("tiles"), layout.panes("numbers"):
        for quantity, value in expected(plan):
            st.metric(
                quantity.word,
                value,
                "planned, whole run",
                delta_color="off",
                delta_arrow="off",
                border=True,
                help=fmt.sentence(quantity.meaning),
            )


def facts(config: RunConfig, plan: Plan) -> pd.DataFrame:
    """The config in the words of a screen."""
    tasks = ", ".join(theme.TASKS[task].title for task in config.fleet.present_tasks())
    rows = [
        ("Method", theme.method_look(config.method.kind).title),
        ("Devices", f"{config.fleet.devices}, {word(config.topology.kind).lower()}"),
        ("Tasks", tasks),
        ("Rounds", f"{config.rounds}, of {fmt.count(config.training.local_steps, 'local step')}"),
        ("Radio", word(config.channel.kind)),
        (words.MACHINE_TIME.word, f"about {fmt.seconds(plan.wall_s)} in all"),
    ]
    return pd.DataFrame(rows, columns=["Setting", "Value"])


def expected(plan: Plan) -> list[tuple[words.Quantity, str]]:
    """What the run will take, under the words of what it took."""
    total = plan.total
    return [
        (words.BITS_SENT, fmt.bits(total.payload_bits)),
        (words.AIRTIME, fmt.seconds(total.airtime_s)),
        (words.ROUND_TIME, fmt.seconds(total.round_s)),
        (words.TRANSMIT, fmt.joules(total.transmit_j)),
    ]


def lasting_links(config: RunConfig) -> frozenset[tuple[int, int]]:
    """Linked pairs of the mesh, used or not; none where links change as devices move."""
    if getattr(config.mobility, "relink_every", 0):
        return frozenset()
    plan = planned(config)
    links = plan.links if plan else ()
    return frozenset((min(k.receiver, k.sender), max(k.receiver, k.sender)) for k in links)


def planned(config: RunConfig) -> Plan | None:
    """The plan of a run; None if it has none, which is not asked again while one looks at it."""
    known: tuple[RunConfig, Plan | None] | None = st.session_state.get(PLANNED)
    if known is None or known[0] != config:
        try:
            known = st.session_state[PLANNED] = (config, state.plan_of(config).plan)
        except ApiProblem:
            return None
    return known[1]
