"""ESB as the hardware reads its definition, against tables typed by hand and the oracle."""

from __future__ import annotations

import pytest

from dybit.hw.esb import esb_magnitude_integer, integer_bits, is_uniform
from dybit.quant.formats import ESB
from tests.oracles import ESB_4_BITS, esb_magnitude


@pytest.mark.parametrize("k", ESB_4_BITS)
def test_4_bits(k: int) -> None:
    assert tuple(esb_magnitude_integer(code, 4, k) for code in range(8)) == ESB_4_BITS[k]
    assert tuple(esb_magnitude(code, 4, k) for code in range(8)) == ESB_4_BITS[k]


@pytest.mark.parametrize("k", range(3, 7))
def test_8_bits(k: int) -> None:
    integers = [esb_magnitude_integer(code, 8, k) for code in range(128)]
    assert integers == [esb_magnitude(code, 8, k) for code in range(128)]
    largest = {3: 15 << 14, 4: 31 << 6, 5: 63 << 2, 6: 255}[k]
    assert integers[-1] == largest
    assert integer_bits(ESB(8, k)) == largest.bit_length()


def test_the_uniform_grids_are_those_without_a_zero() -> None:
    formats = [*(ESB(4, k) for k in range(3)), *(ESB(8, k) for k in range(3, 7))]
    uniform = [fmt.name for fmt in formats if is_uniform(fmt)]
    assert uniform == ["esb4k2", "esb8k6"]
    assert uniform == [f.name for f in formats if esb_magnitude_integer(0, f.bits, f.k) != 0]
