"""The door: HTTP API and workers."""
