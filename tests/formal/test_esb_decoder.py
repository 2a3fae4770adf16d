"""Decoders of ESB give what the definition says, for every word, width and fraction bits."""

from __future__ import annotations

import pytest

from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.esb_decoder import ESBDecoder
from dybit.hw.esb_operand import ESBOperand
from dybit.quant.formats import ESB
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.definitions import esb
from tests.formal.harness import harness
from tests.formal.sat import counterexample, verilog_of

FRACTIONS = [(k4, k8) for k4 in (None, 0, 1, 2) for k8 in (None, 3, 4, 5, 6)][1:]
BUILDS = {
    "activations, linear": {"padded": True, "linear": True},
    "activations, significands": {"padded": True, "linear": False},
    "weights, linear": {"padded": False, "linear": True},
    "weights, significands": {"padded": False, "linear": False},
}


def operands(build: str) -> list[ESBOperand]:
    """Return the operands of every choice of fraction bits, or of one width alone."""
    return [
        ESBOperand(
            tuple(ESB(bits, k) for bits, k in ((4, k4), (8, k8)) if k is not None), **BUILDS[build]
        )
        for k4, k8 in FRACTIONS
    ]


def wrong_word(verilog: str, spec: ESBOperand) -> str | None:
    """Return a word that the design decodes to something else than the definition says."""
    constants = {"PADDED": spec.padded, "LINEAR": spec.linear}
    constants |= {f"HAS_{bits}": bits in spec.widths for bits in (4, 8)}
    definition = esb({fmt.bits: fmt.k for fmt in spec.formats})
    constants["CODE_4"] = spec.code_bits(4) if 4 in spec.widths else 3
    if 8 in spec.widths:
        constants["INTEGER"] = spec.integer_bits
        constants["SIGNIFICAND"] = spec.significand_bits
        constants["EXPONENT"] = spec.exponent_bits
    else:
        constants |= {"INTEGER": 2, "SIGNIFICAND": 1, "EXPONENT": 0}
    text = harness(
        verilog, "decoder", "esb_decoder", constants={name: int(x) for name, x in constants.items()}
    )
    return counterexample(definition, text, cycles=EdgeDecoder.LATENCY + 1)


def decoder_of(spec: ESBOperand) -> str:
    return verilog_of(ESBDecoder(spec), "decoder")


@pytest.mark.prove
@pytest.mark.parametrize("build", BUILDS)
def test_every_code_gives_its_integer(build: str, proved: Proved) -> None:
    for spec in operands(build):
        assert wrong_word(decoder_of(spec), spec) is None, spec
    proved(
        block="ESBDecoder",
        claim=f"{build}: every word, width and keep gives the integers defined",
        method="SAT from any state",
        bound=f"{len(FRACTIONS)} builds: every k of 4 and of 8 bits, together and alone",
    )


BUGS = {
    "hidden one in the binade of 0": Bug(
        ESBDecoder, "decode_wide", "hidden = field.any()", "hidden = Const(1, 1)"
    ),
    "exponents one too high": Bug(
        ESBDecoder, "decode_wide", "Mux(hidden, field - 1, 0)", "Mux(hidden, field, 0)"
    ),
    "a grid without a zero, without its half": Bug(
        ESBDecoder, "decode_wide", "Cat(Const(1, 1), code)", "Cat(Const(0, 1), code)"
    ),
    "narrow lanes that cannot be kept out": Bug(
        ESBDecoder, "decode_narrow", "self.keep[k]", "Const(1, 1)"
    ),
}


@pytest.mark.parametrize("bug", cases(BUGS, "exponents one too high"))
def test_proof_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug].seed(monkeypatch)
    k8 = 6 if "without a zero" in bug else 4
    spec = ESBOperand((ESB(4, 2), ESB(8, k8)))
    assert wrong_word(decoder_of(spec), spec) is not None


def test_one_build_is_proved_at_once() -> None:
    spec = ESBOperand((ESB(4, 2), ESB(8, 4)))
    assert wrong_word(decoder_of(spec), spec) is None
