"""Pictures of every view for the documents: light and dark; empty, running and done.

`python -m tests.browser.screens docs/screens` starts a Meshtune of its own with an empty store,
runs real presets in it, and stops it. `--only run,compare` takes the pictures of these views alone.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS, settled, whole

WIDTH, HEIGHT = 1280, 1500  # the first screens of a long view
COLORS, EXACT = 256, 64
SCHEMES = ("light", "dark")
SETTLE_MS = 1500  # fonts, and the first ease of the map
RUN_S = 600.0
ROUNDS = 30
RUNNING_FROM = 10  # rounds that a running run has to show


@dataclass(frozen=True)
class View:
    """A view, its address in a state, and what tells that it is drawn.

    Addresses may name `{run}` and `{others}`; a state that is left out is not taken.
    """

    name: str
    empty: str | None = None
    running: str | None = None
    done: str | None = None
    text: str | None = None

    def address(self, state: str) -> str | None:
        """Path and query in a state."""
        found: str | None = getattr(self, state)
        return found


VIEWS = (
    View("gallery", empty="", running="", done=""),
    View("design", empty="design?preset=quick"),
    View("run", empty="run", running="run?run={run}", done="run?run={run}"),
    View(
        "compare",
        empty="compare",
        running="compare?runs={run}",
        done="compare?runs={others}&x=bits",
    ),
    View("playground", empty="playground", done="playground?run={run}&device=1", text="Oracle"),
    View("learn", empty="learn"),
    View("learn-collision", empty="learn?page=collision"),
    View("sweeps", empty="sweeps", done="sweeps?sweep=1"),
)


def take(page: Page, url: str, file: Path, text: str | None = None) -> None:
    """The first pixels of a view once its charts are drawn, as an image of few colours."""
    page.goto(url)
    settled(page)
    if text:
        page.get_by_role("heading", name=text).first.wait_for(timeout=120_000)
    page.wait_for_function("() => !document.querySelector('.mt-chart:not(.drawn)')")
    page.mouse.move(2, 2)
    page.wait_for_timeout(SETTLE_MS)
    bottom: float = page.get_by_test_id("stMainBlockContainer").evaluate(
        "e => Math.max(...[...e.querySelectorAll('*')].map(x => x.getBoundingClientRect().bottom))"
    )
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": min(bottom + 24, HEIGHT)}
    few_colors(Image.open(io.BytesIO(page.screenshot(clip=clip)))).save(file, optimize=True)
    sys.stdout.write(f"{file} {file.stat().st_size / 1000:.0f} kB\n")
    sys.stdout.flush()


def few_colors(picture: Image.Image) -> Image.Image:
    """The picture in 256 colours: the most frequent stay exact, the others are mixed.

    Mixing all tints large pale surfaces; keeping the frequent ones alone loses small bright ones.
    """
    pixels = np.asarray(picture.convert("RGB"))
    colors, place, counts = np.unique(
        pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    order = np.argsort(-counts)
    rest = colors[order[EXACT:]].astype(np.uint8)[None]
    mixed = Image.fromarray(rest).quantize(COLORS - EXACT, method=Image.Quantize.MAXCOVERAGE)
    palette = np.array(mixed.getpalette(), dtype=np.uint8).reshape(-1, 3)
    kept = np.concatenate([colors[order[:EXACT]], palette[: COLORS - EXACT]]).astype(np.int32)
    nearest = [np.argmin(((kept - color) ** 2).sum(axis=1)) for color in colors.astype(np.int32)]
    few = Image.fromarray(np.array(nearest, dtype=np.uint8)[place].reshape(pixels.shape[:2]), "P")
    few.putpalette(kept.astype(np.uint8).tobytes())
    return few


@dataclass(frozen=True)
class Session:
    """A started Meshtune, a browser, and where pictures go."""

    url: str
    api: httpx.Client
    browser: Browser
    folder: Path
    only: frozenset[str]

    def all_views(self, state: str, **named: str) -> None:
        """Every view that has this state, light and dark."""
        for scheme in SCHEMES:
            dark = scheme == "dark"
            context = self.browser.new_context(
                color_scheme="dark" if dark else "light",
                viewport={"width": WIDTH, "height": HEIGHT},
            )
            page = context.new_page()
            for view in VIEWS:
                address = view.address(state)
                if address is None or (self.only and view.name not in self.only):
                    continue
                file = self.folder / f"{view.name}-{state}-{scheme}.png"
                text = view.text if state == "done" else None
                take(page, f"{self.url}/{address.format(**named)}", file, text)
            context.close()

    def started(self, kind: str, rounds: int = ROUNDS, seed: int = 1) -> int:
        """Queue a run of the first preset with another method."""
        presets = self.api.get("/presets").raise_for_status().json()
        config = next(each["config"] for each in presets if each["name"] == "quick")
        method = config["method"] if config["method"]["kind"] == kind else {"kind": kind}
        config |= {"name": kind.replace("_", " "), "method": method}
        config |= {"rounds": rounds, "seed": seed}
        answer = self.api.post("/runs", json={"config": config}).raise_for_status()
        return int(answer.json()["id"])

    def until(self, run: int, reached: Callable[[dict[str, object]], bool]) -> None:
        """Wait until a run has got so far."""
        end = time.monotonic() + RUN_S
        while not reached(self.api.get(f"/runs/{run}").raise_for_status().json()):
            if time.monotonic() > end:
                raise TimeoutError(f"run {run} did not get there in {RUN_S:.0f} s")
            time.sleep(0.3)

    def swept(self) -> None:
        """A sweep over the density with short runs, all done."""
        spec = {
            "name": "How sparse?",
            "preset": "quick",
            "base": {"rounds": 6},
            "axes": {"method.density": [0.1, 0.4]},
        }
        for cell in self.api.post("/sweeps", json=spec).raise_for_status().json()["states"]:
            self.until(int(cell["run_id"]), lambda found: found["status"] == "completed")


def take_all(session: Session) -> None:
    """From the empty store to one with runs and a sweep."""
    session.all_views("empty")
    run = session.started("so_lora", rounds=4 * ROUNDS, seed=2)
    session.until(run, lambda found: int(str(found["rounds_done"])) >= RUNNING_FROM)
    session.all_views("running", run=str(run))
    session.api.post(f"/runs/{run}/cancel").raise_for_status()
    runs = [session.started(kind) for kind in ("so_lora", "lora_gossip", "local")]
    for each in runs:
        session.until(each, lambda found: found["status"] == "completed")
    session.swept()
    session.all_views("done", run=str(runs[0]), others=",".join(map(str, runs)))


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="names of views, with commas")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    only = frozenset(filter(None, asked.only.split(",")))
    with (
        TemporaryDirectory() as state,
        whole(Path(state)) as (url, api_url),
        httpx.Client(base_url=api_url, trust_env=False, timeout=30.0) as api,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        take_all(Session(url, api, browser, asked.folder, only))
        browser.close()


if __name__ == "__main__":
    main()
