"""Load: many readers, large rounds, a store of many runs. `python -m tests.load` measures."""
