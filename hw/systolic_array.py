"""Systolic array: rows of input channels by columns of output channels, weights stationary."""

from itertools import pairwise

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.decoders import decoder_of
from dybit.hw.edge_decoder import EdgeDecoder
from dybit.hw.mode import mode_case, mode_shape, mode_width
from dybit.hw.operand import activation_operand, weight_operand
from dybit.hw.pipeline import delay
from dybit.hw.processing_element import ProcessingElement, flow_layout, weights_layout

__all__ = ["ActivationsSignature", "PartialSumsSignature", "SystolicArray", "WeightsSignature"]


class ActivationsSignature(wiring.Signature):
    """One vector of activation words a cycle, without back-pressure.

    Members
    -------
    valid : the rest is a vector to compute with
    word : row r's packed codes, input channels ``r * 8/a ..`` of the vector
    keep : for each row, a bit a lane; a lane whose bit is 0 enters as the value 0
    mode : index into ``array.modes``
    signed : the codes are signed; matters where the array is built for both
    exponent_limit : limit on the exponent field of 8-bit codes, and of signed 4-bit ones where the
        array leaves it to run time
    swap : this vector is the first to meet the weights loaded last
    tag : handed on with the vector's partial sums
    """

    def __init__(self, array, tag_shape):
        members = {
            "valid": Out(1),
            "word": Out(data.ArrayLayout(8, array.rows)),
            "keep": Out(data.ArrayLayout(array.max_channels, array.rows)),
            "mode": Out(mode_shape(array)),
            "signed": Out(1),
            "exponent_limit": Out(4),
            "swap": Out(1),
            "tag": Out(tag_shape),
        }
        super().__init__(members)


class WeightsSignature(wiring.Signature):
    """One row of weights a transfer, the bottom row of a tile first.

    Members
    -------
    valid, ready : a row is transferred in each cycle in which both are 1
    word : for each column its packed weights; byte k meets activation lane k, and holds one code
        for each output lane, lane 0 in the least significant bits
    mode : index into ``array.modes``
    exponent_limit : limit on the exponent field of 8-bit codes, and of 4-bit ones where operands
        have theirs at run time
    """

    def __init__(self, array):
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "word": Out(data.ArrayLayout(data.ArrayLayout(8, array.word_bytes), array.columns)),
                "mode": Out(mode_shape(array)),
                "exponent_limit": Out(4),
            }
        )


class PartialSumsSignature(wiring.Signature):
    """The partial sums of one vector of activations.

    Members
    -------
    valid : the rest holds the sums of a vector
    sums : for each column its output lanes, signed, ``array.partial_sum_lane_bits(mode)`` each
    mode, tag : those of the vector
    """

    def __init__(self, array, tag_shape):
        super().__init__(
            {
                "valid": Out(1),
                "sums": Out(data.ArrayLayout(array.partial_sum_bits, array.columns)),
                "mode": Out(mode_shape(array)),
                "tag": Out(tag_shape),
            }
        )


