"""Fetching models for the API: the command of the shelf, in a process of its own, one at a time."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

from meshtune.backend.errors import FetchBusy, NotOffered
from meshtune.backend.schemas.models import FetchState, ModelOut
from meshtune.engine.models.offered import OFFERS
from meshtune.engine.models.stock import disk_bytes, is_fetched, shelved

# By the command, as converting loads torch, which the process of the API must never do.
COMMAND = (sys.executable, "-m", "meshtune.backend.commands.main", "model", "fetch")
WATCHER = "fetch"  # name of the thread that waits for its end


class Fetching:
    """The fetch that is under way, and how the last one of each model ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: tuple[str, subprocess.Popen[str]] | None = None
        self._failed: dict[str, str] = {}

    def models(self) -> list[ModelOut]:
        """Those on offer and those in the state folder, by name."""
        here = shelved()
        return [self._told(name, here) for name in sorted({*OFFERS, *here})]

    def start(self, name: str) -> None:
        """Begin to fetch a model, unless it is here or on its way.

        Raises:
            NotOffered: there is no such model to fetch.
            FetchBusy: another one is being fetched.
        """
        if name not in OFFERS:
            known = ", ".join(OFFERS)
            raise NotOffered(f"there is no model {name[:80]!r} to fetch; choose {known}")
        with self._lock:
            if self._child is not None and self._child[0] != name:
                raise FetchBusy(f"{self._child[0]} is being fetched; wait until it is here")
            if self._child is None and not is_fetched(name):
                self._begin(name)

    def close(self) -> None:
        """End the fetch; it leaves nothing half."""
        with self._lock:
            if self._child is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._child[1].pid, signal.SIGTERM)  # with the pip that it runs

    def _begin(self, name: str) -> None:
        self._failed.pop(name, None)
        try:
            child = subprocess.Popen(
                [*COMMAND, name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            self._failed[name] = f"the fetch cannot start here ({error.strerror}); free memory"
            return
        self._child = (name, child)
        watch = threading.Thread(target=self._watch, args=(name, child), daemon=True, name=WATCHER)
        watch.start()

    def _watch(self, name: str, child: subprocess.Popen[str]) -> None:
        _, said = child.communicate()
        lines = said.strip().splitlines() or ["the fetch was ended from outside; begin it again"]
        with self._lock:
            self._child = None
            if child.returncode:
                self._failed[name] = lines[-1][:1000]

    def _told(self, name: str, here: list[str]) -> ModelOut:
        offer = OFFERS.get(name)
        if offer is None:
            return ModelOut(
                name=name,
                source="folder",
                title=name,
                description="Put into models/ of the state folder",
                download_bytes=None,
                disk_bytes=disk_bytes(name),
                state="present",
                sentence=None,
            )
        state, sentence = self._state(name, here)
        return ModelOut(
            name=name,
            source="pip",
            title=offer.title,
            description=f"{offer.licence}, {offer.source}",
            download_bytes=offer.download_bytes,
            disk_bytes=disk_bytes(name) if name in here else offer.disk_bytes,
            state=state,
            sentence=sentence,
        )

    def _state(self, name: str, here: list[str]) -> tuple[FetchState, str | None]:
        with self._lock:
            if self._child is not None and self._child[0] == name:
                return "fetching", None
            if name in here:
                return "present", None
            failed = self._failed.get(name)
        return ("absent", None) if failed is None else ("failed", failed)
