"""The self-test: the matrix engine checks itself, with a clock and four pins around it."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.matrix_engine import MatrixEngine
from dybit.hw.mode import mode_case, mode_shape
from dybit.hw.port_register import PortRegister
from dybit.hw.random_source import RandomSource
from dybit.hw.requantizer import DSP48E2_BITS
from dybit.hw.self_test_report import SIGNATURE_BITS, SelfTestReport
from dybit.hw.self_test_sequencer import SelfTestSequencer
from dybit.hw.signature import Signature
from dybit.hw.uart import UartTransmitter

__all__ = ["SelfTest"]


class SelfTest(wiring.Component):
    """Runs the engine in every mode it has on random operands and compares signatures.

    The sums and the codes of a mode have a signature each, joined to one of 64 bits, the codes'
    above. A mode passes when it has the signature expected. After the last mode there is a pause,
    then everything begins again with the same operands. Each mode, and the whole, is reported on
    a serial line.

    Parameters
    ----------
    plan : dybit.hw.self_test_plan.SelfTestPlan
    signatures : sequence of int
        What each mode must give, 64 bits, in the order of ``array.modes``.
    bit_cycles : int
        Clock cycles of a bit on the serial line.
    pause_cycles : int
        Clock cycles between two tests, at least 1.
    factor_bits : int
        See `MatrixEngine`.

    Members
    -------
    inject : In(1)
        While it is 1, each mode that begins has one bit of its first sums inverted on their way
        to the signature. Synchronous.
    running : Out(1)
    passed, failed : Out(1)
        Verdict of the last complete test; both 0 before the first.
    tx : Out(1)
        Serial line, 8 data bits, no parity.

    Raises
    ------
    ValueError
        If there is not one signature a mode.
    """

    def __init__(self, plan, signatures, bit_cycles, pause_cycles, factor_bits=DSP48E2_BITS):
        if len(signatures) != len(plan.array.modes):
            raise ValueError(
                f"signatures must be {len(plan.array.modes)}, one a mode, not {len(signatures)}"
            )
        self.plan = plan
        self.signatures = tuple(signatures)
        self.bit_cycles = bit_cycles
        self.pause_cycles = pause_cycles
        self.factor_bits = factor_bits
        super().__init__(
            {
                "inject": In(1),
                "running": Out(1),
                "passed": Out(1),
                "failed": Out(1),
                "tx": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        array = self.plan.array
        m.submodules.engine = engine = MatrixEngine(array, factor_bits=self.factor_bits)
        sums, codes = engine.accumulators, engine.codes
        m.submodules.source = source = RandomSource(self.plan.word_bits)
        m.submodules.sums = sums_signature = Signature(len(sums.data.as_value()))
        m.submodules.codes = codes_signature = Signature(len(codes.data.as_value()))
        m.submodules.sequencer = sequencer = SelfTestSequencer(
            self.plan,
            engine,
            PortRegister.LATENCY + max(sums_signature.latency, codes_signature.latency),
        )
        m.submodules.report = report = SelfTestReport(array)
        m.submodules.uart = uart = UartTransmitter(self.bit_cycles)
        for name in ("activations", "weights", "parameters", "drain"):
            port = getattr(engine, name)
            register = m.submodules[f"{name}_register"] = PortRegister(port.signature.flip())
            wiring.connect(m, getattr(sequencer, name), register.i)
            wiring.connect(m, register.o, port)
        wiring.connect(m, report.o, uart.i)

        wrong = Signal()
        m.d.comb += [
            source.step.eq(sequencer.step),
            sequencer.word.eq(source.word),
            sums_signature.valid.eq(sums.valid),
            sums_signature.word.eq(sums.data.as_value() ^ wrong),
            codes_signature.valid.eq(codes.valid),
            codes_signature.word.eq(codes.data),
            self.tx.eq(uart.tx),
        ]
        with m.If(sums.valid):
            m.d.sync += wrong.eq(0)

        mode = Signal(mode_shape(array))
        right = Signal()
        every = Signal()
        pause = Signal(range(self.pause_cycles))
        signature = Signal(SIGNATURE_BITS)
        m.d.comb += [
            sequencer.mode.eq(mode),
            signature.eq(Cat(sums_signature.value, codes_signature.value)),
            report.i.payload.mode.eq(mode),
            report.i.payload.vectors.eq(sequencer.vectors),
            report.i.payload.signature.eq(signature),
            report.i.payload.passed.eq(right),
        ]
        with m.FSM() as states:
            with m.State("BEGIN"):
                m.d.comb += source.restart.eq(1)
                m.d.sync += [mode.eq(0), every.eq(1)]
                m.next = "START"
            with m.State("START"):
                m.d.comb += [
                    sequencer.start.eq(1),
                    sums_signature.clear.eq(1),
                    codes_signature.clear.eq(1),
                ]
                m.d.sync += wrong.eq(self.inject)
                m.next = "RUN"
            with m.State("RUN"), m.If(sequencer.done):
                m.next = "COMPARE"
            with m.State("COMPARE"):
                with m.Switch(mode):
                    for index, expected in enumerate(self.signatures):
                        with mode_case(m, array, index):
                            m.d.sync += right.eq(signature == expected)
                m.next = "REPORT"
            with m.State("REPORT"):
                m.d.comb += report.i.valid.eq(1)
                with m.If(report.i.ready):
                    m.d.sync += [mode.eq(mode + 1), every.eq(every & right)]
                    m.next = "START"
                    with m.If(mode == len(array.modes) - 1):
                        m.next = "VERDICT"
            with m.State("VERDICT"):
                m.d.comb += [
                    report.i.valid.eq(1),
                    report.i.payload.last.eq(1),
                    report.i.payload.passed.eq(every),
                ]
                with m.If(report.i.ready):
                    m.d.sync += [
                        self.passed.eq(every),
                        self.failed.eq(~every),
                        pause.eq(self.pause_cycles - 1),
                    ]
                    m.next = "PAUSE"
            with m.State("PAUSE"):
                m.d.sync += pause.eq(pause - 1)
                with m.If(~pause.any()):
                    m.next = "BEGIN"
        m.d.comb += self.running.eq(~states.ongoing("PAUSE"))
        return m
