"""The sequencer never addresses outside its buffers, for any legal tile, whatever comes when.

Legal is what the rules of a descriptor say, written down in the harnesses a third time; that the
checker lets nothing else pass is proved in `test_descriptor_rules`. The parts are proved one by
one, each for anything that the others may do: a pass of the pass generator is what the pixel walker
assumes, and who takes turns on a bank counts the same events on both sides.
"""

from __future__ import annotations

import pytest

from dybit.hw.descriptor_reader import DescriptorReader
from dybit.hw.input_loader import InputLoader
from dybit.hw.output_store import OutputStore
from dybit.hw.pass_generator import PassGenerator
from dybit.hw.pixel_walker import PixelWalker
from dybit.hw.result_drainer import ResultDrainer
from dybit.hw.weight_loader import WeightLoader
from dybit.quant.config import QuantConfig
from tests.accelerators import EVERY, SMALL_ACCELERATORS, small_accelerator
from tests.formal.bugs import Bug
from tests.formal.cases import cases
from tests.formal.conftest import Proved
from tests.formal.sat import by_induction
from tests.formal.sequencer import PARTS


def _largest() -> QuantConfig:
    """Return an accelerator with the largest memories that a config may ask for."""
    config = small_accelerator("largest", 64, 64, EVERY, 0, accumulator_depth=1 << 16)
    sizes = {"activation_words": 1 << 16, "output_words": 1 << 16, "parameter_groups": 1 << 10}
    sizes |= {"depthwise_kernel": 7, "depthwise_width": 1 << 16}
    return QuantConfig.from_dict(config.to_dict() | {"accelerator": sizes})


EVERY_MODE, TALL, _ = SMALL_ACCELERATORS
CONFIGS = {
    "small": TALL,
    "every-mode": EVERY_MODE,
    "wide": small_accelerator("wide", 16, 16, EVERY, 3),
    "zcu102": QuantConfig.load("configs/zcu102.toml"),
    "largest": _largest(),
}
SIZES = {
    "small": "8 x 4, 2 modes and depthwise, 128 words",
    "every-mode": "4 x 4, every mode, 128 words",
    "wide": "16 x 16, every mode and depthwise",
    "zcu102": "32 x 32, 2 modes, 4,096 words",
    "largest": "64 x 64, every mode and depthwise, 65,536 words",
}

CLAIMS = {
    "pass_generator": "passes in order, each at the word its definition names, all in the pixel",
    "pixel_walker": "words read lie in the rectangle where they count; sums in the pass's half",
    "descriptor_reader": "descriptors in order from the list, as many as told, each checked once",
    "weight_loader": "weights asked for without gaps, as many as told; each byte at its lane",
    "input_loader": "words and parameters fill their bank and no more; rows asked for as told",
    "result_drainer": "results go to their pixel's words; sums and parameters that are there",
    "output_store": "words read were drained; each row written once, where told",
}

SHORT = ("input_loader, small", "output_store, small")
LARGE = {"weight_loader": "wide", "result_drainer": "zcu102"}
"""The largest that is proved of a part, where that is not the largest there is."""

CASES = [
    f"{part}, {config}"
    for part in PARTS
    for config in sorted({"small", "every-mode", LARGE.get(part, "largest")})
    if part != "descriptor_reader" or config == "small"  # sizes are nothing to it
]


@pytest.mark.parametrize("case", cases(CASES, *SHORT))
def test_addresses(case: str, proved: Proved) -> None:
    part, config = case.split(", ")
    assert by_induction(PARTS[part](CONFIGS[config])) is None
    proved(
        part.replace("_", " "),
        CLAIMS[part],
        "1-induction with invariants (pyosys)",
        f"none: any legal tile ({SIZES[config]})",
    )


