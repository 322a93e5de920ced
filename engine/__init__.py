"""The science: devices, adapters, radio, methods. Knows no database, no server and no screen."""

import os

# Before anything loads NumPy: its threads would wait for work by spinning, and stall one another as
# soon as another process runs. The first masks of a small run took 1.8 s so, and 0.07 s without.
# How many threads there are, and so every number, stays as it is.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
