"""Numbers of a form in the unit a person writes. Pure."""

from decimal import Decimal

from meshtune.dashboard.design.fields import Spec
from meshtune.dashboard.look import format as fmt

SCALED_UNITS = {"Hz", "bit/s"}  # shown with the prefix that suits the default
FINE_UNITS = {"dB", "dBm"}  # stepped by one


def shown_scale(spec: Spec, value: float) -> fmt.Scale:
    """The unit in which a number field is edited; hertz become MHz or GHz."""
    if spec.unit not in SCALED_UNITS:
        return fmt.Scale(1.0, spec.unit)
    return fmt.scale_for(value, spec.unit)


def to_shown(value: float, scale: fmt.Scale) -> float:
    """`value` in the edited unit, without binary dust."""
    return float(Decimal(repr(value)) / Decimal(repr(scale.factor)))


def from_shown(value: float, scale: fmt.Scale) -> float:
    """The edited number in the base unit, without binary dust."""
    return float(Decimal(repr(value)) * Decimal(repr(scale.factor)))


def step_of(spec: Spec, value: float) -> float:
    """One press of plus or minus: one unit of the first digit, or 1 dB."""
    if spec.unit in FINE_UNITS:
        return 1.0
    if value == 0:
        return 0.01 if spec.high is not None and spec.high <= 1 else 1.0
    power = int(f"{abs(value):e}".split("e")[1])
    leading = abs(value) / 10.0**power
    return float(f"1e{power if leading >= 2 else power - 1}")