class SystolicArray(wiring.Component):
    """Multiplies vectors of activations with a stationary tile of weights.

    Row r takes the activations of input channels r * 8/a and up, column c yields output channels
    c * 8/w and up. Decoders stand at the edges; registers skew the rows and de-skew the columns,
    so that a vector goes in in one cycle and its sums come out in one.

    Weights of the next tile load while the present one computes. A tile of R rows may begin in
    the cycle of the `swap` of the tile before it and must be complete in the cycle before its
    own. `weights.ready` is 0 while a complete tile waits for its swap. A swap without a complete
    tile computes with what has been loaded.

    Latency: `latency` cycles, R + C - 1 and that of an element. Throughput: one vector a
    cycle; the mode may change at any swap, without an idle cycle.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    tag_shape : ShapeLike
        Shape of what travels beside each vector.

    Members
    -------
    activations : In(ActivationsSignature(array, tag_shape))
    weights : In(WeightsSignature(array))
    partial_sums : Out(PartialSumsSignature(array, tag_shape))
    """

    def __init__(self, array, tag_shape=1):
        self.array = array
        self.elements = [
            [ProcessingElement(array) for _ in range(array.columns)] for _ in range(array.rows)
        ]
        super().__init__(
            {
                "activations": In(ActivationsSignature(array, tag_shape)),
                "weights": In(WeightsSignature(array)),
                "partial_sums": Out(PartialSumsSignature(array, tag_shape)),
            }
        )

    @property
    def latency(self):
        """Cycles from a vector of activations to its partial sums."""
        skew = self.array.rows - 1 + self.array.columns - 1
        return EdgeDecoder.LATENCY + skew + self.elements[0][0].latency

    def elaborate(self, platform):
        m = Module()
        for r, row in enumerate(self.elements):
            for c, element in enumerate(row):
                m.submodules[f"processing_element_{r}_{c}"] = element

        self._feed_activations(m)
        self._feed_weights(m)
        self._feed_partial_sums(m)
        for row in self.elements:
            for left, right in pairwise(row):
                m.d.comb += right.flow_i.eq(left.flow_o)
        for upper, lower in pairwise(self.elements):
            for above, below in zip(upper, lower, strict=True):
                m.d.comb += [
                    below.psum_i.eq(above.psum_o),
                    below.weights_i.eq(above.weights_o),
                ]

        for c, element in enumerate(self.elements[-1]):
            sums = delay(m, element.psum_o, self.array.columns - 1 - c, f"sums_{c}")
            m.d.comb += self.partial_sums.sums[c].eq(sums)
        delayed = {"valid": True, "mode": False, "tag": False}
        for name, reset in delayed.items():
            value = getattr(self.activations, name)
            m.d.comb += getattr(self.partial_sums, name).eq(
                delay(m, value, self.latency, name, reset=reset)
            )

        return m

    def _feed_activations(self, m):
        width = mode_width(m, self.array, self.activations.mode, "activation")
        for r, row in enumerate(self.elements):
            decoder = decoder_of(activation_operand(self.array))
            m.submodules[f"activation_decoder_{r}"] = decoder
            m.d.comb += [
                decoder.word.eq(self.activations.word[r]),
                decoder.keep.eq(self.activations.keep[r]),
                decoder.width.eq(width),
                decoder.is_signed.eq(self.activations.signed),
                decoder.exponent_limit.eq(self.activations.exponent_limit),
            ]
            flow = Signal(flow_layout(self.array), name=f"flow_{r}")
            swap = self.activations.valid & self.activations.swap
            latency = EdgeDecoder.LATENCY
            m.d.comb += [
                flow.operand.eq(delay(m, decoder.operand, r, f"operand_{r}")),
                flow.mode.eq(delay(m, self.activations.mode, r + latency, f"mode_{r}")),
                flow.swap.eq(delay(m, swap, r + latency, f"swap_{r}", reset=True)),
                row[0].flow_i.eq(flow),
            ]

    def _feed_partial_sums(self, m):
        """Start each column so far below 0 as its elements' offsets will take it up."""
        element = self.elements[0][0]
        word_bits = self.array.partial_sum_bits
        starts = []
        for mode in self.array.modes:
            bits = self.array.partial_sum_lane_bits(mode)
            start = -self.array.rows * element.offset(mode) & (1 << bits) - 1
            starts.append(sum(start << lane * bits for lane in range(mode.lanes)))
        for c, top in enumerate(self.elements[0]):
            mode = delay(m, top.flow_i.mode, element.latency - 1, f"start_mode_{c}")
            start = Signal(word_bits, name=f"start_{c}")
            with m.Switch(mode):
                for index, value in enumerate(starts):
                    with mode_case(m, self.array, index):
                        m.d.comb += start.eq(value)
            m.d.comb += top.psum_i.eq(start)

    def _feed_weights(self, m):
        rows_loaded = Signal(range(self.array.rows + 1))
        complete = rows_loaded == self.array.rows
        empty = ~rows_loaded.any()
        swap = self.activations.valid & self.activations.swap
        transfer = self.weights.valid & self.weights.ready
        m.d.comb += self.weights.ready.eq(~complete | swap)
        first = Signal()
        m.d.comb += first.eq(swap | empty)
        with m.If(swap):
            m.d.sync += rows_loaded.eq(transfer)
        with m.Elif(transfer):
            m.d.sync += rows_loaded.eq(rows_loaded + 1)

        width = mode_width(m, self.array, self.weights.mode, "weight")
        for c in range(self.array.columns):
            weights = Signal(weights_layout(self.array), name=f"weights_{c}")
            for k in range(self.array.word_bytes):
                decoder = decoder_of(weight_operand(self.array, k))
                m.submodules[f"weight_decoder_{k}_{c}"] = decoder
                m.d.comb += [
                    decoder.word.eq(self.weights.word[c][k]),
                    decoder.keep.eq(~0),
                    decoder.width.eq(width),
                    decoder.is_signed.eq(1),
                    decoder.exponent_limit.eq(self.weights.exponent_limit),
                    weights[f"byte_{k}"].eq(delay(m, decoder.operand, c, f"weights_{c}_{k}")),
                ]
            enable = delay(m, transfer, c + EdgeDecoder.LATENCY, f"enable_{c}", reset=True)
            starts = delay(m, first, c + EdgeDecoder.LATENCY, f"first_{c}", reset=True)
            above = None
            for row in self.elements:
                element = row[c]
                m.d.comb += element.enable.eq(enable)
                if above is None:
                    m.d.comb += [element.load.eq(1), element.weights_i.eq(weights)]
                else:
                    m.d.comb += element.load.eq(above.loaded & ~starts)
                above = element
