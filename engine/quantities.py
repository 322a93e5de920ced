"""The words of the lab: one per quantity, and how each is computed.

Screens, hover texts, tables, reports and the fields of the API take them from here, so that a
number never stands under two names, nor two numbers under one. Light: no imports.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """What one number of a round, or of a whole run, is called.

    Attributes:
        word: on every screen, in every table and report; starts with a capital.
        meaning: how it is computed, with the equation of docs/model.md; no full stop at its end.
        unit: base unit; empty for shares.
    """

    word: str
    meaning: str
    unit: str = ""

    @property
    def small(self) -> str:
        """The word within a sentence."""
        return self.word[:1].lower() + self.word[1:]


OWN_TASK = Quantity(
    "Own task", "Accuracy on unseen samples, each device on its own task; mean over devices (M12)"
)
ALL_TASKS = Quantity(
    "All tasks",
    "Accuracy on unseen samples of all tasks of the run; mean over devices and tasks (M12)",
)
FORGETTING = Quantity(
    "Forgetting",
    "How far each device is below its best so far on its own task; mean over devices (M13)",
)
UNDONE = Quantity(
    "Undone by the exchange",
    "Accuracy on the own task before the exchange of the round, less that after it; mean over "
    "devices",
)
BITS_SENT = Quantity(
    "Bits sent",
    "Payload put on air, lost messages included; a broadcast counts once (M11, M31)",
    "bit",
)
AIRTIME = Quantity(
    "Airtime", "Longest message of each slot; slots, hops and rounds added up (M4, M31)", "s"
)
TRANSMIT = Quantity(
    "Transmit energy",
    "Power times airtime over the messages of all devices, lost ones and tries included (M5, M32)",
    "J",
)
RECEIVE = Quantity(
    "Receive energy",
    "Receive power times airtime over the receivers of all messages; zero where the channel does "
    "not count it (M33)",
    "J",
)
COMPUTE = Quantity(
    "Compute energy", "What local training draws on the hardware classes of all devices (M29)", "J"
)
ROUND_TIME = Quantity(
    "Round time",
    "Slowest path of a round: compute, wait for the turn, send (M33). What the devices would wait, "
    "not what the simulation takes",
    "s",
)
MACHINE_TIME = Quantity(
    "Machine time",
    "What the run takes on the machine that trains it; the radio is computed, not waited for",
    "s",
)

# By the field of a record, of a run and of an export.
QUANTITIES: dict[str, Quantity] = {
    "accuracy_own": OWN_TASK,
    "accuracy_all": ALL_TASKS,
    "forgetting": FORGETTING,
    "exchange_loss": UNDONE,
    "sent_bits": BITS_SENT,
    "airtime_s": AIRTIME,
    "energy_j": TRANSMIT,
    "receive_j": RECEIVE,
    "compute_j": COMPUTE,
    "round_s": ROUND_TIME,
    "wall_s": MACHINE_TIME,
}
# Sums from the first round on.
TOTALS: dict[str, Quantity] = {
    "total_bits": BITS_SENT,
    "total_airtime_s": AIRTIME,
    "total_energy_j": TRANSMIT,
    "total_wall_s": MACHINE_TIME,
}


def quantity(value: float, unit: str) -> str:
    """A number with three digits and a decimal prefix, e.g. 1.23 Mbit."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    for factor, prefix in ((1e-3, "m"), (1e-6, "µ")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
