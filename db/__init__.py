"""The store: runs, rounds and events in one database."""
