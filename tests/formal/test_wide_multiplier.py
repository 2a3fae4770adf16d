"""The multiplier of 8-bit lanes in LUTs multiplies, for all significands and exponents."""

from __future__ import annotations

import pytest

from dybit.hw.wide_multiplier import FloatingMultiplier
from tests.formal.bugs import Bug
from tests.formal.conftest import Proved
from tests.formal.harness import harness
from tests.formal.sat import counterexample, verilog_of

BUILDS = {
    # Bits of the significands, of the exponents, largest sum of these, largest product.
    "DyBit, any by signed": (8, 7, 4, 3, 15, 2**14 * 2**12),
    "DyBit, signed by signed": (7, 7, 3, 3, 14, 2**12 * 2**12),
    "ESB, 3 fraction bits": (4, 4, 4, 4, 28, (15 << 14) ** 2),
    "ESB, 6 fraction bits": (8, 8, 0, 0, 0, 255**2),
}


def wrong_product(build: str, significands: bool) -> str | None:
    """Return operands whose significands, or else exponents, give a wrong product."""
    a_bits, b_bits, a_exponent, b_exponent, max_exponent, largest = BUILDS[build]
    verilog = verilog_of(FloatingMultiplier(*BUILDS[build]), "multiplier")
    constants = {
        "SIGNIFICANDS": int(significands),
        "A_BITS": a_bits,
        "B_BITS": b_bits,
        "A_EXPONENT": a_exponent,
        "B_EXPONENT": b_exponent,
        "MAX_EXPONENT": max_exponent,
        "LARGEST": f"64'd{largest}",
    }
    text = harness(
        verilog, "multiplier", "floating_product", inside=["significand"], constants=constants
    )
    return counterexample(text, cycles=FloatingMultiplier.LATENCY + 1)


@pytest.mark.prove
def test_product(proved: Proved) -> None:
    for build in BUILDS:
        assert wrong_product(build, significands=True) is None, build
        assert wrong_product(build, significands=False) is None, build
    proved(
        block="FloatingMultiplier",
        claim="the product is that of the significands, shifted by the sum of the exponents",
        method="SAT from any state, significands and exponents apart",
        bound=f"{len(BUILDS)} builds: DyBit and ESB; products up to the largest",
    )


BUGS = {
    "three times is twice": (
        "_partial_product",
        "a.significand << 1, a.tripled",
        "a.significand << 1, a.significand << 1",
    ),
    "carry between pairs lost": ("elaborate", "low + (high << 2)", "low | (high << 2)"),
    "exponents a cycle early": ("elaborate", "shift.eq(exponent)", "shift.eq(self.a.exponent)"),
}


@pytest.mark.prove
@pytest.mark.parametrize("bug", BUGS)
def test_proof_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(FloatingMultiplier, *BUGS[bug]).seed(monkeypatch)
    significands = "exponents" not in bug
    assert wrong_product("DyBit, any by signed", significands) is not None
