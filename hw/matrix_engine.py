"""Matrix engine: systolic array, accumulators and re-quantisers, one after the other."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.accumulator import Accumulator
from dybit.hw.encoder import Encoder
from dybit.hw.esb_encoder import ESBEncoder
from dybit.hw.mode import mode_shape
from dybit.hw.output_format import OutputFormat
from dybit.hw.requantizer import (
    BIAS_BITS,
    DSP48E2_BITS,
    MULTIPLIER_BITS,
    SHIFT_BITS,
    Requantizer,
)
from dybit.hw.systolic_array import (
    ActivationsSignature,
    PartialSumsSignature,
    SystolicArray,
    WeightsSignature,
)

__all__ = ["MatrixEngine", "accumulator_tag", "array_encoder"]


def array_encoder(array):
    """Return an encoder of the codes that activations of `array` may have."""
    if array.family == "esb":
        return ESBEncoder([array.activation_format(bits, True) for bits in array.activation_widths])
    return Encoder(array.activation_widths)


def accumulator_tag(array):
    """Return the layout of what goes with partial sums: the accumulator they are added to."""
    return data.StructLayout({"address": range(max(2, array.accumulator_depth)), "first": 1})


class MatrixEngine(wiring.Component):
    """Multiplies matrices of codes tile by tile and re-quantises the sums.

    Three independent flows, each with a port of its own: weights load, activations stream and
    add up in the accumulators, finished accumulators drain through one re-quantiser a column.
    While one half of the accumulators drains, the other can fill. Whoever drives the ports keeps
    two rules: an accumulator is added to again, or drained, no sooner than
    ``Accumulator.REVISIT`` cycles after a vector reached it; the parameters of a lane stay as
    they are until its codes have come out.

    Latency: `latency` gives the cycles of each flow. Throughput: one vector of activations, one
    row of weights and one lane of every column a cycle. No stalls.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    further_sums : bool
        Partial sums come from elsewhere, too.
    factor_bits : int
        Widest unsigned operand of one of the FPGA's multipliers, for the re-quantisers.

    Members
    -------
    activations : In(ActivationsSignature)
        Vectors; the tag is the accumulator's `address` and `first`, which overwrites it.
    weights : In(WeightsSignature)
    parameters : In
        Re-quantisation of lane `lane` of every column: `bias`, `multiplier`, `shift`.
    drain : In
        Reads lane `lane` of word `address` of every column and encodes it in `format`, whose
        width is one of ``array.activation_widths``; ESB looks at no exponent limit.
    accumulators : Out
        The lanes that `drain` named, sign-extended to 48 bits a column whatever the build.
    codes : Out
        Their codes, 8 bits a column.
    further_sums : In(PartialSumsSignature), only with `further_sums`
        Partial sums besides the array's; never in a cycle in which those arrive.
    """

    def __init__(self, array, further_sums=False, factor_bits=DSP48E2_BITS):
        self.array = array
        self.factor_bits = factor_bits
        self.systolic_array = SystolicArray(array, accumulator_tag(array))
        lane_shape = range(max(2, array.max_lanes))
        parameters = wiring.Signature(
            {
                "valid": Out(1),
                "lane": Out(lane_shape),
                "bias": Out(data.ArrayLayout(signed(BIAS_BITS), array.columns)),
                "multiplier": Out(data.ArrayLayout(MULTIPLIER_BITS, array.columns)),
                "shift": Out(data.ArrayLayout(SHIFT_BITS, array.columns)),
            }
        )
        drain = wiring.Signature(
            {
                "valid": Out(1),
                "address": Out(range(max(2, array.accumulator_depth))),
                "lane": Out(lane_shape),
                "mode": Out(mode_shape(array)),
                "format": Out(OutputFormat),
            }
        )
        partial_sums = PartialSumsSignature(array, accumulator_tag(array))
        further = {"further_sums": In(partial_sums)} if further_sums else {}
        super().__init__(
            {
                "activations": In(ActivationsSignature(array, accumulator_tag(array))),
                "weights": In(WeightsSignature(array)),
                "parameters": In(parameters),
                "drain": In(drain),
                "accumulators": Out(_columns_signature(array, signed(BIAS_BITS))),
                "codes": Out(_columns_signature(array, 8)),
                **further,
            }
        )

    @property
    def latency(self):
        """Cycles from a vector to its partial sums (`array`) and to an accumulator that can be
        drained (`accumulate`), from a drain request to `accumulators` and to `codes`, and from
        one addition to an accumulator to the next (`revisit`).
        """
        return {
            "array": self.systolic_array.latency,
            "accumulate": self.systolic_array.latency + Accumulator.REVISIT,
            "revisit": Accumulator.REVISIT,
            "accumulators": Accumulator.READ_LATENCY,
            "codes": Accumulator.READ_LATENCY + Requantizer.LATENCY,
        }

    def elaborate(self, platform):
        m = Module()
        m.submodules.systolic_array = systolic_array = self.systolic_array
        wiring.connect(m, wiring.flipped(self.activations), systolic_array.activations)
        wiring.connect(m, wiring.flipped(self.weights), systolic_array.weights)
        partial_sums = systolic_array.partial_sums
        if "further_sums" in self.signature.members:
            partial_sums = self._either(m, partial_sums, self.further_sums)

        drain_valid, drain_lane, drain_format = self.drain.valid, self.drain.lane, self.drain.format
        for stage in range(1, Accumulator.READ_LATENCY + 1):
            valid = Signal(name=f"drain_valid_{stage}")
            lane = Signal.like(drain_lane, name=f"drain_lane_{stage}", reset_less=True)
            format_ = Signal(OutputFormat, name=f"drain_format_{stage}", reset_less=True)
            m.d.sync += [valid.eq(drain_valid), lane.eq(drain_lane), format_.eq(drain_format)]
            drain_valid, drain_lane, drain_format = valid, lane, format_
        m.d.comb += self.accumulators.valid.eq(drain_valid)

        bits = self.array.requantizer_bits
        for c in range(self.array.columns):
            m.submodules[f"accumulator_{c}"] = accumulator = Accumulator(self.array)
            m.d.comb += [
                accumulator.valid.eq(partial_sums.valid),
                accumulator.sums.eq(partial_sums.sums[c]),
                accumulator.mode.eq(partial_sums.mode),
                accumulator.address.eq(partial_sums.tag.address),
                accumulator.first.eq(partial_sums.tag.first),
                accumulator.read_address.eq(self.drain.address),
                accumulator.read_lane.eq(self.drain.lane),
                accumulator.read_mode.eq(self.drain.mode),
                self.accumulators.data[c].eq(accumulator.lane),
            ]

            m.submodules[f"requantizer_{c}"] = requantizer = Requantizer(
                bits, bits, array_encoder(self.array), self.factor_bits
            )
            parameters = self._parameters(m, c, drain_lane)
            m.d.comb += [
                requantizer.i.valid.eq(drain_valid),
                requantizer.i.payload.accumulator.eq(accumulator.lane),
                requantizer.i.payload.bias.eq(parameters.bias),
                requantizer.i.payload.multiplier.eq(parameters.multiplier),
                requantizer.i.payload.shift.eq(parameters.shift),
                requantizer.i.payload.output_format.eq(drain_format),
                requantizer.o.ready.eq(1),
                self.codes.data[c].eq(requantizer.o.payload),
            ]
            if c == 0:
                m.d.comb += self.codes.valid.eq(requantizer.o.valid)

        return m

    def _either(self, m, sums, further):
        """Return what arrives, of partial sums that never do so in one cycle."""
        either = PartialSumsSignature(self.array, accumulator_tag(self.array)).create()
        for name in ("sums", "mode", "tag"):
            m.d.comb += getattr(either, name).eq(getattr(sums, name))
            with m.If(further.valid):
                m.d.comb += getattr(either, name).eq(getattr(further, name))
        m.d.comb += either.valid.eq(sums.valid | further.valid)
        return either

    def _parameters(self, m, column, lane):
        """Hold the re-quantisation parameters of `column`, a register a lane; return `lane`'s."""
        # A bias that the array's layers may have fits the sum it goes into.
        bias = signed(self.array.requantizer_bits)
        layout = data.StructLayout(
            {"bias": bias, "multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS}
        )
        selected = Signal(layout, name=f"parameters_{column}")
        for index in range(self.array.max_lanes):
            held = Signal(layout, name=f"parameters_{column}_{index}", reset_less=True)
            with m.If(self.parameters.valid & (self.parameters.lane == index)):
                m.d.sync += [
                    held.bias.eq(self.parameters.bias[column]),
                    held.multiplier.eq(self.parameters.multiplier[column]),
                    held.shift.eq(self.parameters.shift[column]),
                ]
            with m.If(lane == index):
                m.d.comb += selected.eq(held)
        return selected


def _columns_signature(array, shape):
    return wiring.Signature({"valid": Out(1), "data": Out(data.ArrayLayout(shape, array.columns))})
