# amaranth: UnusedElaboratable=no
"""The ESB decoder: every code of every format, kept and not, in every form of the operand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.esb_decoder import ESBDecoder
from dybit.hw.esb_operand import ESBOperand
from dybit.quant.formats import ESB
from tests.hw.esb_decoder_vectors import run

SPECS = {
    **{f"4k{k}": ESBOperand((ESB(4, k),)) for k in range(3)},
    "4k2-weights": ESBOperand((ESB(4, 2),), padded=False),
    **{
        f"8k{k}-{'linear' if linear else 'floating'}": ESBOperand((ESB(8, k),), linear=linear)
        for k in range(3, 7)
        for linear in (True, False)
    },
    "both-linear": ESBOperand((ESB(4, 2), ESB(8, 4))),
    "both-floating": ESBOperand((ESB(4, 1), ESB(8, 3)), linear=False),
}

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("name", SPECS)
def test_in_amaranth(name: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(SPECS[name], "amaranth", tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("name", ["both-linear", "both-floating"])
def test_in_cocotb(
    name: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(SPECS[name], simulator, tmp_path, vectors)


def test_refuses_what_is_no_operand() -> None:
    with pytest.raises(TypeError, match="spec must be an ESBOperand, not 8"):
        ESBDecoder(8)
