# amaranth: UnusedElaboratable=no
"""The decoder: every code of every width, signedness and exponent limit, kept and not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Operand, Signedness
from tests.hw.mp_decoder_vectors import run

S, U, B = Signedness.SIGNED, Signedness.UNSIGNED, Signedness.BOTH
BUILDS = {
    "all-both": Operand((2, 4, 8), B),
    "all-signed": Operand((2, 4, 8), S, 3),
    "all-unsigned": Operand((2, 4, 8), U),
    "floating-both": Operand((2, 4, 8), B, linear=False),
    "floating-signed": Operand((4, 8), S, linear=False),
    "narrow-r3": Operand((2, 4), B, 3),
    "narrow-r2": Operand((2, 4), B, 2),
    "narrow-r1": Operand((2, 4), B, 1),
    "signed-r2": Operand((4,), S, 2),
    "wide": Operand((8,), B),
    "run-time-both": Operand((2, 4, 8), B, run_time_limits=(1, 2, 3)),
    "run-time-signed": Operand((4,), S, run_time_limits=(2, 3)),
}

pytestmark = pytest.mark.rtl


@pytest.mark.parametrize("build", BUILDS)
def test_in_amaranth(build: str, tmp_path: Path, vectors: Callable[[str, int], None]) -> None:
    run(BUILDS[build], "amaranth", tmp_path, vectors)


@pytest.mark.cocotb
@pytest.mark.parametrize("build", ["all-both", "floating-signed", "run-time-both"])
def test_in_cocotb(
    build: str, simulator: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    run(BUILDS[build], simulator, tmp_path, vectors)


@pytest.mark.parametrize("widths", [(), (3,), (2, 16)])
def test_refuses_widths(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="widths must be one or more of 2, 4 and 8, not"):
        Operand(widths, Signedness.BOTH)


def test_refuses_signedness() -> None:
    with pytest.raises(TypeError, match="signedness must be a Signedness, not 'both'"):
        Operand((8,), "both")


@pytest.mark.parametrize("limit", [0, 5])
def test_refuses_limit(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit must be 1 to 4, not {limit}"):
        Operand((4,), Signedness.BOTH, limit)


def test_refuses_specs() -> None:
    with pytest.raises(TypeError, match="spec must be an Operand, not 8"):
        MPDecoder(8)
