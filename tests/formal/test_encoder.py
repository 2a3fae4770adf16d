"""Encoders give the nearest code allowed, for every number and output format, stalled or not."""

from __future__ import annotations

from typing import Any

import pytest

from dybit.hw import encoder
from dybit.hw.encoder import Encoder
from dybit.hw.esb_encoder import ESBEncoder
from dybit.hw.width import Width
from dybit.quant.formats import ESB
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.definitions import DYBIT, esb
from tests.formal.harness import harness
from tests.formal.sat import counterexample, verilog_of
from tests.formal.stalls import broken_stall

WIDTHS = [(2, 4, 8), (2,), (4,), (8,), (2, 4), (2, 8), (4, 8)]
FORMATS = [
    *([ESB(4, k4), ESB(8, k8)] for k4 in (0, 1, 2) for k8 in (3, 4, 5, 6)),
    *([ESB(4, k)] for k in (0, 1, 2)),
    *([ESB(8, k)] for k in (3, 4, 5, 6)),
]


def built(of: Any) -> Any:
    """Return an encoder of code widths, or of ESB formats."""
    return ESBEncoder(of) if isinstance(of[0], ESB) else Encoder(of)


def wrong_number(of: Any) -> str | None:
    """Return a number for which an encoder does not give the nearest code allowed."""
    component = built(of)
    fractions = {fmt.bits: fmt.k for fmt in of if isinstance(fmt, ESB)}
    constants = {
        "MAGNITUDE": component.magnitude_bits,
        "WIDTHS": sum(1 << Width.of(bits).value for bits in fractions or of),
        "ALWAYS_SIGNED": int(bool(fractions)),
        "GRIDS_WITHOUT_ZERO": sum(
            1 << Width.of(bits).value for bits, k in fractions.items() if k == bits - 2
        ),
    }
    verilog = verilog_of(component, "encoder")
    text = harness(verilog, "encoder", "encoder", constants=constants)
    definition = esb(fractions) if fractions else DYBIT
    return counterexample(definition, text, cycles=component.LATENCY + 1)


def broken(of: Any) -> str | None:
    return broken_stall(verilog_of(built(of), "encoder"), "encoder")


@pytest.mark.parametrize("widths", cases(WIDTHS, (2, 4, 8)), ids=str)
def test_nearest_code(widths: tuple[int, ...], proved: Proved) -> None:
    assert wrong_number(widths) is None
    proved(
        block="Encoder",
        claim=f"widths {' '.join(map(str, widths))}: every number and output format gives the "
        "nearest code allowed, a tie the even one",
        method="SAT from any state",
        bound="no back-pressure: see its stalls",
    )


@pytest.mark.prove
def test_nearest_code_of_esb(proved: Proved) -> None:
    for formats in FORMATS:
        assert wrong_number(formats) is None, formats
    proved(
        block="ESBEncoder",
        claim="every number, width, ReLU and largest code gives the nearest code allowed, a tie "
        "the even one",
        method="SAT from any state",
        bound=f"{len(FORMATS)} builds: every k of 4 and 8 bits, together and alone; no "
        "back-pressure: see its stalls",
    )


@pytest.mark.parametrize("of", [(2, 4, 8), [ESB(4, 1), ESB(8, 4)]], ids=["DyBit", "ESB"])
def test_stalls(of: Any, proved: Proved) -> None:
    assert broken(of) is None
    proved(
        block="ESBEncoder" if isinstance(of[0], ESB) else "Encoder",
        claim="a stall keeps every register, its end goes on as if it had not been; i.ready is "
        "o.ready or not o.valid",
        method="SAT on one step from any state",
        bound="none",
    )


BUGS = {
    "ties go up": ("shifted.next_bit & (shifted.more | shifted.code[0])", "shifted.next_bit"),
    "ties go down": ("(shifted.more | shifted.code[0])", "shifted.more"),
    "what is shifted out is lost": ("located.sticky | coarse_lost | fine_lost", "located.sticky"),
    "rounding passes the largest code": (">= shifted.limit", "> shifted.limit"),
    "no ReLU of signed formats": (
        "(~number.output_format.signed | number.output_format.relu)",
        "~number.output_format.signed",
    ),
    "negative zero": ("shifted.negative & saturated.any()", "shifted.negative"),
    "a zero behind the longest run": (
        "octave < measured.exponent_limit",
        "octave <= measured.exponent_limit",
    ),
    "the limit of the number behind": (
        "octave > measured.exponent_limit",
        "octave > number.output_format.exponent_limit",
    ),
}

ESB_BUGS = {
    "ties of the grid without a zero go up": ("~shifted.more & uniform", "~shifted.more & False"),
    "nothing is beyond the largest value": ("measured.length > integer_bits(fmt)", "0"),
    "negative zero": ("else saturated.any()", "else Const(1)"),
    "an octave starts one late": (
        "with m.If(measured.length > fmt.k + 1)",
        "with m.If(measured.length > fmt.k + 2)",
    ),
}


@pytest.mark.parametrize("bug", cases(BUGS, "ties go up"))
def test_proof_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(Encoder, "elaborate", *BUGS[bug]).seed(monkeypatch)
    assert wrong_number((2, 4, 8)) is not None


@pytest.mark.parametrize("bug", cases(ESB_BUGS, "negative zero"))
def test_proof_of_esb_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(ESBEncoder, "elaborate", *ESB_BUGS[bug]).seed(monkeypatch)
    assert wrong_number([ESB(4, 1), ESB(8, 6)]) is not None


STALL_BUGS = {
    "last stage never waits": (
        Encoder,
        "elaborate",
        "with m.If(advance):\n        m.d.sync += code.eq(saturated)",
        "with m.If(1):\n        m.d.sync += code.eq(saturated)",
    ),
    "an output that nobody took is overwritten": (
        Encoder,
        "elaborate",
        "ready = ~self.o.valid | self.o.ready",
        "ready = ~self.o.valid | self.i.valid",
    ),
    "valid bits never wait": (encoder, "handshake", "with m.If(advance)", "with m.If(1)"),
}


@pytest.mark.parametrize("bug", STALL_BUGS)
def test_proof_of_stalls_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(*STALL_BUGS[bug]).seed(monkeypatch)
    assert broken((2, 4)) is not None
