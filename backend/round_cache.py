"""Pages of rounds as they go over the wire: readers of one run share them.

A stored round never changes, and a run that goes back to an older checkpoint does so under a new
fence. So a page stays true as long as its run stands where it stood, which is part of its key.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

KEPT_BYTES = 32_000_000
PAGE_BYTES = 4_000_000  # a larger page is made anew each time


class Pages:
    """The pages used last, as bytes; shared by the threads of a process."""

    def __init__(self, kept_bytes: int = KEPT_BYTES, page_bytes: int = PAGE_BYTES) -> None:
        self.kept_bytes, self.page_bytes = kept_bytes, page_bytes
        self.size = 0
        self._pages: OrderedDict[Hashable, bytes] = OrderedDict()
        self._coming: dict[Hashable, Future[bytes]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """The page of this key, made now if nobody asked for it lately.

        It is made once: who asks for it meanwhile waits, and shares also what goes wrong.
        """
        with self._lock:
            page = self._pages.get(key)
            if page is not None:
                self._pages.move_to_end(key)
                return page
            coming = self._coming.get(key)
            if coming is None:
                ours = self._coming[key] = Future()
        if coming is not None:
            return coming.result()
        try:
            page = make()
            if len(page) <= self.page_bytes:
                self._keep(key, page)
            ours.set_result(page)
        except BaseException as error:
            ours.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._coming[key]
        return page

    def _keep(self, key: Hashable, page: bytes) -> None:
        with self._lock:
            if key not in self._pages:
                self._pages[key] = page
                self.size += len(page)
            while self.size > self.kept_bytes:
                self.size -= len(self._pages.popitem(last=False)[1])
