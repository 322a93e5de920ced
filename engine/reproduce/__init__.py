"""The paper's comparison, run again on the embedded suite: `meshtune reproduce`."""
