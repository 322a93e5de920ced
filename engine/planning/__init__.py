"""What a config will mean before it runs; `meshtune.engine.planning.plan` is the way in."""
