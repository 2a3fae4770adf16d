"""A lane as a number that a multiplier of 8-bit lanes takes, whatever the lane's width."""

from amaranth import *

__all__ = ["lane_number"]


def lane_number(m, name, lane, bits, spec, largest):
    """Return the fields of an 8-bit lane, or those that a narrow lane has in its place.

    Parameters
    ----------
    m : Module
        Gets the table of a narrow lane.
    name : str
        Of the signal that the table drives.
    lane : View
        Lane of an operand.
    bits : int
        Its width.
    spec : OperandLayout
        The operand.
    largest : int
        Largest integer in use: lane codes of larger ones do not occur.

    Returns
    -------
    dict of str to Value
        `integer` where the operand is linear, else `sign`, `significand`, `tripled`, `exponent`.
    """
    if bits == 8:
        return {field: getattr(lane, field) for field in lane.shape().members}
    table = spec.lane_integers(bits)
    integer = Signal(range(largest + 1), name=f"{name}_integer")
    with m.Switch(lane.magnitude):
        for code, value in enumerate(table):
            with m.Case(code):
                m.d.comb += integer.eq(value)
    if spec.linear:
        return {"integer": Mux(lane.sign, -integer, integer)}
    tripled = (integer + (integer << 1))[: len(integer) + 2]
    return {
        "sign": lane.sign,
        "significand": integer,
        "tripled": tripled,
        "exponent": Const(0, 1),
    }
