"""Decodes single codes of any width to numbers that one multiplier takes."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.decoders import decoder_of
from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.lane_number import lane_number
from dybit.hw.pipeline import delay
from dybit.hw.width import Width

__all__ = ["NumberDecoder", "number_layout"]


def number_layout(spec, largest):
    """Return the layout of a number: `integer`, or `sign`, `significand` and `exponent`.

    Parameters
    ----------
    spec : OperandLayout
        Codes decoded; linear ones become integers.
    largest : dict of int to int
        Largest integer of each width.
    """
    bits = max(largest[width].bit_length() for width in spec.widths)
    if spec.linear:
        wide = spec.integer_bits if 8 in spec.widths else 0
        return data.StructLayout({"integer": signed(max(wide, bits + 1))})
    if 8 not in spec.widths:
        return data.StructLayout({"sign": 1, "significand": bits, "exponent": 0})
    narrow = [largest[width].bit_length() for width in spec.widths if width < 8]
    return data.StructLayout(
        {
            "sign": 1,
            "significand": max([spec.significand_bits, *narrow]),
            "exponent": spec.exponent_bits,
        }
    )


class NumberDecoder(wiring.Component):
    """Decodes one code a cycle, whatever its width, as the edge of the array does.

    Latency: ``LATENCY`` cycles; what comes after the last register is a table for narrow codes
    and a choice between widths. Throughput: one code a cycle. No stalls.

    Parameters
    ----------
    spec : OperandLayout
        Codes built.
    largest : dict of int to int
        Largest integer of each width in use.

    Members
    -------
    code : In(8)
        A narrow code in the low bits; what is above it does not matter.
    keep : In(1)
        0 makes the number 0, whatever the code.
    width, is_signed, exponent_limit : In
        See `EdgeDecoder`.
    number : Out(number_layout(spec, largest))
    """

    LATENCY = EdgeDecoder.LATENCY

    def __init__(self, spec, largest):
        self.spec = spec
        self.largest = dict(largest)
        super().__init__(
            {
                "code": In(8),
                "keep": In(1),
                "width": In(Width),
                "is_signed": In(1),
                "exponent_limit": In(4),
                "number": Out(number_layout(spec, largest)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = decoder_of(self.spec)
        m.d.comb += [
            decoder.word.eq(self.code),
            decoder.keep.eq(self.keep.replicate(len(decoder.keep))),
            decoder.width.eq(self.width),
            decoder.is_signed.eq(self.is_signed),
            decoder.exponent_limit.eq(self.exponent_limit),
        ]
        numbers = {}
        for bits in self.spec.widths:
            lane = getattr(decoder.operand, f"w{bits}")[0]
            numbers[bits] = lane_number(m, f"w{bits}", lane, bits, self.spec, self.largest[bits])
        with m.Switch(delay(m, self.width, self.LATENCY, "width")):
            for bits, fields in numbers.items():
                last = bits == self.spec.widths[-1]
                with m.Default() if last else m.Case(Width.of(bits)):
                    for name in self.number.shape().members:
                        m.d.comb += self.number[name].eq(fields[name])
        return m
