"""Words of signed lanes: one adder whose carries stop where the mode's lanes end."""

from amaranth import *

__all__ = ["add_lanes", "extend_lanes", "lane_starts"]


def lane_starts(array, bits, mode):
    """Return where the lanes of a `bits`-bit word start, as `add_lanes` wants it.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
        Its modes decide the lanes: 8/w of them, equally wide.
    bits : int
        Width of the word; a multiple of ``array.max_lanes``.
    mode : Value
        Index into ``array.modes``.

    Returns
    -------
    dict of int to Value
        For each bit position at which a lane other than the first starts in some mode, 1 if it
        does so in `mode`.
    """
    starts = {}
    for position in range(bits // array.max_lanes, bits, bits // array.max_lanes):
        modes = [
            index
            for index, built in enumerate(array.modes)
            if position % (bits // built.lanes) == 0
        ]
        if modes:
            always = len(modes) == len(array.modes)
            starts[position] = Const(1) if always else mode.matches(*modes)
    return starts


def add_lanes(m, a, b, starts):
    """Return ``a + b``, lane by lane, modulo each lane's width.

    A guard bit is inserted at every boundary that any mode uses. It passes the carry on as
    1 + 0 and stops it as 0 + 0, so one carry chain serves every mode.

    Parameters
    ----------
    m : Module
        Gets the adder.
    a, b : Value
        Words of equal width.
    starts : dict of int to Value
        The result of `lane_starts`.
    """
    width = len(a)
    extended_a, extended_b, kept = [], [], []
    start = position = 0
    for boundary in [*sorted(starts), width]:
        extended_a.append(a[start:boundary])
        extended_b.append(b[start:boundary])
        kept.append((position, boundary - start))
        position += boundary - start
        if boundary != width:
            extended_a.append(~starts[boundary])
            extended_b.append(Const(0, 1))
            position += 1
        start = boundary
    total = Signal(position, name="lanes_total")
    m.d.comb += total.eq(Cat(extended_a) + Cat(extended_b))
    return Cat(total[at : at + size] for at, size in kept)


def extend_lanes(word, lanes, lane_bits, bits):
    """Return `lanes` signed lanes of `lane_bits` each, sign-extended to fill a `bits`-bit word."""
    extended = []
    for lane in range(lanes):
        source = word[lane * lane_bits : (lane + 1) * lane_bits]
        extended += [source, source[-1].replicate(bits // lanes - lane_bits)]
    return Cat(extended)
