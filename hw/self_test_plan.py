"""What the self-test computes, as data: jobs, their sizes, and how words become operands.

The gateware follows it and the model that knows the right answer follows it too. It says what is
computed, not how; everything pseudo-random comes from the words of `hw.random_source`.
"""

import math
from dataclasses import dataclass

from dybit.quant.config import ConfigError
from dybit.quant.formats import DyBit, SignMagnitude

__all__ = ["Job", "SelfTestPlan"]

_PASSES = 2
_PIXELS = 64
_BIAS_BITS = 32
_ESB_TAIL = 4


@dataclass(frozen=True, slots=True)
class Job:
    """A matrix product of random operands, re-quantised.

    Members
    -------
    mode : int
        Index into ``array.modes``.
    activation_format, weight_format, output_format : SignMagnitude
    relu : bool
    max_code : int
    shift : int
        Least shift of a channel; its word adds 0 to 3.
    is_power : bool
        Multipliers are 2^15 in place of random: then results lie midway between two codes.
    bias_bits : int
        Low bits of a channel's word that are its bias, two's complement.
    """

    mode: int
    activation_format: SignMagnitude
    weight_format: SignMagnitude
    output_format: SignMagnitude
    relu: bool
    max_code: int
    shift: int
    is_power: bool
    bias_bits: int


class SelfTestPlan:
    """The jobs of every mode of an array.

    Each step takes the next word of the source, in this order:

    - for each of `passes`: `rows` words of weights, the bottom row first, and `pixels` vectors;
    - a word for each lane of the mode: what re-quantises it in every column.

    In a word, from bit 0: weights are the ``weights.word`` of the engine. A vector is the
    ``activations.word``, then two bits for each bit of ``keep``, which is their or. The
    parameters of column c begin at bit 8 c, and go on at bit 0 where the word ends: 16 bits of
    multiplier, 2 of shift, then the bias.

    Parameters
    ----------
    array : dybit.quant.array_config.ArrayConfig
    rounds : int
        Jobs of a mode.

    Raises
    ------
    ConfigError
        If the array is too small to hold a tile.
    """

    def __init__(self, array, rounds=16):
        if rounds < 1:
            raise ValueError(f"rounds must be at least 1, not {rounds!r}")
        shortest = array.rows * array.max_channels
        if array.max_reduction < shortest:
            raise ConfigError(
                f"array.max_reduction: {array.max_reduction} is not allowed; "
                f"must be at least {shortest}, a full column, for a self-test"
            )
        if array.accumulator_depth < 4:
            raise ConfigError(
                f"array.accumulator_depth: {array.accumulator_depth} is not allowed; "
                "must be at least 4 for a self-test"
            )
        self.array = array
        self.rounds = rounds
        self.passes = min(_PASSES, array.max_reduction // shortest)
        self.pixels = min(_PIXELS, array.accumulator_depth)
        keeps = array.rows * array.max_channels
        self.keep_start = 8 * array.rows
        bits = max(self.keep_start + 2 * keeps, 8 * array.word_bytes * array.columns, 64)
        self.word_bits = -(-bits // 32) * 32
        self.jobs = tuple(
            tuple(self._job(index, turn) for turn in range(rounds))
            for index in range(len(array.modes))
        )

    @property
    def vectors(self):
        """Vectors of a mode."""
        return self.rounds * self.passes * self.pixels

    def parameter_bits(self, column, first, count):
        """Return the places in a word of so many bits of the parameters of `column`."""
        return [(8 * column + first + bit) % self.word_bits for bit in range(count)]

    def _job(self, index, turn):
        """Return a job: formats take turns, so that every field of a format changes."""
        array, mode = self.array, self.array.modes[index]
        signed = array.signednesses[turn % len(array.signednesses)]
        activation = array.activation_format(
            mode.activation_bits, signed, 1 + turn % (mode.activation_bits - signed)
        )
        weight = array.weight_format(mode.weight_bits, 1 + turn % (mode.weight_bits - 1))
        output_bits = array.activation_widths[-1 - turn % len(array.activation_widths)]
        output = self._output(output_bits, turn)
        largest_code = (1 << output.magnitude_bits) - 1
        terms = self.passes * array.rows * mode.channels

        largest = activation.max_integer * weight.max_integer * terms
        room = min((1 << array.requantizer_bits - 1) - 1 - largest, largest)
        spread = _typical(activation) * _typical(weight) * math.sqrt(terms)
        bias_bits = min(_BIAS_BITS, max(0, room).bit_length(), int(spread).bit_length())
        return Job(
            mode=index,
            activation_format=activation,
            weight_format=weight,
            output_format=output,
            relu=turn % 4 == 3,
            max_code=largest_code if turn % 4 != 2 else max(1, largest_code * 5 // 8),
            # Shifts that leave most results within the format, and take some beyond it.
            shift=max(0, round(math.log2(spread * 2**16 / output.max_integer)) - 2),
            is_power=turn % 2 == 1,
            bias_bits=bias_bits,
        )

    def _output(self, bits, turn):
        if self.array.family == "esb":
            return self.array.activation_format(bits, True)
        signed = turn % 3 != 1
        return DyBit(bits, signed, 1 + turn % (bits - signed))


def _typical(fmt):
    """Return the size of a random code's integer: the longer the tail, the fewer are large."""
    limit = fmt.exponent_limit if isinstance(fmt, DyBit) else _ESB_TAIL
    return fmt.max_integer / 2 ** ((limit - 1) / 2)
