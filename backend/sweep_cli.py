"""Commands of `meshtune` for sweeps."""
