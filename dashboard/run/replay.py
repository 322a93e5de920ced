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
        """Show this round, counted from 1; None follows the newest one."""
        st.session_state[f"following-{self.run_id}"] = finished is None
        st.session_state[f"playing-{self.run_id}"] = False
        if finished is not None:
            st.session_state[f"round-{self.run_id}"] = finished

    def play(self, done: int) -> None:
        """Let the rounds pass, from the first if the last is shown; or stop."""
        starts = not self.playing
        if starts and st.session_state.get(f"round-{self.run_id}", done) >= done:
            st.session_state[f"round-{self.run_id}"] = 1
        st.session_state[f"playing-{self.run_id}"] = starts
        st.session_state[f"played-{self.run_id}"] = now()
        st.session_state[f"following-{self.run_id}"] = False

    def slider(self, shown: int, done: int) -> str:
        """Key of the slider: another one after the page itself has moved it or made it longer.

        A slider that has been replaced can then be told from the one that is on screen.
        """
        turn = st.session_state.setdefault(f"turn-{self.run_id}", 0)
        key = f"slider-{self.run_id}-{done}-{turn}"
        if st.session_state.setdefault(key, shown) == shown:
            return key
        st.session_state[f"turn-{self.run_id}"] = turn + 1
        key = f"slider-{self.run_id}-{done}-{turn + 1}"
        st.session_state[key] = shown
        return key

    def moved(self, key: str, shown: int) -> None:
        """A slider has another value.

        A browser that is behind still sends what the slider of a moment ago showed: that is no
        choice.
        """
        if st.session_state[key] != shown:
            self.go(st.session_state[key])

    def shown(self, done: int) -> int:
        """The round to show of `done`; a tick of the fragment moves it on while it plays."""
        place = int(st.session_state.get(f"round-{self.run_id}", done))
        if self.following:
            place = done
        elif self.playing:
            place = min(done, place + self._passed())
            if place == done:
                st.session_state[f"playing-{self.run_id}"] = False
        place = max(1, min(place, done))
        st.session_state[f"round-{self.run_id}"] = place
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
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="replay"):
        pressed = _buttons(replay, shown, done)
        if done > 1:
            _slider(replay, shown, done)
        st.selectbox(
            "Speed",
            SPEEDS,
            index=SPEEDS.index(2),
            format_func=lambda speed: f"{speed} rounds/s",
            key=f"speed-{replay.run_id}",
            label_visibility="collapsed",
            width=130,
        )
    if pressed:
        st.rerun(scope="app")  # ticks begin or end
    return shown


def _buttons(replay: Replay, shown: int, done: int) -> bool:
    """Steps, and play; whether play was pressed."""
    for label, icon, target in (
        ("First", ":material/first_page:", 1),
        ("Back", ":material/chevron_left:", max(1, shown - 1)),
        ("Next", ":material/chevron_right:", min(done, shown + 1)),
        ("Latest", ":material/last_page:", None),
    ):
        st.button(label, icon=icon, key=f"to-{label}", on_click=replay.go, args=(target,))
    return st.button(
        "Stop" if replay.playing else "Play",
        icon=":material/pause:" if replay.playing else ":material/play_arrow:",
        key="play",
        on_click=replay.play,
        args=(done,),
        disabled=done < 2,
    )


def _slider(replay: Replay, shown: int, done: int) -> None:
    key = replay.slider(shown, done)
    st.slider(
        "Round",
        1,
        done,
        key=key,
        on_change=replay.moved,
        args=(key, shown),
        label_visibility="collapsed",
    )
