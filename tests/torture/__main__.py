"""`python -m tests.torture --minutes 15 --kills 100`: what `make torture` runs."""

import argparse
import ctypes
import os
import sys
import tempfile
from pathlib import Path

# Before torch is loaded here or in a worker: the number of threads may change the last bit.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"

PR_CAPBSET_DROP = 24  # from linux/prctl.h
OVERRIDES = (1, 2)  # capabilities by which root writes what is read-only


def main() -> int:
    """Torture, compare, say how it went; 0 if nothing was lost, doubled or different."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="at most so long")
    parser.add_argument("--kills", type=int, default=100, help="of workers, at least so many")
    parser.add_argument("--rounds", type=int, default=40, help="of each run")
    parser.add_argument("--seed", type=int, default=None, help="of the dice; another each time")
    parser.add_argument("--lock-s", type=float, default=60.0, help="another program writes")
    chosen = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("MESHTUNE_")]:
        del os.environ[name]
    if sys.platform == "linux" and os.geteuid() == 0:
        for capability in OVERRIDES:  # of the processes started from here on
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)

    from tests.torture.storm import Storm, Wish  # noqa: PLC0415 - loads what the above prepares

    seed = chosen.seed if chosen.seed is not None else int.from_bytes(os.urandom(4), "big")
    wish = Wish(chosen.kills, chosen.minutes * 60.0, chosen.rounds, seed, chosen.lock_s)
    with tempfile.TemporaryDirectory(prefix="meshtune-torture-") as folder:
        return Storm(wish, Path(folder)).run()


if __name__ == "__main__":
    sys.exit(main())
