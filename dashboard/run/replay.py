"""Moving through the rounds of a run: slider, play, speed; and following one under way."""

from dataclasses import dataclass
from time import monotonic as now

import streamlit as st

SPEEDS = (1, 2, 5, 10, 25)  # rounds per second
TICK_S = 0.5


@dataclass(frozen=True)
class Replay:
    """Where one run is looked at; lives in the session under keys of its own."""

    run_id: int

    @property
    def slider(self) -> str:
        """Key of the slider: the round that is shown, counted from 1."""
        return f"round-{self.run_id}"

    @property
    def playing(self) -> bool:
        """Whether the rounds pass by themselves."""
        return bool(st.session_state.get(f"playing-{self.run_id}", False))

    @property
    def speed(self) -> int:
        """Rounds per second."""
        return int(st.session_state.get(f"speed-{self.run_id}", 2))

    @property
    def following(self) -> bool:
        """Whether the newest round is shown, whichever it is."""
        return bool(st.session_state.get(f"following-{self.run_id}", True))

    def go(self, finished: int | None) -> None:
        """Show this round; None follows the newest one."""
        st.session_state[f"following-{self.run_id}"] = finished is None
        st.session_state[f"playing-{self.run_id}"] = False
        if finished is not None:
            st.session_state[self.slider] = finished

    def play(self, done: int) -> None:
        """Let the rounds pass, from the first if the last is shown; or stop."""
        starts = not self.playing
        if starts and st.session_state.get(self.slider, done) >= done:
            st.session_state[self.slider] = 1
        st.session_state[f"playing-{self.run_id}"] = starts
        st.session_state[f"played-{self.run_id}"] = now()
        st.session_state[f"following-{self.run_id}"] = False

    def moved(self) -> None:
        """The slider was moved by hand."""
        self.go(st.session_state[self.slider])

    def shown(self, done: int) -> int:
        """The round to show of `done`; a tick of the fragment moves it on while it plays."""
        place = int(st.session_state.get(self.slider, done))
        if self.following:
            place = done
        elif self.playing:
            place = min(done, place + self._passed())
            if place == done:
                st.session_state[f"playing-{self.run_id}"] = False
        place = max(1, min(place, done))
        st.session_state[self.slider] = place
        return place

    def _passed(self) -> int:
        """Rounds that have passed since the last one that was shown, at this speed."""
        key = f"played-{self.run_id}"
        passed = int((now() - st.session_state[key]) * self.speed)
        st.session_state[key] += passed / self.speed
        return passed


def controls(replay: Replay, done: int) -> int:
    """Slider and buttons; the round that is shown, counted from 1."""
    before = replay.playing
    shown = replay.shown(done)
    if before and not replay.playing:
        st.rerun(scope="app")  # the end: no more ticks
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="replay"):
        for label, icon, target in (
            ("First", ":material/first_page:", 1),
            ("Back", ":material/chevron_left:", max(1, shown - 1)),
            ("Next", ":material/chevron_right:", min(done, shown + 1)),
            ("Latest", ":material/last_page:", None),
        ):
            st.button(label, icon=icon, key=f"to-{label}", on_click=replay.go, args=(target,))
        pressed = st.button(
            "Stop" if replay.playing else "Play",
            icon=":material/pause:" if replay.playing else ":material/play_arrow:",
            key="play",
            on_click=replay.play,
            args=(done,),
            disabled=done < 2,
        )
        if done > 1:
            st.slider(
                "Round",
                1,
                done,
                key=replay.slider,
                on_change=replay.moved,
                help="Map, numbers, heat map and routes are those after this round; the dotted "
                "line in the charts is where it is.",
            )
        st.selectbox(
            "Speed",
            SPEEDS,
            index=SPEEDS.index(2),
            format_func=lambda speed: f"{speed} rounds/s",
            key=f"speed-{replay.run_id}",
            width=150,
        )
    if pressed:
        st.rerun(scope="app")  # ticks begin or end
    return shown
