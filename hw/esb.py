"""ESB, elastic significant bits: the integers of its codes, written from the definition.

Design section "Numbers" and ``docs/format.md``: a sign, an exponent field of e = bits - 1 - k bits
and k fraction bits, 1 <= e <= 4. Integers are values in units of ``2^-k``, or of 1/2 where e = 1.
"""

__all__ = ["esb_magnitude_integer", "integer_bits", "is_uniform"]


def is_uniform(fmt):
    """Return whether the exponent field of `fmt` has one bit: the uniform grid without a zero."""
    return fmt.bits - 1 - fmt.k == 1


def esb_magnitude_integer(code, bits, k):
    """Return the integer of an ESB magnitude code.

    Parameters
    ----------
    code : int
        Exponent field above fraction, ``0 <= code < 2**(bits - 1)``.
    bits, k : int
        Width of a code, sign included, and its fraction bits.
    """
    if bits - 1 - k == 1:
        return 2 * code + 1
    field, fraction = code >> k, code & ((1 << k) - 1)
    # Field 0 has no hidden one and the step of field 1.
    return fraction if field == 0 else ((1 << k) + fraction) << (field - 1)


def integer_bits(fmt):
    """Return the bits of the largest magnitude of `fmt`."""
    return esb_magnitude_integer((1 << fmt.bits - 1) - 1, fmt.bits, fmt.k).bit_length()
