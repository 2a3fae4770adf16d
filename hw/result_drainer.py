"""Takes finished sums out of the accumulators, through the re-quantisers, to the output memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from dybit.hw.mode import mode_case, mode_shape
from dybit.hw.output_format import OutputFormat
from dybit.hw.requantizer import BIAS_BITS
from dybit.hw.tile import COUNT_BITS, Tile
from dybit.hw.width import Width

__all__ = ["QUARTERS", "ResultDrainer"]

QUARTERS = 4
"""Parts of an output word that are written apart: the codes of 2 bits of C channels fill one."""


class ResultDrainer(wiring.Component):
    """Drains column tile after column tile: pixel by pixel, each lane in turn.

    A group, the C channels of one lane, takes the part of an output word that its codes fill, or
    several words of raw sums, one a cycle. Groups that no lane has are written as zeros.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig
    latency : dict of str to int
        Of the matrix engine.

    Members
    -------
    clear : In(1)
        Forget everything.
    i : In(stream.Signature(Tile(array)["drain"].shape))
    summed : In(1)
        The last vectors of another column tile are on their way to the accumulators.
    stored : In(1)
        An output bank is free again.
    parameter_address : Out
        To the parameter memory, whose word goes to the engine in the next cycle, with
        `parameter_valid` and `parameter_lane`; the top bit is the bank.
    drain_valid, drain_address, drain_lane, drain_mode, drain_format : Out
        To the matrix engine.
    accumulators, codes : In
        From the matrix engine.
    write_enable, write_address, write_data : Out
        To the output memory; the address's top bit is the bank.
    half_freed : Out(1)
        The accumulators of a column tile have been asked for.
    parameters_freed : Out(1)
        The parameters of a tile have been used up.
    drained : Out(1)
        The output bank holds a tile's results.
    """

    def __init__(self, array, accelerator, latency):
        self.array = array
        self.accelerator = accelerator
        self.latency = latency
        super().__init__(
            {
                "clear": In(1),
                "i": In(stream.Signature(Tile(array)["drain"].shape)),
                "summed": In(1),
                "stored": In(1),
                "parameter_address": Out(range(2 * accelerator.parameter_groups)),
                "parameter_valid": Out(1),
                "parameter_lane": Out(range(max(2, array.max_lanes))),
                "drain_valid": Out(1),
                "drain_address": Out(range(max(2, array.accumulator_depth))),
                "drain_lane": Out(range(max(2, array.max_lanes))),
                "drain_mode": Out(mode_shape(array)),
                "drain_format": Out(OutputFormat),
                "accumulators": In(data.ArrayLayout(signed(BIAS_BITS), array.columns)),
                "codes": In(data.ArrayLayout(8, array.columns)),
                "write_enable": Out(QUARTERS),
                "write_address": Out(range(2 * accelerator.output_words)),
                "write_data": Out(8 * array.columns),
                "half_freed": Out(1),
                "parameters_freed": Out(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        tile = Signal.like(self.i.payload, reset_less=True)
        # What is summed may be drained a fixed time later.
        arriving = Signal(self.latency["accumulate"])
        column_tiles_ready = Signal(2)
        banks = Signal(2, init=2)
        take = Signal()
        take_bank = Signal()
        m.d.sync += [
            arriving.eq(Cat(self.summed, arriving)),
            column_tiles_ready.eq(column_tiles_ready + arriving[-1] - take),
            banks.eq(banks + self.stored - take_bank),
        ]

        lanes = Signal(range(self.array.max_lanes + 1))
        with m.Switch(tile.mode):
            for index, mode in enumerate(self.array.modes):
                with mode_case(m, self.array, index):
                    m.d.comb += lanes.eq(Mux(tile.single, 1, mode.lanes))

        units = range(QUARTERS * self.accelerator.output_words)
        half = Signal()
        bank = Signal()
        parameter_bank = Signal()
        column_tiles_left = Signal(COUNT_BITS, reset_less=True)
        groups_left = Signal(COUNT_BITS, reset_less=True)
        lane = Signal(COUNT_BITS)
        lane_end = Signal(COUNT_BITS, reset_less=True)
        fetched_lane = Signal(range(max(2, self.array.max_lanes)))
        group = Signal(range(self.accelerator.parameter_groups), reset_less=True)
        pixels_left = Signal(COUNT_BITS, reset_less=True)
        accumulator = Signal.like(self.drain_address, reset_less=True)
        part = Signal(3)  # word of a group of raw sums
        tile_unit = Signal(units, reset_less=True)
        pixel_unit = Signal(units, reset_less=True)
        unit = Signal(units, reset_less=True)
        wait = Signal(range(self.latency["codes"] + 1))

        # Quarters of a word from one write to the next, and writes of a group less one.
        step = Signal(3)
        last_part = Signal(3)
        group_units = Signal(8)
        with m.Switch(tile.raw):
            with m.Case(0):
                m.d.comb += [step.eq(C(1, 3) << tile.format.width.as_value()), group_units.eq(step)]
            for raw, words in ((1, 4), (2, 8)):
                with m.Case(raw):
                    m.d.comb += [
                        step.eq(QUARTERS),
                        last_part.eq(words - 1),
                        group_units.eq(QUARTERS * words),
                    ]

        last_column_tile = Signal()
        last_lane = Signal()
        request = Signal()
        m.d.comb += [
            last_column_tile.eq(column_tiles_left == 1),
            last_lane.eq(lane == lane_end),
            self.parameter_address.eq(Cat(group, parameter_bank)),
            self.drain_valid.eq(request),
            self.drain_address.eq(accumulator),
            self.drain_lane.eq(lane),
            self.drain_mode.eq(tile.mode),
            self.drain_format.eq(tile.format),
        ]
        reads_parameters = Signal()
        m.d.sync += [
            self.parameter_valid.eq(reads_parameters),
            self.parameter_lane.eq(fetched_lane),
        ]
        with m.FSM():
            with m.State("TAKE"), m.If(self.i.valid & banks.any()):
                m.d.comb += [self.i.ready.eq(1), take_bank.eq(1)]
                m.d.sync += [
                    tile.eq(self.i.payload),
                    column_tiles_left.eq(self.i.payload.column_tiles),
                    groups_left.eq(self.i.payload.groups),
                    group.eq(0),
                    tile_unit.eq(0),
                ]
                m.next = "WAIT"
            with m.State("WAIT"), m.If(column_tiles_ready.any()):
                m.d.comb += take.eq(1)
                m.d.sync += fetched_lane.eq(0)
                m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += reads_parameters.eq(1)
                m.d.sync += [fetched_lane.eq(fetched_lane + 1), group.eq(group + 1)]
                with m.If(fetched_lane == lanes - 1):
                    m.d.sync += [
                        lane.eq(0),
                        lane_end.eq(Mux(last_column_tile, groups_left, lanes) - 1),
                        part.eq(0),
                        pixels_left.eq(tile.pixels),
                        pixel_unit.eq(tile_unit),
                        unit.eq(tile_unit),
                        accumulator.eq(Mux(half, self.array.accumulator_depth // 2, 0)),
                    ]
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += request.eq(1)
                m.d.sync += [part.eq(part + 1), unit.eq(unit + step)]
                with m.If(part == last_part):
                    m.d.sync += [part.eq(0), lane.eq(lane + 1)]
                    with m.If(last_lane):
                        m.d.sync += [
                            lane.eq(0),
                            accumulator.eq(accumulator + 1),
                            pixels_left.eq(pixels_left - 1),
                            pixel_unit.eq(pixel_unit + (tile.pitch << exact_log2(QUARTERS))),
                            unit.eq(pixel_unit + (tile.pitch << exact_log2(QUARTERS))),
                        ]
                        with m.If(pixels_left == 1):
                            m.d.comb += self.half_freed.eq(1)
                            m.d.sync += [
                                half.eq(~half),
                                column_tiles_left.eq(column_tiles_left - 1),
                                groups_left.eq(groups_left - lanes),
                                tile_unit.eq(tile_unit + group_units * lanes),
                                wait.eq(self.latency["codes"]),
                            ]
                            m.next = "WAIT"
                            with m.If(last_column_tile):
                                m.d.comb += self.parameters_freed.eq(1)
                                m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.comb += self.drained.eq(1)
                    m.d.sync += [bank.eq(~bank), parameter_bank.eq(~parameter_bank)]
                    m.next = "TAKE"

        self._write(m, tile, Cat(unit, bank), (request, part, lane >= lanes))
        return ResetInserter(self.clear)(m)

    def _write(self, m, tile, address, request):
        """Write what comes of each request: sums early, codes late, never both in one tile."""
        valid, part, blank = request
        columns = self.array.columns
        layout = data.StructLayout({"unit": len(address), "part": 3, "blank": 1})
        asked = Signal(layout, name="asked_0")
        m.d.comb += [asked.unit.eq(address), asked.part.eq(part), asked.blank.eq(blank)]
        stages, valids = [asked], Signal(self.latency["codes"] + 1)
        m.d.comb += valids[0].eq(valid)
        for stage in range(1, self.latency["codes"] + 1):
            later = Signal(layout, name=f"asked_{stage}", reset_less=True)
            m.d.sync += [later.eq(stages[-1]), valids[stage].eq(valids[stage - 1])]
            stages.append(later)

        target = Signal(layout)
        enable = Signal()
        word = Signal(8 * columns)
        early = self.latency["accumulators"]
        with m.If(tile.raw == 0):
            m.d.comb += [target.eq(stages[-1]), enable.eq(valids[-1])]
        with m.Else():
            m.d.comb += [target.eq(stages[early]), enable.eq(valids[early])]
        quarter_bits = exact_log2(QUARTERS)
        quarter = target.unit[:quarter_bits]
        m.d.comb += [
            self.write_address.eq(target.unit[quarter_bits:]),
            self.write_data.eq(Mux(target.blank, 0, word)),
        ]
        codes = [self.codes[c] for c in range(columns)]
        with m.Switch(tile.raw):
            with m.Case(0), m.Switch(tile.format.width):
                for width in Width:
                    times = 8 // width.bits
                    with m.Case(width):
                        packed = Cat(code[: width.bits] for code in codes)
                        places = QUARTERS // times
                        m.d.comb += [
                            word.eq(packed.replicate(times)),
                            self.write_enable.eq(
                                enable.replicate(places) << (quarter & (QUARTERS - places))
                            ),
                        ]
            for raw, bits in ((1, 32), (2, 64)):
                with m.Case(raw):
                    sums = Cat(_extended(self.accumulators[c], bits) for c in range(columns))
                    m.d.comb += [
                        word.eq(sums.word_select(target.part, 8 * columns)),
                        self.write_enable.eq(enable.replicate(QUARTERS)),
                    ]


def _extended(value, bits):
    """Return a signed value in `bits` bits."""
    spare = bits - len(value)
    return Cat(value, value[-1].replicate(spare)) if spare > 0 else value[:bits]
