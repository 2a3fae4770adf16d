"""What ESB codes become at the edge of the array: the counterpart of `hw.operand.Operand`."""

from dataclasses import dataclass

from dybit.hw.esb import esb_magnitude_integer, integer_bits, is_uniform
from dybit.hw.operand_layout import OperandLayout
from dybit.quant.formats import ESB

__all__ = ["ESBOperand"]


@dataclass(frozen=True)
class ESBOperand(OperandLayout):
    """What an `ESBDecoder` makes of a word, and a multiplier takes.

    Parameters
    ----------
    formats : tuple of dybit.quant.formats.ESB
        One for each width built, of 4 and 8 bits, the narrow one first.
    padded : bool
        Lanes may be kept out, which counts as the value 0: on a grid without a zero a 4-bit lane
        code then has a bit more, on top, which is 0 for that and else 1.
    linear : bool
        An 8-bit lane is an integer rather than significand and exponent.
    """

    formats: tuple[ESB, ...]
    padded: bool = True
    linear: bool = True

    @property
    def widths(self):
        return tuple(fmt.bits for fmt in self.formats)

    def format(self, bits):
        """Return the format of lanes of `bits`."""
        (fmt,) = (fmt for fmt in self.formats if fmt.bits == bits)
        return fmt

    def code_bits(self, bits):
        return bits - 1 + (self.padded and is_uniform(self.format(bits)))

    def lane_integers(self, bits):
        k = self.format(bits).k
        present = [esb_magnitude_integer(code, bits, k) for code in range(1 << bits - 1)]
        return [0] * ((1 << self.code_bits(bits)) - len(present)) + present

    @property
    def significand_bits(self):
        # A hidden one and the fraction; on the grid without a zero the whole integer.
        fmt = self.format(8)
        return integer_bits(fmt) if is_uniform(fmt) else fmt.k + 1

    @property
    def max_exponent(self):
        fmt = self.format(8)
        return 0 if is_uniform(fmt) else (1 << 7 - fmt.k) - 2

    @property
    def integer_bits(self):
        return integer_bits(self.format(8)) + 1
