"""One tap of a depthwise convolution: multiplies, and adds to the sum on its way."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.lanes import add
from dybit.hw.number_decoder import number_layout
from dybit.hw.operand import activation_operand, weight_operand
from dybit.hw.pipeline import delay
from dybit.hw.wide_multiplier import FloatingMultiplier

__all__ = [
    "DepthwiseTap",
    "activation_number",
    "tap_activation_layout",
    "tap_latency",
    "weight_number",
]


def activation_number(array):
    """Return (operand, largest integer of each width) of what a tap's activations are made of."""
    spec = activation_operand(array)
    return spec, {bits: array.max_activation(bits) for bits in spec.widths}


def weight_number(array):
    """Return (operand, largest integer of each width) of what a tap's weights are made of."""
    spec = weight_operand(array, 0)
    return spec, {bits: array.max_weight(bits) for bits in spec.widths}


def tap_activation_layout(array):
    """Return the layout of a tap's activation: a number, and three times its significand."""
    number = number_layout(*activation_number(array)).members
    if "significand" in number:
        number["tripled"] = number["significand"] + 2
    return data.StructLayout(number)


def tap_latency(array):
    """Return the cycles from a tap's activation to the sum that it is in."""
    return 2 if activation_operand(array).linear else FloatingMultiplier.LATENCY + 1


class DepthwiseTap(wiring.Component):
    """Multiplies every activation with a weight and adds the product to a sum.

    A row of taps is a filter: all are given the same activation, and the sum goes from tap to
    tap, a cycle each, so that the tap before adds the activation before.

    As `multiplier` of the array says, a DSP block multiplies and adds, or a `FloatingMultiplier`.

    Latency: `tap_latency` cycles from `activation` to `sum_o`, 1 from `sum_i`. Throughput: one
    activation a cycle. No stalls.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    sum_bits : int
        Width of the sums, which hold what is added to them.

    Members
    -------
    activation : In(tap_activation_layout(array))
    weight : In(number_layout)
        Taken into use by `swap`.
    swap : In(1)
        The next activation is the first to meet `weight`.
    flush : In(1)
        Let `sum_o` be 0 in the next cycle.
    sum_i, sum_o : In, Out
    """

    def __init__(self, array, sum_bits):
        self.array = array
        super().__init__(
            {
                "activation": In(tap_activation_layout(array)),
                "weight": In(number_layout(*weight_number(array))),
                "swap": In(1),
                "flush": In(1),
                "sum_i": In(signed(sum_bits)),
                "sum_o": Out(signed(sum_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        weight = Signal.like(self.weight, reset_less=True)
        with m.If(self.swap):
            m.d.sync += weight.eq(self.weight)
        total = Signal.like(self.sum_o, reset_less=True)
        m.d.comb += self.sum_o.eq(total)
        if activation_operand(self.array).linear:
            # Both registers and the addition are a DSP block's own.
            product = Signal.like(self.activation.integer * weight.integer, reset_less=True)
            m.d.sync += [
                product.eq(self.activation.integer * weight.integer),
                total.eq(self.sum_i + product),
            ]
        else:
            m.d.sync += total.eq(self._add_floating(m, weight))
        with m.If(self.flush):
            m.d.sync += total.eq(0)
        return m

    def _add_floating(self, m, weight):
        """Return the sum with the product that a `FloatingMultiplier` makes."""
        (spec, _), (w_spec, _) = activation_number(self.array), weight_number(self.array)
        products = [
            self.array.max_activation(mode.activation_bits)
            * self.array.max_weight(mode.weight_bits)
            for mode in self.array.modes
        ]
        m.submodules.multiplier = multiplier = FloatingMultiplier(
            len(self.activation.significand),
            len(weight.significand),
            len(self.activation.exponent),
            len(weight.exponent),
            sum(each.max_exponent for each in (spec, w_spec) if 8 in each.widths),
            max(products),
        )
        for port, number in ((multiplier.a, self.activation), (multiplier.b, weight)):
            m.d.comb += [port[name].eq(number[name]) for name in port.shape().members]
        # To subtract the product is to invert it and to carry a 1 in.
        sign = delay(m, self.activation.sign ^ weight.sign, multiplier.LATENCY, "sign")
        bits = len(self.sum_i)
        product = Cat(multiplier.product, Const(0, bits - len(multiplier.product)))
        return add(self.sum_i, product ^ sign.replicate(bits), sign)
