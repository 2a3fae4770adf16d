"""What decoders of all number systems share: ports, stages, and the form of an 8-bit lane."""

from abc import abstractmethod

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.width import Width

__all__ = ["EdgeDecoder"]


class EdgeDecoder(wiring.Component):
    """Decodes one word of packed codes a cycle, in two stages.

    The first finds sign, significand and exponent of an 8-bit code, and the lane codes of narrow
    ones. The second gives an 8-bit lane the form that the multiplier takes: see `OperandLayout`.

    Latency: ``LATENCY`` cycles. Throughput: one word a cycle. No stalls.

    Parameters
    ----------
    spec : OperandLayout
        The lanes built.

    Members
    -------
    word : In(8)
        Packed codes, lane 0 in the least significant bits.
    keep : In(8 // min(widths))
        A lane whose bit is 0 gets the value 0, whatever its code.
    width : In(Width)
        Width of the lanes; must be one of those built.
    is_signed : In(1)
        The codes have a sign bit.
    exponent_limit : In(4)
        Limit on the exponent field.
    operand : Out(spec.layout())
    """

    LATENCY = 2

    def __init__(self, spec):
        self.spec = spec
        super().__init__(
            {
                "word": In(8),
                "keep": In(8 // spec.widths[0]),
                "width": In(Width),
                "is_signed": In(1),
                "exponent_limit": In(4),
                "operand": Out(spec.layout()),
            }
        )

    @abstractmethod
    def decode_wide(self, m):
        """Return the fields of the 8-bit lane: `sign`, `significand` and `exponent`."""

    @abstractmethod
    def decode_narrow(self, m, bits, k):
        """Return the fields of lane `k` of the 4- or 2-bit lanes: `sign` and `magnitude`."""

    def elaborate(self, platform):
        m = Module()
        spec = self.spec

        # Cycle 0: find out what the codes are.
        found = Signal(spec.found_layout(), reset_less=True)
        width = Signal(Width, reset_less=True)
        m.d.sync += [width.eq(self.width), found.as_value().eq(0)]
        lanes = {
            bits: [
                self.decode_wide(m) if bits == 8 else self.decode_narrow(m, bits, k)
                for k in range(8 // bits)
            ]
            for bits in spec.widths
        }
        with m.Switch(self.width):
            for bits in spec.widths:
                with m.Default() if bits == spec.widths[-1] else m.Case(Width.of(bits)):
                    for k, fields in enumerate(lanes[bits]):
                        lane = found[f"w{bits}"][k]
                        m.d.sync += [getattr(lane, name).eq(fields[name]) for name in fields]

        # Cycle 1: give an 8-bit lane the form that the multiplier takes.
        operand = Signal(self.operand.shape(), reset_less=True)
        m.d.comb += self.operand.eq(operand)
        m.d.sync += operand.as_value().eq(found.as_value())
        if 8 in spec.widths:
            with m.If((width == Width.BITS_8) if len(spec.widths) > 1 else 1):
                m.d.sync += operand.as_value().eq(self._finish_wide(m, found.w8[0]))

        return m

    def _finish_wide(self, m, lane):
        """Return the 8-bit lane of the operand."""
        if self.spec.linear:
            shifted = Signal(self.operand.w8[0].integer.shape(), name="shifted")
            m.d.comb += shifted.eq(lane.significand << lane.exponent)
            flip = lane.sign.replicate(len(shifted))
            # With the sign once more as the carry in.
            return (shifted ^ flip) + lane.sign
        tripled = Signal(len(lane.significand) + 2, name="tripled")
        m.d.comb += tripled.eq(lane.significand + (lane.significand << 1))
        return Cat(lane.sign, lane.significand, tripled, lane.exponent)
