"""Shared pages: made once while nothing moves, bounded, and never older than the run."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from meshtune.backend.round_cache import Pages


def test_a_page_is_made_once_and_the_one_unused_longest_goes_first() -> None:
    pages, made = Pages(kept_bytes=10, page_bytes=6), []

    def page(name: str, size: int) -> bytes:
        def make() -> bytes:
            made.append(name)
            return b"x" * size

        return pages.get(name, make)

    page("a", 4), page("b", 4), page("a", 4)
    assert made == ["a", "b"]
    page("c", 4)  # b goes, since a was used after it
    page("a", 4)
    assert made == ["a", "b", "c"]
    page("b", 4)
    assert made == ["a", "b", "c", "b"]
    assert pages.size == 8


def test_a_page_that_is_too_large_is_made_each_time() -> None:
    pages, made = Pages(kept_bytes=10, page_bytes=6), []
    for _ in range(2):
        assert pages.get("large", lambda: made.append(1) or bytes(7)) == bytes(7)
    assert len(made) == 2
    assert pages.size == 0


def test_a_page_that_many_ask_for_at_once_is_made_once() -> None:
    pages, made = Pages(), []
    making, go_on = threading.Semaphore(0), threading.Event()

    def make() -> bytes:
        made.append(1)
        making.release()
        assert go_on.wait(60.0)
        return b"page"

    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(pages.get, "one", make) for _ in range(8)]
        assert making.acquire(timeout=60.0)
        assert pages.get("another", lambda: b"at once") == b"at once"
        go_on.set()
        assert [each.result() for each in asked] == [b"page"] * 8
    assert len(made) == 1


def test_what_goes_wrong_is_not_kept() -> None:
    pages = Pages()

    def broken() -> bytes:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        pages.get("one", broken)
    assert pages.get("one", lambda: b"page") == b"page"
