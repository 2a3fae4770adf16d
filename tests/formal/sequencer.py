"""The parts of the sequencer in their harnesses: what is inside them, and how large they are."""

from __future__ import annotations

from amaranth.utils import exact_log2

from dybit.hw.burst import Command
from dybit.hw.descriptor_check import DescriptorCheck
from dybit.hw.descriptor_reader import DescriptorReader
from dybit.hw.input_loader import InputLoader
from dybit.hw.output_store import OutputStore
from dybit.hw.pass_generator import Pass, PassGenerator
from dybit.hw.pixel_walker import PixelWalker, Vector
from dybit.hw.read_buffer import ReadData
from dybit.hw.result_drainer import ResultDrainer
from dybit.hw.tile import Tile
from dybit.hw.weight_loader import WeightLoader, WeightRow
from dybit.quant.config import QuantConfig
from dybit.quant.precision import MODES
from tests.formal.harness import freed, harness, with_one_word
from tests.formal.sat import edited, verilog_of
from tests.hw.descriptors import PLACES

__all__ = ["PARTS", "descriptor_check"]

LATENCY = {"array": 12, "accumulate": 15, "revisit": 3, "accumulators": 2, "codes": 13}
"""Of the matrix engine: that of an array of 4 x 4."""


def pass_generator(config: QuantConfig) -> str:
    array = config.array
    walk = Tile(array)["walk"].shape
    parts = [max(1, array.rows * mode.channels // array.columns) for mode in array.modes]
    return harness(
        verilog_of(PassGenerator(array), "pass_generator"),
        "pass_generator",
        "pass_generator",
        inside=[
            *("walk", "block", "tap_x", "tap_y", "column_tile", "part", "tile_block"),
            *("tap_address", "row_address", "tile_address"),
        ],
        fields={"i__payload": walk, "o__payload": Pass(array), "inside__walk": walk},
        constants={
            "MODES": len(array.modes),
            "WALK": walk.size,
            "PASS": Pass(array).size,
            "PART_BITS": sum(exact_log2(n) << 4 * index for index, n in enumerate(parts)),
        },
    )


def pixel_walker(config: QuantConfig) -> str:
    array, accelerator = config.array, config.accelerator
    return harness(
        verilog_of(PixelWalker(array, accelerator, LATENCY), "pixel_walker"),
        "pixel_walker",
        "pixel_walker",
        inside=[
            *("bank", "half", "tiles", "halves", "row", "column", "rows_left", "columns_left"),
            *("word", "row_word", "accumulator", "current", "valid", "unit_valid", "asked"),
        ],
        fields={
            **dict.fromkeys(("i__payload", "inside__current"), Pass(array)),
            **dict.fromkeys(("vector", "inside__asked"), Vector(array)),
        },
        constants={
            "ACTIVATION_WORDS": accelerator.activation_words,
            "HALF": array.accumulator_depth // 2,
        },
    )


def input_loader(config: QuantConfig) -> str:
    array, accelerator = config.array, config.accelerator
    load = Tile(array)["load"].shape
    commands = ("input_command__payload", "parameter_command__payload")
    return harness(
        verilog_of(InputLoader(array, accelerator), "input_loader"),
        "input_loader",
        "input_loader",
        inside=[
            *("words.o__valid", "tile", "busy", "bank", "parameter_bank", "banks"),
            *("parameter_banks", "under_way", "words_left", "word", "rows_left", "address"),
            *("parameters_asked", "parameters_left", "group", "column"),
        ],
        fields={
            **dict.fromkeys(("i__payload", "inside__tile"), load),
            **dict.fromkeys(commands, Command.as_shape()),
        },
        constants={
            "ACTIVATION_WORDS": accelerator.activation_words,
            "PARAMETER_GROUPS": accelerator.parameter_groups,
            "COLUMN_BITS": exact_log2(array.columns),
            "COLUMNS": array.columns,
            "ROWS": array.rows,
        },
    )


def result_drainer(config: QuantConfig) -> str:
    array, accelerator = config.array, config.accelerator
    drain = Tile(array)["drain"].shape
    lanes = [exact_log2(mode.lanes) for mode in array.modes]
    return harness(
        verilog_of(ResultDrainer(array, accelerator, LATENCY), "result_drainer"),
        "result_drainer",
        "result_drainer",
        inside=[
            *("tile", "bank", "parameter_bank", "half", "banks", "column_tiles_ready"),
            *("arriving", "fsm_state", "reads_parameters", "wait", "column_tiles_left"),
            *("groups_left", "tile_unit", "group", "fetched_lane", "lane", "lane_end", "part"),
            *("pixels_left", "pixel_unit", "unit", "valids"),
        ],
        lists={"STAGES": [f"asked_{stage}" for stage in range(1, LATENCY["codes"] + 1)]},
        fields=dict.fromkeys(("i__payload", "inside__tile"), drain),
        constants={
            "MODES": len(array.modes),
            "LANE_BITS": sum(bits << 2 * index for index, bits in enumerate(lanes)),
            "HALF": array.accumulator_depth // 2,
            "OUTPUT_WORDS": accelerator.output_words,
            "PARAMETER_GROUPS": accelerator.parameter_groups,
            "UNIT_BITS": exact_log2(4 * accelerator.output_words),
            "GROUP_BITS": exact_log2(accelerator.parameter_groups),
            "CODES": LATENCY["codes"],
            "SUMS": LATENCY["accumulators"],
            "ARRIVAL": LATENCY["accumulate"],
        },
    )


def output_store(config: QuantConfig) -> str:
    array, accelerator = config.array, config.accelerator
    store = Tile(array)["store"].shape
    return harness(
        verilog_of(OutputStore(array, accelerator), "output_store"),
        "output_store",
        "output_store",
        inside=[
            *("reads", "asked", "tile", "busy", "bank", "full_banks", "queue.level"),
            *("words_in_row", "words_left", "word", "row_word", "rows_to_read", "rows_to_ask"),
            *("rows_to_finish", "address"),
        ],
        fields={
            **dict.fromkeys(("i__payload", "inside__tile"), store),
            "command__payload": Command.as_shape(),
        },
        constants={
            "OUTPUT_WORDS": accelerator.output_words,
            "OUTPUT_BITS": exact_log2(accelerator.output_words),
            "COLUMN_BITS": exact_log2(array.columns),
        },
    )


def weight_loader(config: QuantConfig) -> str:
    array, accelerator = config.array, config.accelerator
    weights = Tile(array)["weights"].shape
    channels = [exact_log2(mode.channels) for mode in array.modes]
    verilog = verilog_of(WeightLoader(array, accelerator), "weight_loader")
    return harness(
        with_one_word(verilog, "weight_loader__rows"),
        "weight_loader",
        "weight_loader",
        inside=[
            *("tile", "units.o__valid", "units.o__ready", "units.o__payload", "pushed"),
            *("fsm_state", "rows_left", "position", "full", "blocks_left", "taps_left"),
            *("column_tiles_left", "depthwise_rows", "address", "gathered", "row"),
            *("rows.w_en", "rows.w_rdy", "rows.w_data"),
        ],
        fields={
            **dict.fromkeys(("i__payload", "inside__tile"), weights),
            "command__payload": Command.as_shape(),
            "inside__row": WeightRow(array, accelerator),
        },
        constants={
            "MODES": len(array.modes),
            "CHANNEL_BITS": sum(bits << 2 * index for index, bits in enumerate(channels)),
            "KERNEL": accelerator.depthwise_kernel,
            "PARAMETER_GROUPS": accelerator.parameter_groups,
            "ROWS": array.rows,
            "COLUMNS": array.columns,
            "COLUMN_BITS": exact_log2(array.columns),
            "UNIT": 8 * array.columns,
            "WORD_BYTES": array.word_bytes,
        },
    )


def descriptor_reader(config: QuantConfig) -> str:
    component = DescriptorReader(config.array, config.accelerator)
    verilog = verilog_of(component, "descriptor_reader")
    return harness(
        freed(verilog, "descriptor_reader_descriptor_check"),
        "descriptor_reader",
        "descriptor_reader",
        inside=[
            *("fsm_state", "given", "place", "remaining", "check.i__valid", "check.i__ready"),
            *("check.i__payload", "check.o__valid", "check.o__payload", "check.broken"),
        ],
        fields={
            "data__payload": ReadData.as_shape(),
            "command__payload": Command.as_shape(),
        },
    )


PARTS = {
    part.__name__: part
    for part in (
        *(descriptor_reader, input_loader, weight_loader, pass_generator, pixel_walker),
        *(result_drainer, output_store),
    )
}
"""What returns the harness around each part, built for a config."""


def descriptor_check(config: QuantConfig) -> str:
    array, accelerator = config.array, config.accelerator
    verilog = edited(
        verilog_of(DescriptorCheck(array, accelerator), "descriptor_check"),
        "  assign product_next = left * right;\n",
        "  (* anyseq *)\n  reg [33:0] any_product;\n  assign product_next = any_product;\n",
    )
    used = sum((1 << bits) - 1 << 32 * word + low for word, low, bits in PLACES.values())
    modes = [(index, mode) for index, mode in enumerate(MODES) if mode in array.modes]
    return harness(
        verilog,
        "descriptor_check",
        "descriptor_check",
        inside=[
            *("given", "fsm_state", "step", "failed", "product", "left", "right", "mode"),
            *("groups", "wide_rows", "last_tile", "last_row", "last_column", "row_words"),
            *("input_words", "loaded", "pixels", "output_words", "stored", "step_x", "step_y"),
            *("pad_y", "pad_x", "span", "taps", "reach_y", "reach_x"),
        ],
        fields={"o__payload": Tile(array)},
        places={
            f"d__{name}": (32 * word + low, bits) for name, (word, low, bits) in PLACES.items()
        },
        constants={
            "MODES_BUILT": sum(1 << index for index, _ in modes),
            "MODE_INDEX": sum(array.modes.index(mode) << 3 * index for index, mode in modes),
            "LANE_BITS": sum(exact_log2(mode.lanes) << 2 * i for i, mode in enumerate(MODES)),
            "CHANNEL_BITS": sum(exact_log2(mode.channels) << 2 * i for i, mode in enumerate(MODES)),
            "WIDE_LANES": sum(
                1 << index for index, mode in modes if array.accumulator_lane_bits(mode) > 32
            ),
            "WIDTHS": sum(1 << exact_log2(bits) - 1 for bits in array.activation_widths),
            "SIGNEDNESSES": sum(1 << signed for signed in array.signednesses),
            "ROW_BITS": exact_log2(array.rows),
            "COLUMN_BITS": exact_log2(array.columns),
            "KERNEL": accelerator.depthwise_kernel,
            "DEPTHWISE_WIDTH": accelerator.depthwise_width,
            "ACTIVATION_WORDS": accelerator.activation_words,
            "OUTPUT_WORDS": accelerator.output_words,
            "PARAMETER_GROUPS": accelerator.parameter_groups,
            "HALF": array.accumulator_depth // 2,
            "TILE": Tile(array).size,
        },
        aliases={"RESERVED": f"1024'h{(1 << 1024) - 1 - used:x}"},
    )
