"""Lanes that share an adder never carry into each other, in an element and in an accumulator."""

from __future__ import annotations

import pytest

from dybit.hw import accumulator, processing_element
from dybit.hw.accumulator import Accumulator
from dybit.hw.mode import mode_shape
from dybit.hw.processing_element import ProcessingElement
from dybit.quant.array_config import ArrayConfig
from dybit.quant.config import QuantConfig
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.harness import harness
from tests.formal.multipliers import cut
from tests.formal.sat import counterexample, verilog_of
from tests.hw.array_vectors import array_config, esb_arrays

EVERY_MODE = QuantConfig.load("configs/all-modes.toml").array
WORDS = 4

ARRAYS = {
    "every mode": EVERY_MODE,
    "W8A8 W4A4 W2A2": array_config(4, 4, "W8A8 W4A4 W2A2"),
    "W4A4 W2A4": array_config(4, 4, "W4A4 W2A4", "signed"),
    "W4A8 in LUTs": array_config(4, 4, "W8A8 W4A8", "unsigned", multiplier="lut"),
    "ESB": esb_arrays(4, 4)["esb-k1-k4-lut"],
}


def modes_by_lanes(array: ArrayConfig) -> int:
    """Return the modes of 1, 2 and 4 lanes, 8 bits for each: a bit for each mode's index."""
    return sum(
        1 << 8 * (mode.lanes.bit_length() - 1) + index for index, mode in enumerate(array.modes)
    )


def wrong_partial_sum(array: ArrayConfig) -> str | None:
    """Return addends whose lanes an element does not add each by itself."""
    verilog = verilog_of(ProcessingElement(array), "element")
    signals = ["sums", "carries", "sums_mode"]
    for signal in signals:
        verilog = cut(verilog, f"multiplier__{signal}", signal)
    constants = {
        "BITS": array.partial_sum_bits,
        "LANES": array.max_lanes,
        "MODE_BITS": mode_shape(array).width,
        "MODES": modes_by_lanes(array),
    }
    inside = [f"multiplier__{signal}" for signal in signals]
    text = harness(verilog, "element", "element_sum", inside=inside, constants=constants)
    return counterexample(text, cycles=2)


def wrong_total(array: ArrayConfig) -> str | None:
    """Return a word and partial sums whose lanes are not added each by itself."""
    array = array.model_copy(update={"accumulator_depth": WORDS})
    dut = Accumulator(array)
    constants = {
        "SUMS": array.partial_sum_bits,
        "ACCUMULATOR": array.accumulator_bits,
        "OUT": array.requantizer_bits,
        "LANES": array.max_lanes,
        "LANE_BITS": len(dut.read_lane),
        "ADDRESS": len(dut.address),
        "MODE_BITS": mode_shape(array).width,
        "MODES": modes_by_lanes(array),
    }
    verilog = verilog_of(dut, "accumulator")
    text = harness(verilog, "accumulator", "accumulator", constants=constants)
    return counterexample(text, cycles=8)


def test_partial_sums(proved: Proved) -> None:
    for name, array in ARRAYS.items():
        assert wrong_partial_sum(array) is None, name
    proved(
        block="ProcessingElement",
        claim="each lane of the partial sums is the lane above plus the multiplier's and its "
        "carry, modulo its width, whatever the others are",
        method="SAT from any state",
        bound=f"{len(ARRAYS)} arrays, every mode; the multiplier is a cut point",
    )


@pytest.mark.prove
def test_accumulators(proved: Proved) -> None:
    for name, array in ARRAYS.items():
        assert wrong_total(array) is None, name
    proved(
        block="Accumulator",
        claim="each lane of a word is the lane before plus that of the partial sums, modulo its "
        "width, whatever the others are; a word not added to stays",
        method="SAT from any state",
        bound=f"{len(ARRAYS)} arrays, every mode, {WORDS} words; the low 48 bits of a lane, which "
        "can be read; an address comes back after REVISIT cycles",
    )


SUM_BUGS = {
    "carries run through": (
        processing_element,
        "lane_starts",
        "position % (bits // built.lanes) == 0",
        "position == 0",
    ),
    "carries of the multiplier lost": (
        processing_element,
        "add_lanes",
        "extended_a.append(carry)",
        "extended_a.append(Const(0, 1))",
    ),
    "lanes of another operand's mode": (
        ProcessingElement,
        "elaborate",
        "len(psum), multiplier.sums_mode",
        "len(psum), flow.mode",
    ),
}

TOTAL_BUGS = {
    "carries run through": (
        accumulator,
        "lane_starts",
        "position % (bits // built.lanes) == 0",
        "position == 0",
    ),
    "partial sums without their sign": (
        accumulator,
        "extend_lanes",
        "source[-1].replicate",
        "Const(0, 1).replicate",
    ),
    "lanes of the mode behind": (
        Accumulator,
        "elaborate",
        "lane_starts(self.array, bits, mode)",
        "lane_starts(self.array, bits, self.mode)",
    ),
    "started words keep what they had": (
        Accumulator,
        "elaborate",
        "Mux(first, 0, add_port.data)",
        "add_port.data",
    ),
    "written where the one behind is added to": (
        Accumulator,
        "elaborate",
        "write_port.addr.eq(total_address)",
        "write_port.addr.eq(address)",
    ),
    "written whether valid or not": (
        Accumulator,
        "elaborate",
        "write_port.en.eq(total_valid)",
        "write_port.en.eq(1)",
    ),
}


@pytest.mark.parametrize("bug", SUM_BUGS)
def test_proof_of_partial_sums_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(*SUM_BUGS[bug]).seed(monkeypatch)
    assert wrong_partial_sum(EVERY_MODE) is not None


@pytest.mark.parametrize("bug", cases(TOTAL_BUGS, "carries run through"))
def test_proof_of_accumulators_fails_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Bug(*TOTAL_BUGS[bug]).seed(monkeypatch)
    assert wrong_total(ARRAYS["W8A8 W4A4 W2A2"]) is not None
