"""The decoder of single codes gives what the definition says, in every array that it serves."""

from __future__ import annotations

import pytest

from dybit.hw.depthwise_tap import activation_number, weight_number
from dybit.hw.esb_operand import ESBOperand
from dybit.hw.number_decoder import NumberDecoder
from dybit.hw.operand import Signedness
from dybit.hw.operand_layout import OperandLayout
from dybit.hw.width import Width
from dybit.quant.config import QuantConfig
from tests.formal.bugs import Bug
from tests.formal.conftest import Proved
from tests.formal.definitions import DYBIT, code_integer, esb
from tests.formal.harness import harness
from tests.formal.sat import counterexample, verilog_of
from tests.hw.array_vectors import array_config, esb_arrays

EVERY_MODE = QuantConfig.load("configs/all-modes.toml").array

ARRAYS = {
    "every mode": EVERY_MODE,
    "every mode without DSP blocks": EVERY_MODE.model_copy(update={"multiplier": "lut"}),
    "signed": array_config(1, 1, "W8A8 W4A4 W2A2", "signed", weight_exponent_limit=2),
    "unsigned": array_config(1, 1, "W8A8 W4A4 W2A2", "unsigned", multiplier="lut"),
    "narrow": array_config(1, 1, "W4A4 W2A2", multiplier="lut"),
    "run time limits": array_config(1, 1, "W8A8 W4A4", run_time_limits=[2, 3]),
    **esb_arrays(1, 1),
}


def wrong_code(spec: OperandLayout, largest: dict[int, int]) -> str | None:
    """Return a code that is decoded to something else than the definition says."""
    decoder = NumberDecoder(spec, largest)
    members = decoder.number.shape().members
    constants = {
        "WIDTHS": sum(1 << Width.of(bits).value for bits in spec.widths),
        "LINEAR": "integer" in members,
        "SIGNIFICAND": members.get("significand", 1),
        "EXPONENT": members.get("exponent", 0),
    }
    if isinstance(spec, ESBOperand):
        definition = [esb({fmt.bits: fmt.k for fmt in spec.formats}), code_integer()]
        constants |= {"SIGNED": True, "UNSIGNED": False, "LIMITS": 0, "PADDED": spec.padded}
    else:
        definition = [DYBIT, code_integer(spec.limit, bool(spec.run_time_limits))]
        constants |= {"SIGNED": spec.signedness is Signedness.SIGNED, "PADDED": True}
        constants["UNSIGNED"] = spec.signedness is Signedness.UNSIGNED
        constants["LIMITS"] = sum(1 << limit for limit in spec.run_time_limits)
    constants = {name: int(value) for name, value in constants.items()}
    text = harness(verilog_of(decoder, "decoder"), "decoder", "number_decoder", constants=constants)
    return counterexample(*definition, text, cycles=NumberDecoder.LATENCY + 1)


@pytest.mark.prove
@pytest.mark.parametrize("name", ["activations", "weights"])
def test_every_code_gives_its_integer(name: str, proved: Proved) -> None:
    number_of = {"activations": activation_number, "weights": weight_number}[name]
    for array in ARRAYS.values():
        assert wrong_code(*number_of(array)) is None, array
    proved(
        block="NumberDecoder",
        claim=f"{name}: every code, width, sign, limit and keep gives the integer defined",
        method="SAT from any state",
        bound=f"{len(ARRAYS)} arrays, DyBit and ESB",
    )


def test_proof_fails_on_a_width_a_cycle_late(monkeypatch: pytest.MonkeyPatch) -> None:
    late = Bug(NumberDecoder, "elaborate", 'self.LATENCY, "width"', 'self.LATENCY + 1, "width"')
    assert wrong_code(*activation_number(EVERY_MODE)) is None
    late.seed(monkeypatch)
    assert wrong_code(*activation_number(EVERY_MODE)) is not None
