"""The run-time description of the codes an encoder produces."""

from amaranth.lib import data

from dybit.hw.width import Width

__all__ = ["CODE_BITS", "OutputFormat"]

CODE_BITS = 8
"""Width of the port a code leaves on; a narrower code sits in its least significant bits."""


class OutputFormat(data.Struct):
    """A member of the DyBit family and what is done to a result before it is stored in it.

    Members
    -------
    width : Width
        Width of the code, sign included.
    signed : 1
        Whether the top bit of the code is a sign. Without it negative results become 0.
    exponent_limit : 4
        Longest run of leading ones that counts as exponent: 1 to N, where N is the number of
        magnitude bits (the width, less one when signed). Anything above N acts as N; 0 is not
        allowed.
    relu : 1
        Negative results become 0 although the format is signed.
    max_code : 8
        Largest magnitude code that may be produced, which is how ReLU6 is done. Anything from
        2^N - 1 up leaves the whole format in use.
    """

    width: Width
    signed: 1
    exponent_limit: 4
    relu: 1
    max_code: CODE_BITS
