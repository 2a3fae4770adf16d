"""Drives the matrix engine through the jobs of one mode of a self-test."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.mode import mode_shape
from dybit.hw.output_format import OutputFormat
from dybit.hw.requantizer import BIAS_BITS, MULTIPLIER_BITS, SHIFT_BITS
from dybit.hw.width import Width

__all__ = ["SelfTestSequencer"]

_SHIFT_RANDOM_BITS = 2
_LIMIT_BITS = 4


class SelfTestSequencer(wiring.Component):
    """Feeds random words to the engine's ports as `SelfTestPlan` says.

    The phases of a job follow each other; only a tile's load overlaps the vectors before it that
    are still in the array: the array is ready for one whenever that begins. After the last request
    of a job it waits until everything is out.

    Latency: a word is at the engine's ports in the cycle in which `step` takes it. All that goes
    with it comes from registers.

    Parameters
    ----------
    plan : SelfTestPlan
    engine : MatrixEngine
        Gives signatures and latencies.
    drain_latency : int
        Cycles after the last code until the results of a job may be looked at.

    Members
    -------
    start : In(1)
        Begin with the jobs of `mode`.
    mode : In
    done : Out(1)
        They have been done; for one cycle.
    step : Out(1)
        To the source: `word` is taken.
    word : In(plan.word_bits)
    vectors : Out(32)
        Vectors given since the start.
    activations, weights, parameters, drain : Out
        To the engine.
    """

    def __init__(self, plan, engine, drain_latency):
        self.plan = plan
        self.latency = engine.latency
        self.drain_latency = drain_latency
        members = engine.signature.members
        ports = ("activations", "weights", "parameters", "drain")
        super().__init__(
            {
                "start": In(1),
                "mode": In(mode_shape(plan.array)),
                "done": Out(1),
                "step": Out(1),
                "word": In(plan.word_bits),
                "vectors": Out(32),
                **{port: Out(members[port].signature.flip()) for port in ports},
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan, array = self.plan, self.plan.array
        turn = Signal(range(max(2, plan.rounds)))
        job = _JobRegister(array)
        job.load(m, plan, self.mode, turn)
        self._connect(m, job)

        waits = {
            "accumulate": self.latency["accumulate"],
            "codes": self.latency["codes"] + self.drain_latency,
        }
        wait = Signal(range(max(waits.values()) + 1))
        passed = Signal(range(max(2, plan.passes)))
        row = Signal(range(max(2, array.rows)))
        pixel = Signal(range(max(2, plan.pixels)))
        lane = Signal(range(max(2, array.max_lanes)))
        last_lane = lane == job.lanes - 1
        load, stream, scale, drain = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            self.step.eq(load | stream | scale),
            self.weights.valid.eq(load),
            self.activations.valid.eq(stream),
            self.activations.tag.address.eq(pixel),
            self.activations.tag.first.eq(passed == 0),
            self.activations.swap.eq(pixel == 0),
            self.parameters.valid.eq(scale),
            self.parameters.lane.eq(lane),
            self.drain.valid.eq(drain),
            self.drain.address.eq(pixel),
            self.drain.lane.eq(lane),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += turn.eq(0)
                with m.If(self.start):
                    m.d.sync += self.vectors.eq(0)
                    m.next = "SETUP"
            with m.State("SETUP"):
                m.d.sync += passed.eq(0)
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += load.eq(1)
                m.d.sync += row.eq(row + 1)
                with m.If(row == array.rows - 1):
                    m.d.sync += row.eq(0)
                    m.next = "STREAM"
            with m.State("STREAM"):
                m.d.comb += stream.eq(1)
                m.d.sync += [pixel.eq(pixel + 1), self.vectors.eq(self.vectors + 1)]
                with m.If(pixel == plan.pixels - 1):
                    m.d.sync += [pixel.eq(0), passed.eq(passed + 1)]
                    m.next = "LOAD"
                    with m.If(passed == plan.passes - 1):
                        m.d.sync += wait.eq(waits["accumulate"])
                        m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += scale.eq(1)
                m.d.sync += lane.eq(lane + 1)
                with m.If(last_lane):
                    m.d.sync += lane.eq(0)
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += drain.eq(1)
                m.d.sync += lane.eq(lane + 1)
                with m.If(last_lane):
                    m.d.sync += [lane.eq(0), pixel.eq(pixel + 1)]
                    with m.If(pixel == plan.pixels - 1):
                        m.d.sync += [pixel.eq(0), wait.eq(waits["codes"])]
                        m.next = "EMPTY"
            with m.State("EMPTY"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.sync += turn.eq(turn + 1)
                    m.next = "SETUP"
                    with m.If(turn == plan.rounds - 1):
                        m.d.comb += self.done.eq(1)
                        m.next = "IDLE"
        return m

    def _connect(self, m, job):
        """Give the engine the job's settings, and the word's bits as the plan places them."""
        plan, array, word = self.plan, self.plan.array, self.word
        keeps = array.rows * array.max_channels
        keep_bits = word[plan.keep_start :][: 2 * keeps]
        m.d.comb += [
            self.activations.word.eq(word),
            self.activations.keep.eq(Cat(keep_bits[2 * i :][:2].any() for i in range(keeps))),
            self.activations.mode.eq(job.mode),
            self.activations.signed.eq(job.signed),
            self.activations.exponent_limit.eq(job.activation_limit),
            self.weights.word.eq(word),
            self.weights.mode.eq(job.mode),
            self.weights.exponent_limit.eq(job.weight_limit),
            self.drain.mode.eq(job.mode),
            self.drain.format.eq(job.output_format),
        ]
        bias_sizes = sorted({each.bias_bits for mode in plan.jobs for each in mode})
        fields = MULTIPLIER_BITS + _SHIFT_RANDOM_BITS
        for column in range(array.columns):
            bits = plan.parameter_bits(column, 0, fields + bias_sizes[-1])
            window = Cat(word[bit] for bit in bits)
            m.d.comb += [
                self.parameters.multiplier[column].eq(
                    Mux(job.is_power, 1 << MULTIPLIER_BITS - 1, window[:MULTIPLIER_BITS])
                ),
                self.parameters.shift[column].eq(job.shift + window[MULTIPLIER_BITS:fields]),
            ]
            bias = self.parameters.bias[column]
            with m.Switch(job.bias_bits):
                for size in filter(None, bias_sizes):
                    with m.Case(size):
                        m.d.comb += bias.eq(window[fields:][:size].as_signed())


class _JobRegister:
    """Settings of the job at hand: a table of the plan's, read into registers."""

    def __init__(self, array):
        shapes = {
            "mode": mode_shape(array),
            "lanes": range(array.max_lanes + 1),
            "signed": 1,
            "activation_limit": _LIMIT_BITS,
            "weight_limit": _LIMIT_BITS,
            "output_format": OutputFormat,
            "shift": SHIFT_BITS,
            "is_power": 1,
            "bias_bits": range(BIAS_BITS),
        }
        for name, shape in shapes.items():
            setattr(self, name, Signal(shape, name=f"job_{name}", reset_less=True))

    def load(self, m, plan, mode, turn):
        with m.Switch(Cat(turn, mode)):
            for jobs in plan.jobs:
                for index, job in enumerate(jobs):
                    with m.Case(index | job.mode << len(turn)):
                        m.d.sync += [
                            self.mode.eq(job.mode),
                            self.lanes.eq(plan.array.modes[job.mode].lanes),
                            self.signed.eq(job.activation_format.signed),
                            self.activation_limit.eq(_limit(job.activation_format)),
                            self.weight_limit.eq(_limit(job.weight_format)),
                            self.output_format.width.eq(Width.of(job.output_format.bits)),
                            self.output_format.signed.eq(job.output_format.signed),
                            self.output_format.exponent_limit.eq(_limit(job.output_format)),
                            self.output_format.relu.eq(job.relu),
                            self.output_format.max_code.eq(job.max_code),
                            self.shift.eq(job.shift),
                            self.is_power.eq(job.is_power),
                            self.bias_bits.eq(job.bias_bits),
                        ]


def _limit(fmt):
    """Return the exponent limit for a port; formats without one do not look at it."""
    return getattr(fmt, "exponent_limit", 0)
