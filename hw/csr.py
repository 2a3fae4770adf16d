"""Control and status registers: how a host starts the engine and learns what became of it."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.axi import LITE_BYTES, AXI4LiteSignature
from dybit.hw.event_counters import EventCounters
from dybit.hw.lite_port import LitePort
from dybit.hw.registers import COUNTERS, REGISTERS, Access

__all__ = ["Csr"]

_WORD_BITS = 8 * LITE_BYTES
_BY_NAME = {register.name: register for register in REGISTERS}
_CONSTANTS = [register.name for register in REGISTERS if register.access == Access.CONSTANT]


class Csr(wiring.Component):
    """The registers of `dybit.hw.registers`, with the start, end and interrupt of a run.

    Every access is answered OKAY: addresses without a register read 0, and writes to them and to
    registers that are only read are ignored.

    Latency: see `LitePort`; a counter is read up to 7 cycles later than another register, and an
    event is in it after the `latency` of `EventCounters`.

    Parameters
    ----------
    capabilities : dict of str to int
        Value of each constant register, as `dybit.hw.capabilities` makes it.

    Members
    -------
    axi : In(AXI4LiteSignature)
    interrupt : Out(1)
    start : Out(1)
        For one cycle: begin a run with `list_length` descriptors at `list_address`. Both stay as
        they are until the next start, whatever the host writes.
    done : In(1)
        For one cycle: the run has ended.
    busy : In(1)
        The engine takes no start; one is ignored, and reported.
    error, error_code, error_detail, error_descriptor : In
        When `error` is 1, what went wrong; the first one of a run is kept.
    count_cycles, count_vectors, .. : In(1)
        Events, by the lower-case names of the counters.

    Raises
    ------
    ValueError
        If `capabilities` are not those of the register map, or do not fit 32 bits.
    """

    def __init__(self, capabilities):
        if set(capabilities) != set(_CONSTANTS):
            raise ValueError(
                f"capabilities must be {', '.join(_CONSTANTS)}, not {', '.join(capabilities)}"
            )
        for name, value in capabilities.items():
            if value not in range(1 << _WORD_BITS):
                raise ValueError(f"capabilities[{name!r}] must be 32 bits, not {value!r}")
        self.capabilities = dict(capabilities)
        self.counters = EventCounters(len(COUNTERS))
        super().__init__(
            {
                "axi": In(AXI4LiteSignature()),
                "interrupt": Out(1),
                "start": Out(1),
                "list_address": Out(2 * _WORD_BITS),
                "list_length": Out(_WORD_BITS),
                "done": In(1),
                "busy": In(1),
                "error": In(1),
                "error_code": In(8),
                "error_detail": In(8),
                "error_descriptor": In(_WORD_BITS),
                **{f"count_{name.lower()}": In(1) for name, _ in COUNTERS},
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.port = port = LitePort()
        m.submodules.counters = counters = self.counters
        wiring.connect(m, wiring.flipped(self.axi), port.axi)
        m.d.comb += counters.clear.eq(self.start)
        for index, (name, _) in enumerate(COUNTERS):
            m.d.comb += counters.events[index].eq(getattr(self, f"count_{name.lower()}"))

        registers = {
            name: Signal(_layout(register), name=name.lower())
            for name, register in _BY_NAME.items()
            if name not in _CONSTANTS and not _is_counter(name)
        }
        self._control(m, port, registers)
        self._keep(m, port, registers)
        self._answer(m, port, counters, registers)
        return m

    def _control(self, m, port, registers):
        """Start, end and interrupt, as Vitis HLS has them."""
        control, status = registers["CTRL"], registers["STATUS"]
        enabled, enables, pending = registers["GIE"], registers["IER"], registers["ISR"]
        running = Signal()
        ended = Signal()
        m.d.comb += [
            control.ap_start.eq(running),
            control.ap_done.eq(ended),
            control.ap_ready.eq(ended),
            control.ap_idle.eq(~status.busy),
            control.interrupt.eq(self.interrupt),
            status.busy.eq(running | self.busy),
            self.interrupt.eq(enabled.enable & (pending.done | pending.ready)),
        ]

        m.d.sync += self.start.eq(0)
        with m.If(_writes(port, "CTRL") & port.write_data[0]):
            with m.If(status.busy):
                m.d.sync += status.start_while_busy.eq(1)
            with m.Else():
                m.d.sync += [
                    self.start.eq(1),
                    self.list_address.eq(Cat(registers["LIST_LOW"], registers["LIST_HIGH"])),
                    self.list_length.eq(registers["LIST_LENGTH"]),
                    running.eq(1),
                    status.start_while_busy.eq(0),
                    status.error.eq(0),
                    registers["ERROR"].eq(0),
                    registers["ERROR_DESCRIPTOR"].eq(0),
                ]
        with m.If(self.error & ~status.error):
            m.d.sync += [
                status.error.eq(1),
                registers["ERROR"].code.eq(self.error_code),
                registers["ERROR"].detail.eq(self.error_detail),
                registers["ERROR_DESCRIPTOR"].eq(self.error_descriptor),
            ]

        with m.If(port.read & port.read_ready & (port.read_address == _word("CTRL"))):
            m.d.sync += ended.eq(0)
        for name in ("done", "ready"):
            toggled = _writes(port, "ISR") & port.write_data[_BY_NAME["ISR"].field(name).low]
            risen = self.done & enables[name]
            m.d.sync += pending[name].eq((pending[name] ^ toggled) | risen)
        with m.If(self.done):
            m.d.sync += [ended.eq(1), running.eq(0)]

    def _keep(self, m, port, registers):
        """Registers that keep what is written to them."""
        for name, register in _BY_NAME.items():
            if register.access != Access.READ_WRITE:
                continue
            for field in register.fields:
                for byte in range(field.low // 8, (field.low + field.bits + 7) // 8):
                    low, high = max(8 * byte, field.low), min(8 * byte + 8, field.low + field.bits)
                    kept = registers[name][field.name][low - field.low : high - field.low]
                    with m.If(_writes(port, name, byte)):
                        m.d.sync += kept.eq(port.write_data[low:high])

    def _answer(self, m, port, counters, registers):
        """What is read. A counter's upper half is that of when its lower one was read."""
        upper = Signal(_WORD_BITS)
        waits = Signal()
        values = dict(registers)
        values |= {name: Const(value, _WORD_BITS) for name, value in self.capabilities.items()}
        first = _word(f"{COUNTERS[0][0]}_LOW")
        m.d.comb += [
            counters.address.eq((port.read_address - first)[1:]),
            port.read_ready.eq(~waits | counters.valid),
        ]
        with m.Switch(port.read_address):
            for name, value in values.items():
                with m.Case(_word(name)):
                    m.d.comb += port.read_data.eq(value)
            with m.Case(*(_word(f"{name}_HIGH") for name, _ in COUNTERS)):
                m.d.comb += port.read_data.eq(upper)
            with m.Case(*(_word(f"{name}_LOW") for name, _ in COUNTERS)):
                m.d.comb += [waits.eq(1), port.read_data.eq(counters.value)]
        with m.If(port.read & waits & counters.valid):
            m.d.sync += upper.eq(counters.value[_WORD_BITS:])


def _word(name):
    """Return a register's offset in words."""
    return _BY_NAME[name].offset // LITE_BYTES


def _is_counter(name):
    return name.rpartition("_")[0] in dict(COUNTERS)


def _layout(register):
    return data.FlexibleLayout(
        _WORD_BITS,
        {field.name: data.Field(field.bits, field.low) for field in register.fields},
    )


def _writes(port, name, byte=0):
    """Return whether byte `byte` of a register is being written."""
    return port.write & (port.write_address == _word(name)) & port.write_bytes[byte]
