"""ESB decoder: an 8-bit word of packed codes to an operand of the array."""

from amaranth import *

from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.esb import is_uniform
from dybit.hw.esb_operand import ESBOperand

__all__ = ["ESBDecoder"]


class ESBDecoder(EdgeDecoder):
    """Decodes one word a cycle: one 8-bit or two 4-bit ESB codes.

    An 8-bit code becomes sign, significand and exponent: in field 0 the significand is the
    fraction, in field n + 1 a hidden one above it with the exponent n. On the grid without a zero
    the significand is the code and a one behind it. 4-bit codes stay codes, with the sign apart.

    Latency and throughput: see `EdgeDecoder`.

    Parameters
    ----------
    spec : ESBOperand
        Formats built, and the form of the operand.

    Members
    -------
    word, width, operand : In, Out
        See `EdgeDecoder`.
    keep : In(8 // min(widths))
        A lane whose bit is 0 gets the value 0, whatever its code; all must be 1 where lanes are
        not `padded`.
    is_signed, exponent_limit : In(1), In(4)
        Not looked at.
    """

    def __init__(self, spec):
        if not isinstance(spec, ESBOperand):
            raise TypeError(f"spec must be an ESBOperand, not {spec!r}")
        super().__init__(spec)

    def decode_wide(self, m):
        fmt = self.spec.format(8)
        code, sign, kept = self.word[:7], self.word[7], self.keep[0]
        if is_uniform(fmt):
            return {"sign": sign, "significand": Mux(kept, Cat(Const(1, 1), code), 0)}
        fraction, field = code[: fmt.k], code[fmt.k :]
        hidden = field.any()
        return {
            "sign": sign,
            "significand": Mux(kept, Cat(fraction, hidden), 0),
            "exponent": Mux(hidden, field - 1, 0),
        }

    def decode_narrow(self, m, bits, k):
        code = self.word.word_select(k, bits)
        magnitude, kept = code[:-1], self.keep[k]
        if self.spec.code_bits(bits) == bits:
            magnitude = Cat(magnitude, kept)
        elif self.spec.padded:
            magnitude = Mux(kept, magnitude, 0)
        return {"sign": code[-1], "magnitude": magnitude}
