"""Signed DyBit-n has the values of the posit (n, es = 0): SoftPosit decodes them for us."""

import numpy as np
import pytest
import softposit

from dybit.quant.formats import DyBit

NOT_A_REAL = 0x80


@pytest.mark.parametrize("bits", range(2, 9))
def test_value_set_is_that_of_the_posit(bits):
    # A posit of fewer bits is the longer one with zeros appended.
    posits = []
    for code in range(0, 256, 2 ** (8 - bits)):
        if code != NOT_A_REAL:
            posit = softposit.posit8()
            posit.fromBits(code)
            posits.append(float(posit))
    assert len(posits) == 2**bits - 1
    np.testing.assert_array_equal(DyBit(bits).values, sorted(posits))
