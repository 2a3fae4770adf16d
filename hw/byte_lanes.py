"""What the buffers of both DMAs share: their depth, and bytes moved to other lanes of the bus."""

from amaranth import *

from dybit.hw.axi import BURST_BEATS, BUS_BYTES

__all__ = ["QUEUE_DEPTH", "alignment_bits", "buffer_depth", "lanes_below", "rotate_right"]

QUEUE_DEPTH = 33
"""Bursts that a queue holds: 32 in a memory, a number that needs no wrapping, and one in front."""

_DIGIT_BITS = 2
"""A digit of the distance selects one of four: a LUT a bit."""


def alignment_bits(alignment):
    """Return log2 of an alignment, or raise ValueError when it is none up to a beat."""
    allowed = [1 << bits for bits in range(BUS_BYTES.bit_length())]
    if alignment not in allowed:
        raise ValueError(
            f"alignment must be one of {', '.join(map(str, allowed))}, not {alignment!r}"
        )
    return allowed.index(alignment)


def buffer_depth(depth):
    """Return the depth of a buffer, or raise ValueError when it is none."""
    if not isinstance(depth, int) or depth < 2 * BURST_BEATS or depth & depth - 1:
        raise ValueError(f"depth must be a power of two, at least {2 * BURST_BEATS}, not {depth!r}")
    return depth


def lanes_below(position):
    """Return for each byte of a beat whether it lies below `position`."""
    top = BUS_BYTES - 1  # below no position
    return Cat(*(position > lane for lane in range(top)), Const(0, 1))


def rotate_right(m, word, count, name, step=1):
    """Return `word` rotated to the right by ``step * count`` bytes, the lowest byte to the top.

    Parameters
    ----------
    m : Module
        Gets the multiplexers.
    word : Value
        A power of two of bytes.
    count : Value
        As many bits as it takes to get all the way round.
    name : str
        Prefix of signals.
    step : int
    """
    for low in range(0, len(count), _DIGIT_BITS):
        rotated = Signal(len(word), name=f"{name}_{low}")
        m.d.comb += rotated.eq(_rotated(word, count[low : low + _DIGIT_BITS], step << low))
        word = rotated
    return word


def _rotated(word, digit, step):
    if len(digit) == 0:
        return word
    far = word.rotate_right(8 * step << len(digit) - 1)
    return Mux(digit[-1], _rotated(far, digit[:-1], step), _rotated(word, digit[:-1], step))
