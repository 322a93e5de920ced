"""Playground: ask one device of a run. `?run=3&device=1&round=12` says whom."""

from collections.abc import Sequence

import streamlit as st

from meshtune.backend.schemas.playground import (
    PROMPT_MOST,
    AnsweredOut,
    AskIn,
    GateIn,
    PlaygroundOut,
)
from meshtune.backend.schemas.runs import RunSummary
from meshtune.dashboard import address, state, unknown
from meshtune.dashboard.api.client import ApiProblem, api
from meshtune.dashboard.figures.components import live_chart
from meshtune.dashboard.inputs import whole_number
from meshtune.dashboard.look import format as fmt
from meshtune.dashboard.look.handbook import cited
from meshtune.dashboard.look.words import word
from meshtune.dashboard.playground import calls, parts
from meshtune.dashboard.playground.parts import ARM_TITLES

HERE = state.PLAYGROUND
LISTED = 100
TOGGLES_SEEN = 12  # more of them scroll
AS_TRAINED = "As the run"
ALL_MODULES = "All modules"


def choose_run(listed: list[RunSummary]) -> int:
    """The run of the address, else the newest with a finished round."""
    names = {run.id: f"{run.name} · run {run.id}" for run in listed}
    newest = next(iter(names), 0)
    address.follow("play-run", "run", lambda given: address.whole_number(given) or newest)
    wanted: int = st.session_state["play-run"]
    if wanted not in names:
        names = {wanted: f"run {wanted}"} | names
    chosen: int = st.selectbox("Run", list(names), format_func=names.__getitem__, key="play-run")
    address.keep("play-run", "run", chosen, str(chosen))
    return chosen


def choose_whom(told: PlaygroundOut, run_id: int) -> tuple[int, int]:
    """Device and round; kept in the address."""
    devices = range(len(told.devices))
    whom, when = f"play-device-{run_id}", f"play-round-{run_id}-{max(told.rounds)}"
    address.follow(whom, "device", lambda given: one_of(given, devices, 0))
    device: int = st.selectbox(
        "Device",
        devices,
        format_func=lambda i: f"{i} · {word(told.devices[i])}",
        help="Who answers. Its own task is beside its number.",
        key=whom,
    )
    address.keep(whom, "device", device, str(device))
    address.follow(when, "round", lambda given: one_of(given, told.rounds, told.rounds[-1]))
    after: int = st.selectbox(
        "After round",
        told.rounds,
        help="Rounds whose state is kept: the newest ones of a run.",
        key=when,
    )
    address.keep(when, "round", after, str(after))
    return device, after


def one_of(given: str, known: Sequence[int], otherwise: int) -> int:
    """A number of the address, if it is one of these."""
    value = address.whole_number(given)
    return value if value is not None and value in known else otherwise


def question(told: PlaygroundOut, device: int, run_id: int) -> AskIn:
    """A test question, or a typed prompt."""
    typed = (
        st.segmented_control(
            "Prompt", ["Test question", "My own"], default="Test question", required=True,
            key="play-source",
        ) == "My own"
    )  # fmt: skip
    return typed_prompt(told, device, run_id) if typed else test_question(told, device, run_id)


def typed_prompt(told: PlaygroundOut, device: int, run_id: int) -> AskIn:
    """A prompt of one's own; one that is too long is said, and the page stops there."""
    with st.container(gap="xxsmall"):
        prompt = st.text_area(
            "Ask",
            value=st.session_state.get("play-last-prompt", ""),
            height=90,
            placeholder="The embedded model knows the language of its tasks, such as 23 + 45 =",
            help=f"At most {PROMPT_MOST} characters; the model reads about 100 tokens, a token "
            "being mostly one letter.",
            key="play-prompt",
        )
    task = st.selectbox(
        "Task, told to the oracle only",
        told.tasks,
        index=None,
        format_func=word,
        placeholder="Not told",
        key=f"play-typed-task-{run_id}",
    )
    if len(prompt) > PROMPT_MOST:
        st.error(
            f"This prompt has {len(prompt):,} characters; at most {PROMPT_MOST:,} are read, so "
            "nothing was asked. Shorten it.",
            icon=":material/error:",
        )
        st.stop()
    return AskIn(run_id=run_id, device=device, prompt=prompt, task=task)


def test_question(told: PlaygroundOut, device: int, run_id: int) -> AskIn:
    """A question of the test part of a task."""
    own = told.devices[device]
    place = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    task = place.selectbox(
        "Task",
        told.tasks,
        index=told.tasks.index(own) if own in told.tasks else 0,
        format_func=word,
        key=f"play-task-{run_id}-{device}",
    )
    number = whole_number(
        place, "Question", 0, 9999, key="play-number",
        told="Number of the test question; no device trained on it.",
    )  # fmt: skip
    place.button("Another", icon=":material/casino:", on_click=another, key="play-another")
    return AskIn(run_id=run_id, device=device, task=task, number=number)


def another() -> None:
    """The next test question."""
    st.session_state["play-number"] = (st.session_state.get("play-number", 0) + 1) % 10_000


def switches(before: AnsweredOut | None, device: int) -> GateIn:
    """Gate, experts on or off, and how many of them."""
    if before is None or not before.kinds:
        return GateIn()
    kinds = [AS_TRAINED, *before.kinds]
    kind = st.selectbox(
        "Gate",
        kinds,
        format_func=lambda k: word(k, "gate"),
        help="How experts are picked. Only gates whose knowledge the experts carry are offered.",
        key="play-gate",
    )
    level = st.selectbox(
        "Decides per",
        [AS_TRAINED, "prompt", "token", "network"],
        format_func=word,
        key="play-level",
    )
    blend = st.selectbox(
        "Answers with", [AS_TRAINED, "hard", "soft"], format_func=word, key="play-blend"
    )
    count = len(before.experts)
    top_k = st.slider(
        "At most so many experts",
        1,
        max(count, 2),
        max(count, 2),
        help="The others get weight 0 in a module. All of them: as many as the gate likes.",
        key=f"play-top-{device}-{count}",
    )
    return GateIn(
        kind=None if kind == AS_TRAINED else kind,
        level=None if level == AS_TRAINED else level,
        blend=None if blend == AS_TRAINED else blend,
        top_k=None if top_k >= count else top_k,
        off=switched_off(before, device),
    )


