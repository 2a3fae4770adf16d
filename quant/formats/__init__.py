"""Number formats: which values there are, and which code stands for which.

Every format is a small immutable descriptor with vectorised ``encode`` and ``decode``; see
`NumberFormat` for what they share and ``docs/format.md`` for the numbers themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dybit.quant.formats.base import NumberFormat
from dybit.quant.formats.codec import RoundingTable
from dybit.quant.formats.dybit import DyBit
from dybit.quant.formats.esb import ESB
from dybit.quant.formats.flint import Flint
from dybit.quant.formats.integer import Integer
from dybit.quant.formats.minifloat import Minifloat
from dybit.quant.formats.normal_float import NormalFloat
from dybit.quant.formats.posit import Posit
from dybit.quant.formats.power_of_two import PowerOfTwo
from dybit.quant.formats.sign_magnitude import SignMagnitude

__all__ = [
    "ESB",
    "FAMILIES",
    "DyBit",
    "Flint",
    "Integer",
    "Minifloat",
    "NormalFloat",
    "NumberFormat",
    "Posit",
    "PowerOfTwo",
    "RoundingTable",
    "SignMagnitude",
    "format_from_dict",
]

FAMILIES: dict[str, type[NumberFormat]] = {
    family.FAMILY: family
    for family in (DyBit, ESB, Flint, Integer, Minifloat, NormalFloat, Posit, PowerOfTwo)
}
"""Format classes by the name `NumberFormat.to_dict` gives their family."""


def format_from_dict(fields: Mapping[str, Any]) -> NumberFormat:
    """Return the format that `NumberFormat.to_dict` described.

    Raises
    ------
    ValueError
        If the family is unknown, or a parameter is missing, unknown or out of range.
    TypeError
        If a parameter is of the wrong type.
    """
    name = fields.get("family")
    if name not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {name!r}")
    family = FAMILIES[name]
    parameters = {key: value for key, value in fields.items() if key != "family"}
    if set(parameters) != set(family.PARAMETERS):
        expected = ", ".join(family.PARAMETERS)
        given = ", ".join(sorted(parameters)) or "none"
        raise ValueError(f"parameters of {name} must be {expected}, not {given}")
    return family(**parameters)
