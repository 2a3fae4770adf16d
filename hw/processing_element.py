"""Processing element: stationary weights, a multiplier and one step of the column's sum."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.lanes import add_lanes, lane_starts
from dybit.hw.mantissa_multiplier import MantissaMultiplier
from dybit.hw.mode import mode_shape
from dybit.hw.operand import activation_operand, weight_operand

__all__ = ["ProcessingElement", "flow_layout", "weights_layout"]


def flow_layout(array):
    """Return the layout of what flows right along a row of `array`.

    Fields: `operand`, the decoded activation word; `mode`, an index into ``array.modes``; `swap`,
    set on the first operand that meets the weights loaded last.
    """
    return data.StructLayout(
        {
            "operand": activation_operand(array).layout(),
            "mode": mode_shape(array),
            "swap": 1,
        }
    )


def weights_layout(array):
    """Return the layout of an element's decoded weights, byte k for activation lane k."""
    return data.StructLayout(
        {f"byte_{k}": weight_operand(array, k).layout() for k in range(array.word_bytes)}
    )


class ProcessingElement(wiring.Component):
    """One cell of the array: multiplies what passes by with its weights, adds to the column.

    Activations flow right and partial sums down, a register each. Weights are double-buffered:
    the next tile's come down the column from element to element into the shadow registers, and
    take effect with the operand that carries `swap`. They come bottom row first; an element takes
    part in a load only once the first word has reached it (`load` from above, `loaded` below), so
    the shadow of row r is disturbed r cycles after that of row 0, just behind the swap that
    empties it: a tile can load while the one before it still swaps in.

    Latency: `latency` cycles from `flow_i` to `psum_o`, 1 from `psum_i`
    to `psum_o` and from `flow_i` to `flow_o`. No stalls.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig

    Members
    -------
    flow_i, flow_o : In, Out(flow_layout(array))
        Activations from the left and to the right.
    psum_i, psum_o : In, Out(array.partial_sum_bits)
        Partial sums from above and to below, in the lanes of the mode.
    weights_i, weights_o : In, Out(weights_layout(array))
        Weights from above and to below.
    load : In(1)
        This element takes `weights_i` now if `enable` is set.
    loaded : Out(1)
        `weights_o` belongs to the load in progress, so the element below may take it.
    enable : In(1)
        A word of weights enters the column; the same signal for all its elements.
    """

    def __init__(self, array):
        self.array = array
        self._multiplier = MantissaMultiplier(array)
        super().__init__(
            {
                "flow_i": In(flow_layout(array)),
                "flow_o": Out(flow_layout(array)),
                "psum_i": In(array.partial_sum_bits),
                "psum_o": Out(array.partial_sum_bits),
                "weights_i": In(weights_layout(array)),
                "weights_o": Out(weights_layout(array)),
                "load": In(1),
                "loaded": Out(1),
                "enable": In(1),
            }
        )

    @property
    def latency(self):
        """Cycles from an activation to the partial sum it adds to."""
        return self._multiplier.latency + 2

    def offset(self, mode):
        """Return what the element adds to each lane of the partial sums above its products."""
        return self._multiplier.offset(mode)

    def elaborate(self, platform):
        m = Module()
        m.submodules.multiplier = multiplier = self._multiplier

        # The swap is reset; the rest means nothing before the first swap.
        flow = Signal(flow_layout(self.array), reset_less=True)
        swap = Signal()
        m.d.sync += [flow.eq(self.flow_i), swap.eq(self.flow_i.swap)]
        m.d.comb += [self.flow_o.eq(flow), self.flow_o.swap.eq(swap)]

        shadow = Signal(weights_layout(self.array), reset_less=True)
        active = Signal(weights_layout(self.array), reset_less=True)
        m.d.comb += self.weights_o.eq(shadow)
        with m.If(self.enable):
            m.d.sync += self.loaded.eq(self.load)
            with m.If(self.load):
                m.d.sync += shadow.eq(self.weights_i)
        with m.If(self.flow_i.swap):
            m.d.sync += active.eq(shadow)

        m.d.comb += [multiplier.activation.eq(flow.operand), multiplier.mode.eq(flow.mode)]
        for k in range(self.array.word_bytes):
            m.d.comb += getattr(multiplier, f"weight_{k}").eq(active[f"byte_{k}"])

        psum = Signal.like(self.psum_o, reset_less=True)
        starts = lane_starts(self.array, len(psum), multiplier.sums_mode)
        # An addition without carries in is one that fits the adder of a DSP block.
        carries = multiplier.carries if any(map(self.offset, self.array.modes)) else None
        m.d.sync += psum.eq(add_lanes(m, self.psum_i, multiplier.sums, starts, carries))
        m.d.comb += self.psum_o.eq(psum)

        return m
