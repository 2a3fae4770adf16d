"""Posits against SoftPosit, which also decodes the values of signed DyBit-n, posit (n, es = 0)."""

import numpy as np
import pytest
import softposit

from dybit.quant.formats import DyBit, Posit

# Types of SoftPosit by es, and their width: a posit of fewer bits is the longer one with zeros
# appended.
TYPES = {0: (softposit.posit8, 8), 1: (softposit.posit16, 16), 2: (softposit.posit32, 32)}


def decoded(bits, es):
    """Return {code: value} of every posit but NaR."""
    make, width = TYPES[es]
    values = {}
    for code in range(2**bits):
        if code != 2 ** (bits - 1):
            posit = make()
            posit.fromBits(code << (width - bits))
            values[code] = float(posit)
    return values


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("es", TYPES)
def test_every_code_decodes_as_in_softposit(bits, es):
    expected = decoded(bits, es)
    assert Posit(bits, es).decode(list(expected)).tolist() == list(expected.values())


@pytest.mark.parametrize("bits", range(2, 9))
def test_value_set_of_dybit_is_that_of_the_posit(bits):
    expected = sorted(decoded(bits, 0).values())
    assert len(expected) == 2**bits - 1
    np.testing.assert_array_equal(DyBit(bits).values, expected)
