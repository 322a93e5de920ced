"""Commands of `meshtune` for backups."""
