"""Threads that each do their products alone.

A small model has many short operations; splitting each of them over the processors costs more in
waiting than it gains.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def side_by_side(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """As many threads as there are jobs or processors; what has not begun at the end never does."""
    threads = torch.get_num_threads()
    workers = min(threads, jobs)
    pool = ThreadPoolExecutor(workers, "side_by_side", torch.set_num_threads, (threads // workers,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
