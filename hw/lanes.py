"""Words of signed lanes: one adder whose carries stop where the mode's lanes end."""

from itertools import pairwise

from amaranth import *

__all__ = ["add", "add_lanes", "extend_lanes", "lane_starts"]


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
        For each bit position at which a lane starts in some mode, 1 if it does so in `mode`.
    """
    starts = {}
    for position in range(0, bits, bits // array.max_lanes):
        modes = [
            index
            for index, built in enumerate(array.modes)
            if position % (bits // built.lanes) == 0
        ]
        always = len(modes) == len(array.modes)
        starts[position] = Const(1) if always else mode.matches(*modes)
    return starts


def add_lanes(m, a, b, starts, carries=None):
    """Return ``a + b``, lane by lane, modulo each lane's width.

    A guard bit is inserted at every boundary that any mode uses. It passes the carry on as
    0 + 1, stops it as 0 + 0 and starts one as 1 + 1, so one carry chain serves every mode.

    Parameters
    ----------
    m : Module
        Gets the adder.
    a, b : Value
        Words of equal width.
    starts : dict of int to Value
        The result of `lane_starts`.
    carries : Value, optional
        Carries into the lanes, in the order of `starts`; 0 where no lane starts.
    """
    boundaries = sorted(starts)
    extended_a, extended_b, kept = [], [], []
    position = 0
    for index, (start, end) in enumerate(pairwise([*boundaries, len(a)])):
        if start:
            carry = Const(0, 1) if carries is None else carries[index]
            extended_a.append(carry)
            extended_b.append(carry ^ ~starts[start])
            position += 1
        extended_a.append(a[start:end])
        extended_b.append(b[start:end])
        kept.append((position, end - start))
        position += end - start
    total = Signal(position, name="lanes_total")
    a, b = Cat(extended_a), Cat(extended_b)
    m.d.comb += total.eq(a + b if carries is None else add(a, b, carries[0]))
    return Cat(total[at : at + size] for at, size in kept)


def add(a, b, carry):
    """Return ``a + b + carry`` modulo the width of `a`, at a LUT a bit even if `b` is logic.

    An FPGA's carry chain takes `a` as it is and ``a ^ b`` from LUTs, which have room for the logic
    of `b`. Synthesis may swap the operands of an addition, and `b` then needs LUTs of its own;
    those of a subtraction it leaves alone.
    """
    return (Cat(Const(0, 1), a) - Cat(~carry, ~b))[1 : len(a) + 1]


def extend_lanes(word, lanes, lane_bits, bits):
    """Return `lanes` signed lanes of `lane_bits` each, sign-extended to fill a `bits`-bit word.

    Where the word has less room for a lane, its number must fit what there is: the rest is cut.
    """
    extended, size = [], bits // lanes
    for lane in range(lanes):
        source = word[lane * lane_bits : (lane + 1) * lane_bits]
        extended += [source[:size], source[-1].replicate(max(0, size - lane_bits))]
    return Cat(extended)
