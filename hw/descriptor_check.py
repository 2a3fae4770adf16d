"""Checks a descriptor and works out what follows from it, before any of it takes effect."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.descriptor import DESCRIPTOR_BYTES, Descriptor, reserved_mask
from dybit.hw.tile import ADDRESS_BITS, COUNT_BITS, Tile
from dybit.quant.precision import MODES

__all__ = ["CHECKS", "DescriptorCheck"]

CHECKS = {
    "reserved": "bits that belong to no field are 0",
    "kind": "array, or depthwise where that unit is built",
    "mode": "one of the modes built",
    "signedness": "activations of that signedness are built",
    "output_width": "one of the activation widths built; raw is 0 to 2 and takes the mode's lanes",
    "input_address": "a multiple of R below 2^40, as is input_row_stride",
    "weights_address": "a multiple of 64 below 2^40",
    "parameters_address": "a multiple of 64 below 2^40",
    "output_address": "a multiple of R below 2^40, as is output_row_stride",
    "counts": "all rows, words, sizes, strides and tiles are at least 1",
    "tail": "at most the channels of a word",
    "parameters": "groups of all column tiles fit a parameter bank",
    "groups": "more than the column tiles before the last one have",
    "pitch": "a pixel's groups fit its words of the output memory",
    "depthwise": "kernel, padded rows and groups fit unit, counts and pixel; one block, no step",
    "input_words": "the rectangle fits an activation bank",
    "input_rows": "what is read is the rectangle",
    "pixels": "the output pixels fit half the accumulators",
    "output_words": "the output fits an output bank",
    "output_rows": "what is stored is the output, and a row's bytes fit its words",
    "blocks": "the last column tile's words lie in the pixel",
    "extent": "the window of every output pixel begins above the rectangle's last row and column",
    "size": "a row to store has fewer than 2^24 bytes",
}
"""What a legal descriptor obeys; an error's detail is the number of a rule broken, from 1."""

_OPERAND_BITS = COUNT_BITS + 1

_PRODUCTS = (
    *("row_words", "input_words", "loaded", "pixels", "output_words", "stored"),
    *("step_x", "step_y", "pad_y", "pad_x", "span", "taps", "reach_y", "reach_x"),
)


