# amaranth: UnusedElaboratable=no
"""How many faults planted in a block the simulation suite finds, with its own vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.encoder import Encoder
from dybit.hw.mp_decoder import MPDecoder
from dybit.hw.operand import Operand, Signedness
from dybit.hw.processing_element import ProcessingElement
from dybit.hw.verilog import emit
from dybit.sim.verilated import CompiledModel
from tests.formal import sequencer_mutants
from tests.formal.conftest import Proved
from tests.formal.mutant_benches import (
    decoder_bench,
    element_bench,
    every_pair,
    exhaustive_encoder,
    multiplier_bench,
    random_encoder,
)
from tests.formal.mutants import Bench, Coverage, Mutants, cover, plant
from tests.formal.stream_bench import EncoderTests
from tests.hw.array_vectors import array_config
from tests.hw.decoded_multiplier import DecodedMultiplier
from tests.hw.encoder_vectors import FORMATS

SEED = 1
MANY = 400

DECODERS = {
    "every width": Operand((2, 4, 8), Signedness.BOTH),
    "exponent limits at run time": Operand((2, 4, 8), Signedness.BOTH, run_time_limits=(1, 2, 3)),
}
# A width that is built, and of an 8-bit code a limit that its magnitude has.
LEGAL = "width < 3 & (width != 2 | exponent_limit != 0 & exponent_limit <= 8 - is_signed)"

ALL_MODES = "W8A8 W8A4 W4A8 W4A4 W2A4 W4A2 W2A2"
MULTIPLIERS = ("dsp", "lut")
MULTIPLIER = ("MantissaMultiplier", "ProductTable", "FloatingMultiplier")

# A code says something while it is valid.
STREAM = ("%i__ready", "%o__valid", "%o__valid ? %o__payload : 8'd0")

Check = Callable[[str, Coverage, float], None]


@pytest.fixture
def check(proved: Proved, request: pytest.FixtureRequest) -> Check:
    """Hold a coverage against what it must be, record it, and note the survivors."""

    def hold(block: str, coverage: Coverage, least: float) -> None:
        folder = request.config.rootpath / "build" / "prove" / "mutants"
        folder.mkdir(parents=True, exist_ok=True)
        survivors = {str(number): fault for number, fault in coverage.survivors.items()}
        found = {"coverage": str(coverage), "survivors": survivors}
        name = "-".join(block.replace(":", "").split())
        (folder / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        assert coverage.rate >= least, f"{coverage}\n" + "\n".join(survivors.values())
        claim = f"its tests find {coverage.rate:.1%} of the faults planted in it"
        bound = (
            f"{coverage.mutants} mutants, {coverage.equal} proved equal, "
            f"{len(coverage.survivors)} survive"
        )
        proved(block, claim, "mutation, vectors of the suite", bound)

    return hold


def decoder(directory: Path, spec: Operand, count: int) -> tuple[Mutants, CompiledModel]:
    emit(MPDecoder(spec), "decoder", directory)
    mutants = plant(directory, count, SEED)
    return mutants, CompiledModel(directory)


def test_some_of_the_decoder(tmp_path: Path) -> None:
    spec = DECODERS["every width"]
    mutants, model = decoder(tmp_path, spec, 100)
    coverage = cover(mutants, [decoder_bench(model, spec)], legal=LEGAL)
    assert coverage.mutants == 100
    assert coverage.rate >= 0.95, coverage
    # With few vectors there are survivors, which are no less faults for that.
    cut = cover(mutants, [decoder_bench(model, spec, 300)], legal=LEGAL)
    assert cut.equal == coverage.equal
    assert cut.rate < 0.5
    assert len(cut.survivors) == cut.mutants - cut.equal - cut.killed > 30
    assert all(fault.startswith("decoder: ") for fault in cut.survivors.values())


@pytest.mark.prove
@pytest.mark.parametrize("name", DECODERS)
def test_decoder(name: str, tmp_path: Path, check: Check) -> None:
    spec = DECODERS[name]
    mutants, model = decoder(tmp_path, spec, MANY)
    check(f"decoder: {name}", cover(mutants, [decoder_bench(model, spec)], legal=LEGAL), 0.95)


@pytest.mark.prove
@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_multiplier(multiplier: str, tmp_path: Path, check: Check) -> None:
    """Faults in the multiplier alone, not in the decoders before it."""
    array = array_config(4, 1, ALL_MODES, "both", multiplier=multiplier)
    dut = DecodedMultiplier(array)
    emit(dut, "multiplier", tmp_path)
    mutants = plant(tmp_path, MANY, SEED, MULTIPLIER)
    model = CompiledModel(tmp_path)
    quick = [multiplier_bench(model, dut, 3000)]
    check(f"multiplier: {multiplier}", cover(mutants, quick, [*every_pair(model, dut)]), 0.95)


@pytest.mark.prove
def test_element(tmp_path: Path, check: Check) -> None:
    array = array_config(4, 1, ALL_MODES, "both")
    dut = ProcessingElement(array)
    emit(dut, "element", tmp_path)
    mutants = plant(tmp_path, MANY, SEED)
    bench = element_bench(CompiledModel(tmp_path), dut, 800)
    check("processing element", cover(mutants, [bench]), 0.95)


@pytest.mark.prove
def test_encoder(tmp_path: Path, check: Check) -> None:
    emit(Encoder(), "encoder", tmp_path)
    mutants = plant(tmp_path, MANY, SEED)
    model = CompiledModel(tmp_path)
    quick = [random_encoder(model, 2000)]
    quick += [exhaustive_encoder(model, output, 3000) for output in FORMATS]
    plain = [output for output in FORMATS if output.limit == output.bits - output.signed]
    slow: list[Bench] = [EncoderTests(mutants)]
    slow += [exhaustive_encoder(model, output, 1 << 18) for output in plain]
    check("encoder", cover(mutants, quick, slow, watched=STREAM), 0.95)


@pytest.mark.prove
@pytest.mark.parametrize("part", sequencer_mutants.COMPONENTS)
def test_sequencer(part: str, tmp_path: Path, check: Check) -> None:
    mutants = sequencer_mutants.planted(tmp_path, part, 160, SEED)
    first, *others = sequencer_mutants.benches(mutants)
    coverage = cover(mutants, [first], others, alone=sequencer_mutants.surroundings())
    check(f"sequencer: {part}", coverage, 0.85)
