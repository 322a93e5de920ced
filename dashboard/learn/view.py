"""Learn: six ideas to poke at. `?page=collision` opens one."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from meshtune.backend.schemas.learn import (
    BudgetOut,
    CollisionsOut,
    GrowthOut,
    InterferenceOut,
    RoutingOut,
    SubspacesOut,
)
from meshtune.dashboard import address, state, unknown
from meshtune.dashboard.api.client import ApiProblem
from meshtune.dashboard.figures.components import live_chart, network_map
from meshtune.dashboard.inputs import whole_number
from meshtune.dashboard.learn import charts, parts
from meshtune.dashboard.learn.calls import asked
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.handbook import cited
from meshtune.dashboard.look.theme import MEDIUM

MODEL_WIDTH = 160  # of the embedded model


@dataclass(frozen=True)
class Lesson:
    """One page: what it says, where it comes from, what it shows, what to run."""

    title: str
    text: str
    equation: str
    source: str
    show: Callable[[], None]
    preset: str


def interference() -> None:
    """Two adapters, one answer."""
    a, b, c, d = st.columns(4)
    rank = a.slider("Rank r", 1, 64, 8, key="interference-rank")
    density = b.slider("Density of B", 0.05, 1.0, 1.0, 0.05, key="interference-density")
    weight = c.slider("Weight of the other", 0.0, 1.0, 1.0, 0.05, key="interference-weight")
    apart = d.toggle("A of both orthogonal", value=True, key="interference-apart")
    found = asked(InterferenceOut, rank=rank, density=density, orthogonal=apart, width=MODEL_WIDTH)
    at = found.error[-1] * weight
    with st.grid(3, min_column_width=150, gap="small"):
        parts.tile("Cosine of the updates", f"{found.update_cosine:.2f}", "0 = orthogonal")
        parts.tile("Nearest directions", f"{found.principal_cosine:.2f}", "cosine of A's rows")
        parts.tile("Added to your answer", fmt.percent(at, 0), "of its size")
    live_chart(charts.interference(found, state.mode()), key="learn-interference")


def collision() -> None:
    """Masks that meet."""
    a, b, c = st.columns(3)
    devices = a.slider("Devices in the cluster", 1, 24, 4, key="collision-devices")
    density = b.slider("Density s", 0.02, 1.0, 0.3, 0.02, key="collision-density")
    seed = whole_number(c, "Draw", 0, 10_000, key="collision-seed")
    found = asked(CollisionsOut, devices=devices, density=density, seed=int(seed))
    with st.grid(2, min_column_width=380, gap="medium"):
        live_chart(charts.collision(found, devices, state.mode()), key="learn-collision")
        live_chart(charts.holders(found, state.mode()), key="learn-holders")


def subspaces() -> None:
    """Random is not orthogonal."""
    a, b = st.columns(2)
    width = a.slider("Width of the layer", 16, 256, MODEL_WIDTH, 8, key="subspaces-width")
    rank = b.slider("Your rank r", 1, 64, 8, key="subspaces-rank")
    found = asked(SubspacesOut, width=width)
    live_chart(charts.subspace(found, width, rank, state.mode()), key="learn-subspaces")


def link() -> None:
    """From metres to seconds."""
    a, b, c, d = st.columns(4)
    distance = a.slider("Distance (m)", 1, 2000, 80, key="link-distance")
    band = b.slider("Bandwidth (MHz)", 0.1, 20.0, 2.0, 0.1, key="link-band")
    power = c.slider("Transmit power (dBm)", -10, 30, 10, key="link-power")
    payload = d.slider("Payload (Mbit)", 0.1, 50.0, 5.0, 0.1, key="link-payload")
    found = asked(
        BudgetOut,
        distance_m=float(distance),
        bandwidth_hz=band * 1e6,
        power_dbm=float(power),
        payload_bits=payload * 1e6,
    )
    with st.grid(3, min_column_width=150, gap="small"):
        parts.tile("SNR", fmt.decibel(found.snr_db), "received above noise (M3)")
        parts.tile("Rate", fmt.rate(found.rate_bit_s), "mean over fading")
        parts.tile("Time on air", fmt.seconds(found.seconds), "payload by rate (M4)")
    with st.grid(2, min_column_width=380, gap="medium"):
        live_chart(charts.budget(found, state.mode()), key="learn-budget")
        live_chart(charts.seconds(found, float(distance), state.mode()), key="learn-seconds")


def clusters() -> None:
    """Merge by merge."""
    a, b, c, d = st.columns(4)
    devices = a.slider("Devices", 2, 40, 12, key="clusters-devices")
    density = b.slider("Density s", 0.02, 1.0, 0.2, 0.02, key="clusters-density")
    limit = c.slider("Largest collision rate", 0.0, 1.0, 0.3, 0.05, key="clusters-limit")
    found = asked(GrowthOut, devices=devices, density=density, collision_max=limit)
    merges = len(found.left)
    if not merges:
        st.info("No pair may merge: even two devices would collide more than is allowed.")
    step = d.slider("Merge", 0, merges, merges, key=f"clusters-step-{merges}") if merges else 0
    with st.grid(2, min_column_width=380, gap="medium"):
        network_map(parts.growth_map(found, step), key="learn-map", height=MEDIUM)
        live_chart(charts.growth(found, step, limit, state.mode()), key="learn-growth")


def routing() -> None:
    """Nobody trained a router."""
    layer = st.slider("Layer of the model", 1, 4, 2, key="routing-layer")
    with st.spinner("Loading the model: some seconds the first time."):
        found = asked(RoutingOut, layer=layer - 1)
    count = len(found.task)
    st.markdown(
        f"**{fmt.percent(found.right_fraction)}** of {count} unseen prompts go to the expert of "
        "their task, computed now on the embedded model."
    )
    live_chart(charts.routing(found, state.mode()), key="learn-routing")


LESSONS: dict[str, Lesson] = {
    "interference": Lesson(
        "Two adapters interfering",
        "Add a second adapter to a model and your answers change. The paper makes the matrices A "
        "of tasks orthogonal and says that interference is gone. The updates are then orthogonal "
        "indeed. Yet an input of your task excites the other adapter as well: what it adds is as "
        "large as before. Only a gate, which gives it a small weight, makes it vanish.",
        r"y = W_0 x + B_1 A_1 x + g\,B_2 A_2 x,\qquad A_1 A_2^\top = 0 \;\not\Rightarrow\; "
        r"B_2 A_2 x = 0",
        "arXiv 2602.20492, Lemma 2; docs/model.md M10. White inputs are our choice.",
        interference,
        "no_gate",
    ),
    "collision": Lesson(
        "Collision rate",
        "Devices of a cluster average the entries of B that they share. Where two tasks write one "
        "entry, they collide. Eq. 19 counts over all entries, also those that nobody holds, so at "
        "low density it reads far less than what a device feels of its own entries.",
        r"S = 1 - \prod_j (1-s_j) - \sum_j s_j \prod_{z \ne j} (1-s_z),\qquad "
        r"c_i = 1 - \prod_{j \ne i} (1-s_j)",
        "arXiv 2602.20492, Eq. 19 (M15); what a device feels is our addition (M16).",
        collision,
        "one_cluster",
    ),
    "subspaces": Lesson(
        "Random subspaces and width",
        "Random matrices A are said to be nearly orthogonal. For one direction in a wide layer "
        "they are. But the nearest directions of two subspaces of rank r come close long before "
        "2 r passes the width, where they must share one.",
        r"\cos\theta_1 = \sigma_{\max}(Q_1^\top Q_2) \approx 2\sqrt{r/d}\,\sqrt{1 - r/d}",
        "arXiv 2602.20492, section IV-A; docs/metrics.md, principal cosine. The approximation "
        "holds for large d.",
        subspaces,
        "own_a",
    ),
    "link": Lesson(
        "From distance to seconds per round",
        "Every metre costs power, power is signal-to-noise ratio, that is rate, and rate is time "
        "on air. Sparse adapters shrink the payload; nothing else in this chain is free.",
        r"\mathrm{snr} = \frac{P\,g(d)}{N_0 F B},\qquad t = \frac{\mathrm{bits}}"
        r"{B \log_2(1 + \mathrm{snr})}",
        "arXiv 2602.20492, Eq. 8 (M3, M4). The gain at one metre and the cap on the rate are our "
        "repairs.",
        link,
        "bad_channel",
    ),
    "clusters": Lesson(
        "Cluster growth, step by step",
        "The paper's clusters start as single devices. Again and again the pair that collides "
        "least becomes one, as long as the power reaches everybody and the collision rate stays "
        "below a limit.",
        r"(u, v) = \arg\min_{u, v} S(u \cup v)\quad\text{while}\quad S(u \cup v) \le S_{\max}",
        "arXiv 2602.20492, section IV-C (M18). Ties and gateways between clusters are our choice.",
        clusters,
        "clusters",
    ),
    "routing": Lesson(
        "Routing without a router",
        "Each expert carries the mean layer input of its training prompts, h. A new prompt goes "
        "to the expert whose h it resembles most, once the common mean is taken out. Small marks "
        "are unseen prompts, large ones are prototypes: hover them.",
        r"g_k(x) = \cos(x - \bar h,\; h_k - \bar h),\qquad \bar h = \tfrac1K \sum_k h_k",
        "arXiv 2602.20492, Eq. 26-27 (M10); centring is our repair.",
        routing,
        "so_lora",
    ),
}


def whole(name: str) -> None:
    """A lesson from its text to the preset at its end."""
    lesson = LESSONS[name]
    st.subheader(lesson.title, anchor=False)
    st.markdown(lesson.text)
    st.latex(lesson.equation)
    st.caption(cited(lesson.source))
    try:
        lesson.show()
    except ApiProblem as problem:
        state.show_problem(problem)
    st.page_link(
        state.DESIGN,
        label="Run it: open the experiment in Design",
        icon=":material/play_arrow:",
        query_params={"preset": lesson.preset},
    )


with st.container(horizontal=True, vertical_alignment="center"):
    st.title("Learn", anchor=False, width="stretch")
    tour = {"tour": "1"}
    st.page_link(
        state.GALLERY, label="Tour of ten minutes", icon=":material/map:", query_params=tour
    )
names = list(LESSONS)
if (given := address.asked("page")) not in ("", *names):
    st.warning(f"There is no page {unknown.quoted(given)}; these are all.")
address.follow("learn-page", "page", lambda given: given if given in LESSONS else names[0])
picked = (
    st.segmented_control(
        "Page",
        names,
        required=True,
        format_func=lambda name: LESSONS[name].title,
        label_visibility="collapsed",
        key="learn-page",
    )
    or names[0]
)
address.keep("learn-page", "page", picked, picked)
whole(picked)
