"""The decoder of an operand, by its number system."""

from dybit.hw.esb_decoder import ESBDecoder
from dybit.hw.esb_operand import ESBOperand
from dybit.hw.mp_decoder import MPDecoder

__all__ = ["decoder_of"]


def decoder_of(spec):
    """Return a decoder that makes the operand `spec`."""
    return ESBDecoder(spec) if isinstance(spec, ESBOperand) else MPDecoder(spec)