class DescriptorCheck(wiring.Component):
    """Turns a descriptor into a `Tile`, or says which rule it breaks.

    Sizes are multiplied one after the other on one multiplier, three cycles each.

    Latency: `LATENCY` cycles. Throughput: one descriptor at a time.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(8 * DESCRIPTOR_BYTES))
    o : Out(stream.Signature(Tile(array)))
    broken : Out(8)
        Number of the rule that the descriptor breaks; not 0 in one cycle, and no tile follows.
    """

    LATENCY = 2 + 3 * len(_PRODUCTS)

    def __init__(self, array, accelerator):
        self.array = array
        self.accelerator = accelerator
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(8 * DESCRIPTOR_BYTES)),
                "o": Out(stream.Signature(Tile(array))),
                "broken": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        given = Signal(8 * DESCRIPTOR_BYTES, reset_less=True)
        d = data.View(Descriptor, given)
        facts = self._facts(m, d)

        results = {name: Signal(_OPERAND_BITS, name=name, reset_less=True) for name in _PRODUCTS}
        left = Signal(_OPERAND_BITS, reset_less=True)
        right = Signal(_OPERAND_BITS, reset_less=True)
        product = Signal(2 * _OPERAND_BITS, reset_less=True)
        steps = self._steps(d, results, product, facts)
        step = Signal(range(len(steps)))
        failed = Signal(8)
        m.d.sync += [self.broken.eq(0), product.eq(left * right)]

        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [given.eq(self.i.payload), step.eq(0), failed.eq(0)]
                    m.next = "LOOK"
            with m.State("LOOK"):
                # Ranks of rules differ; the lowest number broken is the one told.
                for number, name in reversed(list(enumerate(CHECKS, 1))):
                    if name in facts.broken:
                        with m.If(facts.broken[name]):
                            m.d.sync += failed.eq(number)
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                with m.Switch(step):
                    for index, (_, a, b, _) in enumerate(steps):
                        with m.Case(index):
                            m.d.sync += [left.eq(a), right.eq(b)]
                m.next = "WAIT"
            with m.State("WAIT"):
                m.next = "USE"
            with m.State("USE"):
                m.next = "MULTIPLY"
                m.d.sync += step.eq(step + 1)
                with m.Switch(step):
                    for index, (name, _, _, rules) in enumerate(steps):
                        with m.Case(index):
                            m.d.sync += results[name].eq(product)
                            for rule, breaks in reversed(rules):
                                with m.If((failed == 0) & breaks):
                                    m.d.sync += failed.eq(_number(rule))
                with m.If(step == len(steps) - 1):
                    m.next = "TELL"
            with m.State("TELL"):
                with m.If(failed.any()):
                    m.d.sync += self.broken.eq(failed)
                    m.next = "TAKE"
                with m.Else():
                    m.d.comb += self.o.valid.eq(1)
                    with m.If(self.o.ready):
                        m.next = "TAKE"

        self._tell(m, d, results, facts)
        return ResetInserter(self.clear)(m)

    def _facts(self, m, d):
        """Register what needs no multiplication: derived fields, and the rules broken."""
        return _Facts(m, self.array, self.accelerator, d)

    def _steps(self, d, results, product, facts):
        """Return (result, left, right, [(rule, whether it is broken)]) of each multiplication."""
        accelerator, r = self.accelerator, results
        half = self.array.accumulator_depth // 2
        padded = facts.depthwise
        longest = min(accelerator.depthwise_width, (1 << COUNT_BITS) - 1)
        return [
            (
                "row_words",
                d.input_width,
                d.blocks,
                [("input_words", product > accelerator.activation_words)],
            ),
            (
                "input_words",
                r["row_words"],
                d.input_height,
                [("input_words", product > accelerator.activation_words)],
            ),
            (
                "loaded",
                d.input_rows,
                d.input_row_words,
                [("input_rows", product != r["input_words"])],
            ),
            ("pixels", d.output_height, d.output_width_pixels, [("pixels", product > half)]),
            (
                "output_words",
                r["pixels"],
                d.output_pitch,
                [("output_words", product > accelerator.output_words)],
            ),
            (
                "stored",
                d.output_rows,
                d.output_row_words,
                [("output_rows", (product != r["output_words"]) | facts.wide_rows)],
            ),
            ("step_x", d.stride_x, d.blocks, []),
            ("step_y", d.stride_y, r["row_words"], []),
            ("pad_y", d.pad_top, r["row_words"], []),
            ("pad_x", d.pad_left, d.blocks, []),
            (
                "span",
                facts.last_tile,
                d.block_step,
                [("blocks", ~padded & (product + d.block_count > d.blocks))],
            ),
            ("taps", d.kernel_height, d.kernel_width, []),
            (
                "reach_y",
                facts.last_row,
                d.stride_y,
                [
                    ("extent", product >= d.input_height + d.pad_top),
                    ("depthwise", padded & (product + d.kernel_height >= 1 << COUNT_BITS)),
                ],
            ),
            (
                "reach_x",
                facts.last_column,
                d.stride_x,
                [
                    ("extent", product >= d.input_width + d.pad_left),
                    (
                        "depthwise",
                        padded & (product + d.kernel_width > longest),
                    ),
                ],
            ),
        ]

    def _tell(self, m, d, results, facts):
        """Connect the tile's parts, which hold still while it is offered."""
        tile = self.o.payload
        depthwise = facts.depthwise
        height, width = Signal(COUNT_BITS), Signal(COUNT_BITS)
        m.d.comb += [
            height.eq(results["reach_y"] + d.kernel_height),
            width.eq(results["reach_x"] + d.kernel_width),
            tile.load.barrier.eq(d.barrier),
            tile.load.address.eq(d.input_address),
            tile.load.rows.eq(d.input_rows),
            tile.load.row_words.eq(d.input_row_words),
            tile.load.row_stride.eq(d.input_row_stride),
            tile.load.words.eq(results["input_words"]),
            tile.load.parameters.eq(d.parameters_address),
            tile.load.groups.eq(facts.groups),
            tile.weights.depthwise.eq(depthwise),
            tile.weights.mode.eq(facts.mode),
            tile.weights.exponent_limit.eq(d.weight_limit),
            tile.weights.address.eq(d.weights_address),
            tile.weights.taps.eq(results["taps"]),
            tile.weights.blocks.eq(self._weight_blocks(d, depthwise, width)),
            tile.weights.column_tiles.eq(d.column_tiles),
            tile.walk.depthwise.eq(depthwise),
            tile.walk.mode.eq(facts.mode),
            tile.walk.signed.eq(d.input_signed),
            tile.walk.exponent_limit.eq(d.input_limit),
            tile.walk.row_words.eq(results["row_words"]),
            tile.walk.unit_stride_y.eq(d.stride_y),
            tile.walk.unit_stride_x.eq(d.stride_x),
            tile.walk.stride_y.eq(Mux(depthwise, 1, d.stride_y)),
            tile.walk.stride_x.eq(Mux(depthwise, 1, d.stride_x)),
            tile.walk.step_y.eq(Mux(depthwise, results["row_words"], results["step_y"])),
            tile.walk.step_x.eq(Mux(depthwise, d.blocks, results["step_x"])),
            tile.walk.height.eq(Mux(depthwise, height, d.output_height)),
            tile.walk.width.eq(Mux(depthwise, width, d.output_width_pixels)),
            tile.walk.origin.eq(-(results["pad_y"] + results["pad_x"])),
            tile.drain.mode.eq(facts.mode),
            tile.drain.single.eq(depthwise),
            tile.drain.format.width.eq(d.output_width),
            tile.drain.format.signed.eq(d.output_signed),
            tile.drain.format.exponent_limit.eq(d.output_limit),
            tile.drain.format.relu.eq(d.relu),
            tile.drain.format.max_code.eq(d.max_code),
            tile.drain.raw.eq(d.raw),
            tile.drain.pixels.eq(results["pixels"]),
            tile.drain.column_tiles.eq(d.column_tiles),
            tile.drain.groups.eq(d.output_groups),
            tile.drain.pitch.eq(d.output_pitch),
            tile.store.address.eq(d.output_address),
            tile.store.rows.eq(d.output_rows),
            tile.store.row_bytes.eq(d.output_row_bytes),
            tile.store.row_stride.eq(d.output_row_stride),
            tile.store.row_words.eq(d.output_row_words),
        ]
        for name in (
            *("input_height", "input_width", "blocks", "tail", "kernel_height", "kernel_width"),
            *("pad_top", "pad_left", "block_count", "block_step", "column_tiles"),
        ):
            m.d.comb += tile.walk[name].eq(d[name])

    def _weight_blocks(self, d, depthwise, width):
        """Return the blocks of an array's tile, or the taps in a row of a depthwise kernel."""
        if not self.accelerator.depthwise_kernel:
            return d.block_count
        # Pixels in a single column follow each other as those of a row do: so do the taps.
        row = Mux(width == 1, d.kernel_height, d.kernel_width)
        return Mux(depthwise, row, d.block_count)


