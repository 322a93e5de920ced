"""Rounds that pay for messages and average nothing, as told by their records."""

from dataclasses import dataclass

import numpy as np

from meshtune.engine.config import RunConfig
from meshtune.engine.records import RoundRecord
from meshtune.engine.topology.mixing import averaged_links, unmixed_sentence

PATIENCE_ROUNDS = 3  # one bad round may be weather


def unmixed(config: RunConfig, record: RoundRecord) -> str | None:
    """Why nothing was averaged in a round that paid for messages; None if something was."""
    n = len(record.devices)
    linked, heard = np.zeros((2, n, n), dtype=np.bool_)
    for link in record.links:
        linked[link.receiver, link.sender] = True
        heard[link.receiver, link.sender] = link.delivered
    cluster = np.array([device.cluster for device in record.devices], dtype=np.int64)
    averaged = averaged_links(config, linked, heard, cluster)
    if averaged is None or averaged.any():
        return None
    return unmixed_sentence(config, bool(heard.any()))


@dataclass
class UnmixedWatch:
    """Looks at the records of a run in order, and says once that its messages change nobody."""

    config: RunConfig
    rounds: int = 0
    told: bool = False

    def look(self, record: RoundRecord) -> str | None:
        """The warning, in the round in which it is certain enough; else None."""
        why = unmixed(self.config, record)
        self.rounds = 0 if why is None else self.rounds + 1
        if why is None or self.told or self.rounds < min(PATIENCE_ROUNDS, self.config.rounds):
            return None
        self.told = True
        since = record.round_index + 2 - self.rounds
        return f"rounds {since} to {record.round_index + 1}: {why}"
