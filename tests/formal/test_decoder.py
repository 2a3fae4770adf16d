"""Decoders give what the definition says, for every word, width, signedness and limit built."""

from __future__ import annotations

import pytest

from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Operand, Signedness
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.definitions import DYBIT
from tests.formal.harness import harness
from tests.formal.sat import counterexample, verilog_of

ALL = (2, 4, 8)
SIGNED, UNSIGNED, BOTH = Signedness.SIGNED, Signedness.UNSIGNED, Signedness.BOTH

BUILDS = {
    "signed or unsigned": [Operand(ALL, BOTH), Operand(ALL, BOTH, linear=False)],
    "signed": [Operand(ALL, SIGNED), Operand(ALL, SIGNED, linear=False)],
    "unsigned": [Operand(ALL, UNSIGNED), Operand(ALL, UNSIGNED, linear=False)],
    "one width or two": [
        *(Operand(widths, BOTH) for widths in ((2,), (4,), (8,), (2, 4), (2, 8), (4, 8))),
        Operand((4,), SIGNED),
        Operand((2, 4), UNSIGNED),
    ],
    "4-bit lanes of exponent limits 1 to 3": [
        Operand((4, 8), signedness, limit)
        for signedness in (SIGNED, UNSIGNED, BOTH)
        for limit in (1, 2, 3)
    ],
    "4-bit lanes that choose their limit": [
        Operand(ALL, SIGNED, run_time_limits=(2, 3)),
        Operand(ALL, SIGNED, run_time_limits=(1, 2, 3)),
        Operand(ALL, BOTH, run_time_limits=(2, 3), linear=False),
    ],
}


def decoder_of(spec: Operand) -> str:
    return verilog_of(MPDecoder(spec), "decoder")


def wrong_word(verilog: str, spec: Operand) -> str | None:
    """Return a word that the design decodes to something else than the definition says."""
    constants = {
        **{f"HAS_{bits}": bits in spec.widths for bits in ALL},
        "SIGNED": spec.signedness is SIGNED,
        "UNSIGNED": spec.signedness is UNSIGNED,
        "LINEAR": spec.linear,
        "INTEGER": spec.integer_bits,
        "SIGNIFICAND": spec.significand_bits,
        "EXPONENT": spec.exponent_bits,
        "CODE_4": spec.code_bits(4),
        "CODE_2": spec.code_bits(2),
        "LIMIT": spec.limit,
        "RUN_TIME": bool(spec.run_time_limits),
        "LIMITS": sum(1 << limit for limit in spec.run_time_limits),
    }
    text = harness(
        verilog, "decoder", "decoder", constants={name: int(x) for name, x in constants.items()}
    )
    return counterexample(DYBIT, text, cycles=EdgeDecoder.LATENCY + 1)


@pytest.mark.parametrize("build", cases(BUILDS, "signed or unsigned"))
def test_every_code_gives_its_integer(build: str, proved: Proved) -> None:
    for spec in BUILDS[build]:
        assert wrong_word(decoder_of(spec), spec) is None, spec
    proved(
        block="MPDecoder",
        claim=f"{build}: every word, width, sign, limit and keep gives the integers defined",
        method="SAT from any state",
        bound=f"{len(BUILDS[build])} builds, of the lane widths 2, 4 and 8",
    )


BUGS = {
    "no code has 8 leading ones": Bug(MPDecoder, "decode_wide", "range(2, 9)", "range(2, 8)"),
    "limit one too low": Bug(
        MPDecoder, "decode_wide", "(self.exponent_limit >= ones)", "(self.exponent_limit > ones)"
    ),
    "the limit's own run has a zero behind it": Bug(
        MPDecoder, "decode_wide", "magnitude << (ones - 2)", "magnitude << (ones - 1)"
    ),
    "unsigned codes with a sign": Bug(
        MPDecoder, "decode_wide", '"sign": is_signed & self.word[-1]', '"sign": self.word[-1]'
    ),
    "negation without its carry": Bug(
        EdgeDecoder, "_finish_wide", "(shifted ^ flip) + lane.sign", "(shifted ^ flip)"
    ),
    "lanes kept as lane 0 is": Bug(MPDecoder, "decode_narrow", "self.keep[k]", "self.keep[0]"),
    "sign among the magnitude's bits": Bug(
        MPDecoder, "decode_narrow", "code[:-1], bits - 1", "code[1:], bits - 1"
    ),
    "not three times the significand": Bug(
        EdgeDecoder,
        "_finish_wide",
        "lane.significand + (lane.significand << 1)",
        "lane.significand",
    ),
    "another limit at run time": Bug(
        MPDecoder, "decode_narrow", "m.Case(limit)", "m.Case(limit + 1)"
    ),
    "a width a cycle early": Bug(
        EdgeDecoder, "elaborate", "(width == Width.BITS_8)", "(self.width == Width.BITS_8)"
    ),
}


# The operand in which a bug shows, where not in the one with everything.
WHERE = {
    "not three times the significand": Operand(ALL, BOTH, linear=False),
    "another limit at run time": Operand(ALL, SIGNED, run_time_limits=(2, 3)),
}


@pytest.mark.parametrize("bug", cases(BUGS, "lanes kept as lane 0 is"))
def test_proof_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug].seed(monkeypatch)
    spec = WHERE.get(bug, Operand(ALL, BOTH))
    assert wrong_word(decoder_of(spec), spec) is not None
