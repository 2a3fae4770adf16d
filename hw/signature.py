"""A signature of a sequence of words: a register with many inputs and linear feedback."""

from functools import reduce
from operator import xor

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Signature"]

_BITS = 32
_POLYNOMIAL = 0x04C11DB7
"""CRC-32's (IEEE 802.3), which is primitive."""

_ROTATION = 7
_AT_A_TIME = 6
"""Inputs of an exclusive or between registers: those of a LUT."""


class Signature(wiring.Component):
    """Folds words into 32 bits (a multiple-input signature register, MISR).

    A word is cut into parts of 32 bits, part i is rotated left by 7 i, so that one mistake in
    every part does not cancel, and their exclusive or is added to the register, which steps as
    that of CRC-32 does: left by one place, and by the polynomial where a one falls off. All of
    this is linear: one wrong bit, whatever it is and wherever, changes the signature.

    Latency: `latency` cycles from a word to `value`. Throughput: one word a cycle.

    Parameters
    ----------
    bits : int
        Of a word.

    Members
    -------
    clear : In(1)
        The register starts at 0 again; words on their way are forgotten.
    valid : In(1)
    word : In(bits)
    value : Out(32)
    """

    def __init__(self, bits):
        if bits < 1:
            raise ValueError(f"bits must be at least 1, not {bits!r}")
        super().__init__({"clear": In(1), "valid": In(1), "word": In(bits), "value": Out(_BITS)})

    @property
    def latency(self):
        """Cycles from a word to `value`: a register for each level of exclusive ors, and two."""
        count, levels = -(-len(self.word) // _BITS), 0
        while count > 1:
            count, levels = -(-count // _AT_A_TIME), levels + 1
        return levels + 2

    def elaborate(self, platform):
        m = Module()
        valid = Signal(self.latency - 1)
        m.d.sync += valid.eq(Mux(self.clear, 0, Cat(self.valid, valid)))

        word = Signal.like(self.word, reset_less=True)
        m.d.sync += word.eq(self.word)
        parts: list[Value] = [
            Cat(word[_BITS * index :][:_BITS], C(0, _BITS))[:_BITS].rotate_left(_ROTATION * index)
            for index in range(-(-len(word) // _BITS))
        ]
        level = 0
        while len(parts) > 1:
            sums: list[Value] = []
            for index in range(0, len(parts), _AT_A_TIME):
                part = Signal(_BITS, name=f"fold_{level}_{index // _AT_A_TIME}", reset_less=True)
                m.d.sync += part.eq(reduce(xor, parts[index : index + _AT_A_TIME]))
                sums.append(part)
            parts, level = sums, level + 1

        with m.If(self.clear):
            m.d.sync += self.value.eq(0)
        with m.Elif(valid[-1]):
            feedback = Mux(self.value[-1], _POLYNOMIAL, 0)
            m.d.sync += self.value.eq(self.value << 1 ^ feedback ^ parts[0])
        return m