BUGS = {
    "a row of the kernel begins where a column does": (
        "pass_generator",
        Bug(
            PassGenerator,
            "elaborate",
            "tap_address.eq(row_address + walk.row_words)",
            "tap_address.eq(row_address + walk.blocks)",
        ),
    ),
    "column tiles go on beyond the pixel": (
        "pass_generator",
        Bug(
            PassGenerator,
            "elaborate",
            "tile_address.eq(tile_address + advance)",
            "tile_address.eq(tile_address + walk.blocks)",
        ),
    ),
    "a row begins where the one before ended": (
        "pixel_walker",
        Bug(
            PixelWalker,
            "elaborate",
            " word.eq(row_word + walk.step_y)",
            " word.eq(word + walk.step_y)",
        ),
    ),
    "padding on the left counts": (
        "pixel_walker",
        Bug(
            PixelWalker,
            "elaborate",
            "(column.as_unsigned() < walk.input_width)",
            "(column < walk.input_width)",
        ),
    ),
    "a bank counts as free while a tile fills it": (
        "input_loader",
        Bug(
            InputLoader,
            "elaborate",
            "banks.eq(banks + self.bank_freed - begin),\n        parameter",
            "banks.eq(banks + self.bank_freed),\n        parameter",
        ),
    ),
    "words go into the bank in use": (
        "input_loader",
        Bug(InputLoader, "elaborate", "Cat(word, bank)", "Cat(word, ~bank)"),
    ),
    "a group too many": (
        "result_drainer",
        Bug(
            ResultDrainer,
            "elaborate",
            "Mux(last_column_tile, groups_left, lanes) - 1",
            "Mux(last_column_tile, groups_left, lanes)",
        ),
    ),
    "sums of a half that is not complete": (
        "result_drainer",
        Bug(ResultDrainer, "elaborate", "m.If(column_tiles_ready.any())", "m.If(1)"),
    ),
    "later column tiles have one tap": (
        "weight_loader",
        Bug(WeightLoader, "elaborate", "taps_left.eq(tile.taps)", "taps_left.eq(1)"),
    ),
    "a tile begins while weights are under way": (
        "weight_loader",
        Bug(WeightLoader, "elaborate", "m.If(~rows_left.any())", "m.If(1)"),
    ),
    "beats of a descriptor in the wrong order": (
        "descriptor_reader",
        Bug(
            DescriptorReader,
            "elaborate",
            "Cat(given, self.data.payload.data)[-len(given) :]",
            "Cat(self.data.payload.data, given)[: len(given)]",
        ),
    ),
    "the queue is asked for too much": (
        "output_store",
        Bug(OutputStore, "elaborate", "queue.level + asked < _AHEAD", "queue.level < _AHEAD"),
    ),
    "rows follow each other without a gap": (
        "output_store",
        Bug(OutputStore, "elaborate", " word.eq(row_word + tile.row_words)", " word.eq(word + 1)"),
    ),
}

CYCLES = 30
"""From the reset to the effect of a bug, at most."""


@pytest.mark.parametrize("bug", cases(BUGS, "rows follow each other without a gap"))
def test_addresses_fail_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part, seeded = BUGS[bug]
    seeded.seed(monkeypatch)
    run = by_induction(PARTS[part](TALL), depth=CYCLES, options="-tempinduct-baseonly")
    assert run is not None


EVENTS = {
    "descriptor_reader": "data__ready & (beats == 2)",
    "input_loader": "loaded",
    "weight_loader": "inside__pushed",
    "pass_generator": "o__valid & o__payload__end & (o_row != 0) & (o_offset != 0)",
    "pixel_walker": "vector__valid & |vector__keep & (should_2 != 0)",
    "result_drainer": "|write_enable",
    "output_store": "reads & (place > 1)",
}
"""What must be possible, or else the assumptions would leave nothing to prove."""


@pytest.mark.prove
@pytest.mark.parametrize("part", EVENTS)
def test_assumptions_leave_room(part: str) -> None:
    never = f"  always @* assert (~({EVENTS[part]}));\nendmodule\n"
    text = PARTS[part](TALL).removesuffix("endmodule\n") + never
    assert by_induction(text, depth=CYCLES, options="-tempinduct-baseonly") is not None
