"""Commands of `meshtune` for tokens."""
