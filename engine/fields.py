"""What every branch of the config tree is made of: strict parts, and numbers with a unit."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def unit(symbol: str) -> dict[str, Any]:
    """Schema extra that tells forms and docs the unit of a number."""
    return {"unit": symbol}


OUR_CHOICE: dict[str, Any] = {"our_choice": True}  # the paper leaves this open; screens say so

Finite = Annotated[float, Field(allow_inf_nan=False)]
Metres = Annotated[Finite, Field(json_schema_extra=unit("m"))]
Hertz = Annotated[Finite, Field(json_schema_extra=unit("Hz"))]
DBm = Annotated[Finite, Field(json_schema_extra=unit("dBm"))]
Decibel = Annotated[Finite, Field(json_schema_extra=unit("dB"))]
Seconds = Annotated[Finite, Field(json_schema_extra=unit("s"))]


MetresPerSecond = Annotated[Finite, Field(json_schema_extra=unit("m/s"))]
Watts = Annotated[Finite, Field(json_schema_extra=unit("W"))]
Probability = Annotated[Finite, Field(ge=0, le=1, json_schema_extra=unit("probability"))]
# Files that a config names lie in one folder, so that a config never holds a path.
INPUT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
InputName = Annotated[str, Field(min_length=1, max_length=64, pattern=INPUT_NAME)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


def matters_if(
    field: str,
    *,
    one_of: tuple[str, ...] = (),
    none_of: tuple[str, ...] = (),
    above: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    """Schema extra of a field that has a meaning only for some values of `field`.

    `field` is a dotted name, looked up beside the field that has the rule, then outwards up to the
    run. A form may leave the field out otherwise: nothing that the engine gives depends on it then.
    Validation and the stored config know nothing of it.
    """
    rule: dict[str, Any] = {"field": field}
    rule |= {"one_of": list(one_of)} if one_of else {}
    rule |= {"none_of": list(none_of)} if none_of else {}
    rule |= {"above": above} if above is not None else {}
    rule |= {"below": below} if below is not None else {}
    return {"matters_if": rule}


class Part(BaseModel):
    """Base of every branch of the tree: immutable, and strict about unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class KindPart(Part):
    """Base of a branch that is one of several; `kind` is a Literal with its name as default."""

    kind: str
