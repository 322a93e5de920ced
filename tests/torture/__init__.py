"""Real workers on real runs, killed at random; every run must end as if nobody had touched it."""
