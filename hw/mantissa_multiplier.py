"""Mixed-precision multiplier: the dot products of one processing element."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.floating_product import FloatingProduct
from dybit.hw.lane_number import lane_number
from dybit.hw.lanes import add
from dybit.hw.mode import mode_shape
from dybit.hw.operand import activation_operand, weight_operand
from dybit.hw.product_table import ProductTable
from dybit.hw.wide_multiplier import FloatingMultiplier

__all__ = ["MantissaMultiplier"]


@dataclass(frozen=True)
class _Term:
    """A number on its way to a lane's sum: ``-value`` where `sign` is 1, else ``value``."""

    value: Value
    sign: Value | None
    low: int
    high: int


class MantissaMultiplier(wiring.Component):
    """Multiplies the lanes of an activation operand with an element's weights.

    In a mode of weight width w and activation width a, output lane l is the sum over the 8/a
    activation lanes k of activation k times weight lane l of byte k. Two narrow lanes are looked
    up; a lane of 8 bits is multiplied in a DSP block or, where the array has none, in LUTs.

    Signs come last. A pair of products is added or subtracted as their signs differ or not, and
    the sign of the first is left to the adder of partial sums, which inverts the sum and takes a
    carry in. So that it need not extend a lane's sign, a lane's sum, but for the products of DSP
    blocks, leaves `offset` too large.

    Latency: `latency` cycles. Throughput: one operand a cycle; the mode may change every cycle.
    Exact; nothing rounds or overflows.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
        Modes, signedness, exponent limits and multiplier built, and the partial-sum width.

    Members
    -------
    mode : In
        Index into ``array.modes``.
    activation : In(activation_operand(array).layout())
        Decoded activation word.
    weight_<k> : In(weight_operand(array, k).layout())
        Decoded weights that meet activation lane k, one for each output lane.
    sums : Out(array.partial_sum_bits)
        Addend of the partial sums: the mode's output lanes, each
        ``array.partial_sum_lane_bits(mode)`` wide.
    carries : Out(array.max_lanes)
        To be added to lane l of the mode: bit ``l * array.max_lanes / lanes``.
    sums_mode : Out
        Mode of `sums`.
    """

    def __init__(self, array):
        self.array = array
        self._activations = activation_operand(array)
        self._weights = [weight_operand(array, byte) for byte in range(array.word_bytes)]
        members = {
            "mode": In(mode_shape(array)),
            "activation": In(self._activations.layout()),
            "sums": Out(array.partial_sum_bits),
            "carries": Out(array.max_lanes),
            "sums_mode": Out(mode_shape(array)),
        }
        for byte, weights in enumerate(self._weights):
            members[f"weight_{byte}"] = In(weights.layout())
        super().__init__(members)

    @property
    def latency(self):
        """Cycles from operands to sums."""
        return max(self._cycles(mode) for mode in self.array.modes)

    def offset(self, mode):
        """Return what is added to each lane's sum in `mode`, above the sum itself."""
        if self._linear and not _is_narrow(mode):
            return 0
        largest = self._largest_product(mode) * mode.channels
        return 1 << largest.bit_length()

    def elaborate(self, platform):
        m = Module()

        mode = self.mode
        for stage in range(1, self.latency + 1):
            last_mode, mode = mode, Signal.like(mode, name=f"mode_{stage}", reset_less=True)
            m.d.sync += mode.eq(last_mode)
        m.d.comb += self.sums_mode.eq(mode)

        wide = self._wide_terms(m)
        sums, carries = [], []
        for index, built in enumerate(self.array.modes):
            # A lane that is not in use adds nothing.
            active = last_mode == index if len(self.array.modes) > 1 else Const(1)
            word, carry_word = [], []
            for lane in range(built.lanes):
                terms = [
                    self._narrow_term(m, built, k, lane)
                    if _is_narrow(built)
                    else wide[k * built.lanes + lane]
                    for k in range(built.channels)
                ]
                term = self._dot_product(m, f"{built.name.lower()}_{lane}", built, terms, active)
                bits, carry = self._addend(built, term)
                word.append(bits)
                carry_word.append(Cat(carry, Const(0, self.array.max_lanes // built.lanes - 1)))
            sums.append(Cat(word))
            carries.append(Cat(carry_word))
        m.d.comb += [self.sums.eq(_any(sums)), self.carries.eq(_any(carries))]

        return m

    def _steps(self, mode):
        """Return what happens to a lane's products in `mode`, a cycle each: register or add."""
        levels = (mode.channels - 1).bit_length()
        # The first addition is in the cycle of a table or of a floating multiplier's last step; a
        # product of a DSP block gets the register there.
        registers_first = not levels or (self._linear and not _is_narrow(mode))
        return ["register"] * registers_first + ["add"] * levels

    def _cycles(self, mode):
        """Return the cycles that a mode takes by itself."""
        floating = not self._linear and not _is_narrow(mode)
        return len(self._steps(mode)) + FloatingMultiplier.LATENCY * floating

    @property
    def _linear(self):
        return self._activations.linear

    def _largest_product(self, mode):
        return self.array.max_activation(mode.activation_bits) * self.array.max_weight(
            mode.weight_bits
        )

    def _dot_product(self, m, name, mode, terms, active):
        """Return the sum of a lane's terms, registered, `latency` cycles after the operands."""
        steps = self._steps(mode) + ["register"] * (self.latency - self._cycles(mode))
        for stage, step in enumerate(steps):
            is_last = stage == len(steps) - 1
            if step == "add":
                terms = [_add(m, *pair) for pair in zip(terms[::2], terms[1::2], strict=True)]
            rest = (active, -self.offset(mode)) if is_last else None
            terms = [
                _register(m, f"{name}_{stage}_{i}", term, rest) for i, term in enumerate(terms)
            ]
        (term,) = terms
        return term

    def _addend(self, mode, term):
        """Return a lane of the addend of the partial sums, and the carry into it."""
        bits = self.array.partial_sum_lane_bits(mode)
        offset = self.offset(mode)
        if not offset:
            return _extend(term.value, bits), Const(0, 1)
        size = offset.bit_length()
        sign = Const(0, 1) if term.sign is None else term.sign
        value = _extend(term.value, size) ^ sign.replicate(size)
        return Cat(value[:-1], ~value[-1], Const(0, bits - size)), sign

    def _narrow_term(self, m, mode, k, lane):
        """Return the product of activation lane `k` and weight lane `lane`, by table."""
        a_bits, w_bits = mode.activation_bits, mode.weight_bits
        activation = self.activation[f"w{a_bits}"][k]
        weight = getattr(self, f"weight_{k}")[f"w{w_bits}"][lane]
        spec, w_spec = self._activations, self._weights[k]
        largest = self._largest_product(mode)
        # So few codes have room for their signs in the table.
        with_signs = len(activation.as_value()) + len(weight.as_value()) <= 5
        table = self._table(spec, w_spec, mode, with_signs)
        m.submodules[f"table_{mode.name.lower()}_{k}_{lane}"] = table
        m.d.comb += [
            table.a.eq(activation.as_value() if with_signs else activation.magnitude),
            table.b.eq(weight.as_value() if with_signs else weight.magnitude),
        ]
        if with_signs:
            return _Term(table.product, None, -largest, largest)
        return _Term(table.product, activation.sign ^ weight.sign, 0, largest)

    def _table(self, spec, w_spec, mode, with_signs):
        """Return the product of two narrow lanes."""
        a_bits, w_bits = mode.activation_bits, mode.weight_bits
        if self.array.run_time_limits and a_bits == w_bits == 4:
            largest = self._largest_product(mode)
            return FloatingProduct(spec.odd_bits, w_spec.odd_bits, largest)
        tables = [spec.lane_integers(a_bits), w_spec.lane_integers(w_bits)]
        if with_signs:
            tables = [[sign * x for x in table for sign in (1, -1)] for table in tables]
        return ProductTable(*tables)

    def _wide_terms(self, m):
        """Return the products of wide modes, number k * lanes + l for lanes k and l."""
        wide_modes = [mode for mode in self.array.modes if not _is_narrow(mode)]
        return [
            self._wide_term(m, number, [x for x in wide_modes if number < x.channels * x.lanes])
            for number in range(max((x.channels * x.lanes for x in wide_modes), default=0))
        ]

    def _wide_term(self, m, number, modes):
        """Return the product of one multiplier, which `modes` share."""
        activations, weights = [], []
        for mode in modes:
            k, lane = divmod(number, mode.lanes)
            a_bits, w_bits = mode.activation_bits, mode.weight_bits
            a = self.activation[f"w{a_bits}"][k]
            w = getattr(self, f"weight_{k}")[f"w{w_bits}"][lane]
            name = f"{mode.name.lower()}_{number}"
            a_largest = self.array.max_activation(a_bits)
            w_largest = self.array.max_weight(w_bits)
            lane = lane_number(m, f"{name}_a", a, a_bits, self._activations, a_largest)
            activations.append(lane)
            lane = lane_number(m, f"{name}_w", w, w_bits, self._weights[k], w_largest)
            weights.append(lane)
        a = self._by_mode(m, f"wide_a_{number}", modes, activations)
        w = self._by_mode(m, f"wide_w_{number}", modes, weights)
        largest = max(self._largest_product(mode) for mode in modes)
        if self._linear:
            # As wide as the block has it: only so is the sum of partial sums made in there too.
            product = a["integer"] * w["integer"]
            reach = 1 << len(product) - 1
            return _Term(product, None, -reach, reach - 1)
        # A narrow lane has no exponent.
        operands = self._activations, self._weights[0]
        multiplier = FloatingMultiplier(
            len(a["significand"]),
            len(w["significand"]),
            len(a["exponent"]),
            len(w["exponent"]),
            sum(spec.max_exponent for spec in operands if 8 in spec.widths),
            largest,
        )
        m.submodules[f"multiplier_{number}"] = multiplier
        for port, lane in ((multiplier.a, a), (multiplier.b, w)):
            m.d.comb += [getattr(port, f).eq(lane[f]) for f in port.shape().members]
        sign = a["sign"] ^ w["sign"]
        for stage in range(multiplier.LATENCY):
            delayed = Signal(name=f"wide_sign_{number}_{stage}", reset_less=True)
            m.d.sync += delayed.eq(sign)
            sign = delayed
        return _Term(multiplier.product, sign, 0, largest)

    def _by_mode(self, m, name, modes, lanes):
        """Return the fields of the lane of the mode in force, one of `modes`."""
        if len(lanes) == 1:
            return lanes[0]
        chosen = {}
        for field in lanes[0]:
            values = [Value.cast(lane[field]) for lane in lanes]
            width = max(len(value) for value in values)
            shape = Shape(width, signed=field == "integer")
            chosen[field] = Signal(shape, name=f"{name}_{field}")
            with m.Switch(self.mode):
                for mode, value in zip(modes, values, strict=True):
                    index = self.array.modes.index(mode)
                    with m.Default() if mode == modes[-1] else m.Case(index):
                        m.d.comb += chosen[field].eq(value)
        return chosen


def _is_narrow(mode):
    """Return whether both operands of `mode` are codes of a product table."""
    return mode.weight_bits < 8 and mode.activation_bits < 8


def _add(m, first, second):
    """Return the sum of two terms, with the sign of the first."""
    if first.sign is None:
        return _Term(
            first.value + second.value, None, first.low + second.low, first.high + second.high
        )
    differ = Signal(name="differ")
    m.d.comb += differ.eq(first.sign ^ second.sign)
    low, high = min(second.low, -second.high), max(second.high, -second.low)
    low, high = first.low + low, first.high + high
    bits = _signed_bits(low, high)
    # To negate the second is to invert it and to carry a 1 in.
    flipped = _extend(second.value, bits) ^ differ.replicate(bits)
    total = Signal(signed(bits), name="total")
    m.d.comb += total.eq(add(_extend(first.value, bits), flipped, differ))
    return _Term(total, first.sign, low, high)


def _register(m, name, term, rest):
    """Return a term a cycle later; where `rest` is (active, value), at that value if not active."""
    active, resting = rest if rest is not None else (Const(1), 0)
    bits = _signed_bits(min(term.low, resting), term.high)
    value = Signal(signed(bits), name=name, reset_less=True)
    sign = None if term.sign is None else Signal(name=f"{name}_sign", reset_less=True)
    taken = [value.eq(term.value)]
    rested = [value.eq(resting)]
    if sign is not None:
        taken.append(sign.eq(term.sign))
        rested.append(sign.eq(0))
    if isinstance(active, Const):
        m.d.sync += taken
    else:
        with m.If(active):
            m.d.sync += taken
        with m.Else():
            m.d.sync += rested
    return _Term(value, sign, term.low, term.high)


def _signed_bits(low, high):
    """Return the bits of a signed number from `low` to `high`."""
    return max((~low).bit_length() if low < 0 else low.bit_length(), high.bit_length()) + 1


def _extend(value, bits):
    """Return `value`, sign-extended or cut to `bits`, which hold it."""
    value = Value.cast(value)
    missing = bits - len(value)
    if missing <= 0:
        return value[:bits]
    top = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, top.replicate(missing))


def _any(words):
    """Return the bitwise or of words."""
    total = words[0]
    for word in words[1:]:
        total = total | word
    return total