def _number(rule):
    return list(CHECKS).index(rule) + 1


class _Facts:
    """What a descriptor says without a multiplication, in registers: one cycle after it."""

    def __init__(self, m, array, accelerator, d):
        modes = array.modes
        row_bits, column_bits = exact_log2(array.rows), exact_log2(array.columns)
        self.depthwise = d.kind == 1
        self.mode = Signal(range(max(2, len(modes))), name="mode", reset_less=True)
        self.groups = Signal(COUNT_BITS, name="groups", reset_less=True)
        self.last_tile = Signal(COUNT_BITS, name="last_tile", reset_less=True)
        self.last_row = Signal(COUNT_BITS, name="last_row", reset_less=True)
        self.last_column = Signal(COUNT_BITS, name="last_column", reset_less=True)
        self.wide_rows = Signal(name="wide_rows", reset_less=True)
        m.d.sync += [
            self.last_tile.eq(d.column_tiles - 1),
            self.last_row.eq(d.output_height - 1),
            self.last_column.eq(d.output_width_pixels - 1),
            self.wide_rows.eq(d.output_row_bytes > d.output_row_words << column_bits),
        ]

        built, lanes, channels = Signal(name="built"), Signal(2, name="lanes"), Signal(3)
        parts, wide_lane = Signal(4, name="parts"), Signal(name="wide_lane")
        with m.Switch(d.mode):
            for index, mode in enumerate(modes):
                with m.Case(MODES.index(mode)):
                    m.d.comb += [
                        built.eq(1),
                        lanes.eq(Mux(self.depthwise, 0, exact_log2(mode.lanes))),
                        channels.eq(mode.channels),
                        parts.eq(max(0, exact_log2(mode.channels) + row_bits - column_bits)),
                        wide_lane.eq(array.accumulator_lane_bits(mode) > 32),
                    ]
                    m.d.sync += self.mode.eq(index)
        groups = Signal(COUNT_BITS + 2, name="all_groups")
        before = Signal(COUNT_BITS + 2, name="groups_before_last")
        m.d.comb += [
            groups.eq(d.column_tiles << lanes),
            before.eq((d.column_tiles - 1)[:COUNT_BITS] << lanes),
        ]
        m.d.sync += self.groups.eq(groups)

        widths = {width.bit_length() - 2 for width in array.activation_widths}
        width_built = Signal(name="width_built")
        with m.Switch(d.output_width):
            for width in sorted(widths):
                with m.Case(width):
                    m.d.comb += width_built.eq(1)
        # Bytes of a pixel's groups in eighths of C: codes take b, sums 32 or 64.
        slot = Signal(7, name="slot_bits")
        m.d.comb += slot.eq(Mux(d.raw == 0, C(2, 4) << d.output_width, C(16, 7) << d.raw))
        eighths = Signal(COUNT_BITS + 7, name="slot_eighths")
        with m.Switch(slot):
            for bits in (2, 4, 8, 32, 64):
                with m.Case(bits):
                    m.d.comb += eighths.eq(d.output_groups << exact_log2(bits))

        counted = (
            *("input_rows", "input_row_words", "input_height", "input_width", "blocks", "tail"),
            *("kernel_height", "kernel_width", "stride_y", "stride_x", "block_count"),
            *("column_tiles", "output_groups", "output_height", "output_width_pixels"),
            *("output_pitch", "output_rows", "output_row_bytes", "output_row_words"),
        )
        signed_built = {True: d.input_signed, False: ~d.input_signed}
        kernel = accelerator.depthwise_kernel
        self.broken = {
            "reserved": (d.as_value() & C(reserved_mask(), 8 * DESCRIPTOR_BYTES)).any(),
            "kind": d.kind > (1 if kernel else 0),
            "mode": ~built,
            "signedness": ~Cat(signed_built[s] for s in array.signednesses).any(),
            "output_width": ~width_built | (d.raw == 3) | ((d.raw == 1) & wide_lane),
            "input_address": _misplaced(d.input_address, row_bits)
            | d.input_row_stride[:row_bits].any(),
            "weights_address": _misplaced(d.weights_address, 6),
            "parameters_address": _misplaced(d.parameters_address, 6),
            "output_address": _misplaced(d.output_address, row_bits)
            | d.output_row_stride[:row_bits].any(),
            "counts": ~Cat(d[name].any() for name in counted).all(),
            "tail": d.tail > channels << row_bits,
            "parameters": groups > accelerator.parameter_groups,
            "groups": d.output_groups <= before,
            "pitch": eighths > d.output_pitch << 3,
            "depthwise": self.depthwise
            & (
                (d.kernel_height > kernel)
                | (d.kernel_width > kernel)
                | (d.block_count != 1)
                | d.block_step.any()
                | (d.column_tiles > d.blocks << parts)
            ),
            "size": d.output_row_bytes[24:].any(),
        }
        # Beyond these no product would tell.
        self.broken["output_rows"] = (
            d.output_rows[_OPERAND_BITS:].any() | d.output_row_words[_OPERAND_BITS:].any()
        )


def _misplaced(address, alignment_bits):
    return address[:alignment_bits].any() | address[ADDRESS_BITS:].any()