def outside(told: PlaygroundOut) -> str | None:
    """An adapter from outside that answers as well, where there are any."""
    if not told.adapters:
        return None
    chosen: str | None = st.selectbox(
        "Adapter from outside",
        told.adapters,
        index=None,
        placeholder="None",
        help="A PEFT folder below adapters/ of the state folder, of the rank and alpha of the run.",
        key="play-adapter",
    )
    return chosen


def switched_off(before: AnsweredOut, device: int) -> list[int]:
    """A switch for every expert; the places of those that are off."""
    st.markdown("Experts", help="Switch one off and see who takes over.")
    names = parts.expert_names(before)
    with st.container(gap="xxsmall", height=300 if len(names) > TOGGLES_SEEN else "content"):
        on = [
            st.toggle(name, value=True, key=f"play-expert-{device}-{len(names)}-{place}")
            for place, name in enumerate(names)
        ]
    return [place for place, kept in enumerate(on) if not kept]


def answers(answered: AnsweredOut) -> None:
    """The prompt and what each arm said to it."""
    mode = state.mode()
    with st.container(border=True, key="play-question"):
        st.text(answered.prompt)
        if answered.answer is not None:
            st.caption(f"Right answer: {fmt.sentence(answered.answer)}")
    arms = {arm.name: arm for arm in answered.arms}
    st.html(parts.CARD_CSS)
    seen = [name for name in ARM_TITLES if name in arms or name in answered.missing]
    with st.grid(len(seen), min_column_width=146, gap="small"):
        for name in seen:
            with st.container(border=True, height="stretch", key=f"arm-{name}"):
                missing = answered.missing.get(name)
                st.html(parts.arm_html(arms.get(name), name, missing, mode))
    st.caption(
        f"Merged is the {answered.merged_of}. Every arm says the likeliest token each time. "
        f"Answered in {fmt.seconds(answered.seconds)} after round {answered.rounds_done}."
    )


def gate(answered: AnsweredOut) -> None:
    """How the gate weighed the experts."""
    st.subheader("What the gate did", anchor=False)
    if not answered.modules:
        sentence = answered.missing.get("gated", "This run has no gate.")
        st.info(sentence, icon=":material/info:")
        return
    told = f"{word(answered.gate_kind, 'gate')}, per {answered.gate_level}"
    st.caption(cited(f"Gate: {told}. Weight 1 is an expert at full strength (M10; our choice)."))
    module = None
    if len(answered.gate[0]) > 1:
        picked = st.selectbox("Module", [ALL_MODULES, *answered.modules], key="play-module")
        module = None if picked == ALL_MODULES else picked
    figure = parts.gate_chart(answered, module)
    live_chart(figure, key="play-gate-chart", keep=f"{module}-{len(answered.experts)}")


st.title("Playground", anchor=False)
st.markdown("Ask one device. Five answers side by side show what sharing did to it.")
try:
    listed = [run for run in api().runs(limit=LISTED).runs if run.rounds_done]
except ApiProblem as trouble:
    state.show_problem(trouble)
    st.button("Try again", icon=":material/refresh:")
    st.stop()
if not listed and "run" not in st.query_params:
    st.info(
        "No run has a finished round yet. Start one: a minute is enough.", icon=":material/info:"
    )
    st.page_link(state.GALLERY, label="Open the gallery", icon=":material/grid_view:")
    st.stop()
if (asked := address.asked("run")) and not address.whole_number(asked):
    unknown.show(unknown.no_number("run", asked), unknown.run_ways(HERE, "run"))
    st.stop()

left, right = st.columns([1, 3], gap="medium")
with left:
    run_id = choose_run(listed)
    try:
        told = calls.look(api(), run_id)
    except ApiProblem as trouble:
        unknown.show(trouble.detail, unknown.run_ways(HERE, "run"))
        st.stop()
    if told.missing is not None:
        st.warning(fmt.sentence(told.missing), icon=":material/history_toggle_off:")
        st.page_link(state.GALLERY, label="Start a run", icon=":material/grid_view:")
        st.stop()
    device, after = choose_whom(told, run_id)
with right:
    body = question(told, device, run_id)
    wrong = st.empty()
    result = st.container()
memory_key = f"play-seen-{run_id}-{device}-{after}"
with left:
    body = body.model_copy(
        update={
            "rounds_done": after,
            "gate": switches(st.session_state.get(memory_key), device),
            "adapter": outside(told),
        }
    )
if body.prompt is not None:
    st.session_state["play-last-prompt"] = body.prompt
    if not body.prompt.strip():
        wrong.info("Type a prompt, then press Ctrl and Enter.", icon=":material/keyboard:")
        st.stop()
with result:
    first = memory_key not in st.session_state
    try:
        with st.spinner("Loading the run: some seconds the first time.", show_time=True):
            answered = calls.ask(api(), body)
    except ApiProblem as trouble:
        state.show_problem(trouble, where=wrong)
        st.stop()
    answers(answered)
    gate(answered)
st.session_state[memory_key] = answered
if first and answered.kinds:
    st.rerun()  # the switches know the library only now
