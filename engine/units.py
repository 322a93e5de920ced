"""Conversions between logarithmic and linear quantities. Nothing else converts.

The speed of light is here too, for wavelengths.
"""

import math

import numpy as np
from jaxtyping import Float64

LIGHT_SPEED_M_S = 299_792_458.0


def dbm_to_w(power_dbm: float) -> float:
    """Power in watts of `power_dbm` (decibels over one milliwatt)."""
    return math.pow(10.0, power_dbm / 10.0) * 1e-3


def db_to_ratio(gain_db: float) -> float:
    """Linear power ratio of a gain in decibels."""
    return math.pow(10.0, gain_db / 10.0)


def ratio_to_db(ratio: float) -> float:
    """Decibels of a linear power ratio; minus infinity for zero."""
    return 10.0 * math.log10(ratio) if ratio > 0.0 else -math.inf


def db_to_ratios(gains_db: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    """Linear power ratios of gains in decibels."""
    ratios: Float64[np.ndarray, "*s"] = 10.0 ** (0.1 * gains_db)
    return ratios
