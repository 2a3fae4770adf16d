"""Mixed-precision multiplier: the dot products of one processing element."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.lanes import extend_lanes
from dybit.hw.mode import mode_case, mode_shape
from dybit.hw.operand import Signedness, magnitude_integer, operand_layout

__all__ = [
    "MantissaMultiplier",
    "ProductTable",
    "activation_layout",
    "weight_layout",
]


def activation_layout(array):
    """Return the layout of a decoded activation word of `array`."""
    widths = {mode.activation_bits for mode in array.modes}
    return operand_layout(widths, Signedness(array.activations))


def weight_layout(array, byte):
    """Return the layout of decoded weight byte `byte` of an element of `array`."""
    widths = {mode.weight_bits for mode in array.modes if mode.channels > byte}
    return operand_layout(widths, Signedness.SIGNED)


class ProductTable(wiring.Component):
    """The product of two narrow magnitudes, a function of their codes.

    At 4 x 4 bits a table of both codes is smaller than decoding and multiplying.

    Combinational.

    Parameters
    ----------
    a_integers, b_integers : sequence of int
        Integer of each code; the lengths are powers of two.

    Members
    -------
    a, b : In
        Magnitude codes.
    product : Out
        ``a_integers[a] * b_integers[b]``.
    """

    def __init__(self, a_integers, b_integers):
        self.a_integers = tuple(a_integers)
        self.b_integers = tuple(b_integers)
        for name, integers in (("a", self.a_integers), ("b", self.b_integers)):
            if len(integers) < 2 or len(integers) & (len(integers) - 1):
                raise ValueError(
                    f"{name}_integers must have a power of two of entries, not {len(integers)}"
                )
        largest = max(self.a_integers) * max(self.b_integers)
        super().__init__(
            {
                "a": In(range(len(self.a_integers))),
                "b": In(range(len(self.b_integers))),
                "product": Out(range(largest + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        with m.Switch(Cat(self.a, self.b)):
            for b, b_integer in enumerate(self.b_integers):
                for a, a_integer in enumerate(self.a_integers):
                    with m.Case(b * len(self.a_integers) + a):
                        m.d.comb += self.product.eq(a_integer * b_integer)
        return m


class MantissaMultiplier(wiring.Component):
    """Multiplies the lanes of an activation operand with an element's weights.

    In a mode of weight width w and activation width a, output lane l is the sum over the 8/a
    activation lanes k of activation k times weight lane l of byte k. Two 8-bit operands are
    multiplied as floating-point numbers are: significands multiplied, exponents added, the
    product shifted into place. A narrow lane that meets an 8-bit one enters as an integer; two
    narrow ones are looked up. Signs are applied last, in the sum.

    Latency: `latency` cycles, 3 with an 8-bit operand in any mode, else 2. Throughput: one
    operand a cycle; the mode may change every cycle. Exact; nothing rounds or overflows.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
        Modes, signedness and exponent limits built, and the partial-sum width.

    Members
    -------
    mode : In
        Index into ``array.modes``.
    activation : In(activation_layout(array))
        Decoded activation word.
    weight_<k> : In(weight_layout(array, k))
        Decoded weights that meet activation lane k, one for each output lane.
    sums : Out(array.partial_sum_bits)
        The mode's output lanes, signed, each ``array.partial_sum_lane_bits(mode)`` wide.
    sums_mode : Out
        Mode of `sums`.
    """

    def __init__(self, array):
        self.array = array
        self.has_shift = any(8 in (mode.weight_bits, mode.activation_bits) for mode in array.modes)
        members = {
            "mode": In(mode_shape(array)),
            "activation": In(activation_layout(array)),
            "sums": Out(array.partial_sum_bits),
            "sums_mode": Out(mode_shape(array)),
        }
        for byte in range(array.word_bytes):
            members[f"weight_{byte}"] = In(weight_layout(array, byte))
        super().__init__(members)

    @property
    def latency(self):
        """Cycles from operands to sums."""
        return 3 if self.has_shift else 2

    def elaborate(self, platform):
        m = Module()

        mode = self.mode
        for stage in range(1, self.latency + 1):
            delayed = Signal.like(mode, name=f"mode_{stage}", reset_less=True)
            m.d.sync += delayed.eq(mode)
            if stage == self.latency - 1:
                sum_mode = delayed
            mode = delayed
        m.d.comb += self.sums_mode.eq(mode)

        words = [self._lane_sums(m, built) for built in self.array.modes]
        sums = Signal.like(self.sums, reset_less=True)
        m.d.comb += self.sums.eq(sums)
        with m.Switch(sum_mode):
            for index, word in enumerate(words):
                with mode_case(m, self.array, index):
                    m.d.sync += sums.eq(word)

        return m

    def _lane_sums(self, m, mode):
        """Return the partial-sum word of `mode`: its lanes' dot products, sign-extended."""
        bits = (self._largest_product(mode) * mode.channels).bit_length() + 1
        lanes = []
        for lane in range(mode.lanes):
            total = Signal(signed(bits), name=f"{mode.name}_sum_{lane}", reset_less=True)
            # Products that need no shift are summed in the stage in which others are shifted.
            domain = m.d.sync if self.has_shift and _is_narrow(mode) else m.d.comb
            domain += total.eq(sum(self._term(m, mode, k, lane) for k in range(mode.channels)))
            lanes.append(total.as_unsigned())
        return extend_lanes(Cat(lanes), mode.lanes, bits, len(self.sums))

    def _largest_product(self, mode):
        return self.array.max_activation(mode.activation_bits) * self.array.max_weight(
            mode.weight_bits
        )

    def _term(self, m, mode, k, lane):
        """Return the signed product of activation lane `k` and weight lane `lane`, registered."""
        name = f"{mode.name}_{k}_{lane}"
        activation = self.activation[f"w{mode.activation_bits}"][k]
        weight = getattr(self, f"weight_{k}")[f"w{mode.weight_bits}"][lane]

        sign = Signal(name=f"{name}_sign", reset_less=True)
        m.d.sync += sign.eq(activation.sign ^ weight.sign)

        if _is_narrow(mode):
            table = ProductTable(
                self._activation_integers(mode.activation_bits),
                self._weight_integers(mode.weight_bits),
            )
            m.submodules[f"table_{mode.name.lower()}_{k}_{lane}"] = table
            m.d.comb += [table.a.eq(activation.magnitude), table.b.eq(weight.magnitude)]
            magnitude = Signal.like(table.product, name=f"{name}_product", reset_less=True)
            m.d.sync += magnitude.eq(table.product)
        else:
            a_significand, a_exponent = self._split(
                m, f"{name}_activation", activation, mode.activation_bits, self._activation_integers
            )
            w_significand, w_exponent = self._split(
                m, f"{name}_weight", weight, mode.weight_bits, self._weight_integers
            )
            product_bits = len(a_significand) + len(w_significand)
            product = Signal(product_bits, name=f"{name}_product", reset_less=True)
            exponent_sum = a_exponent + w_exponent
            exponent = Signal.like(exponent_sum, name=f"{name}_exponent", reset_less=True)
            m.d.sync += [
                product.eq(a_significand * w_significand),
                exponent.eq(exponent_sum),
            ]
            shape = range(self._largest_product(mode) + 1)
            magnitude = Signal(shape, name=f"{name}_aligned", reset_less=True)
            m.d.sync += magnitude.eq(product << exponent)
            aligned_sign = Signal(name=f"{name}_aligned_sign", reset_less=True)
            m.d.sync += aligned_sign.eq(sign)
            sign = aligned_sign

        # Two's complement by conditional inversion, the sign once more as the carry in.
        return (Cat(magnitude, Const(0, 1)) ^ sign.replicate(len(magnitude) + 1)).as_signed() + sign

    def _split(self, m, name, lane, bits, integers_of):
        """Return significand and exponent of a lane; a narrow lane is all significand."""
        if bits == 8:
            return lane.significand, lane.exponent
        integers = integers_of(bits)
        integer = Signal(range(max(integers) + 1), name=f"{name}_integer")
        with m.Switch(lane.magnitude):
            for code, value in enumerate(integers):
                with m.Case(code):
                    m.d.comb += integer.eq(value)
        return integer, Const(0, 1)

    def _activation_integers(self, bits):
        limit = self.array.activation_exponent_limit if bits == 4 else bits
        return _integers(Signedness(self.array.activations).magnitude_bits(bits), limit)

    def _weight_integers(self, bits):
        limit = self.array.weight_exponent_limit if bits == 4 else bits
        return _integers(Signedness.SIGNED.magnitude_bits(bits), limit)


def _is_narrow(mode):
    """Return whether both operands of `mode` are codes of a product table."""
    return mode.weight_bits < 8 and mode.activation_bits < 8


def _integers(magnitude_bits, limit):
    """Return the integer of each magnitude code."""
    return [magnitude_integer(code, magnitude_bits, limit) for code in range(1 << magnitude_bits)]
