"""Small designs that use what the emitter must carry over: a level of hierarchy each."""

from amaranth import *
from amaranth.lib import data, enum, memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Bank", "Counter", "Interrupting", "Mixer", "Names", "OwnDomain", "Product", "States"]


class Operation(enum.Enum, shape=2):
    ADD = 0
    SUBTRACT = 1
    MULTIPLY = 2
    HOLD = 3


class Counter(wiring.Component):
    """Counts by a signed step while enabled."""

    def __init__(self, bits):
        self.bits = bits
        super().__init__({"enable": In(1), "step": In(signed(4)), "count": Out(signed(bits))})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.enable):
            m.d.sync += self.count.eq(self.count + self.step)
        return m


class Product(wiring.Component):
    """Multiplies, adds or subtracts two fields of a signed sum, switched at run time."""

    a: In(signed(8))
    b: In(signed(8))
    operation: In(Operation)
    o: Out(data.StructLayout({"sum": signed(17), "odd": 1}))

    def elaborate(self, platform):
        m = Module()
        result = Signal(signed(17))
        with m.Switch(self.operation):
            with m.Case(Operation.ADD):
                m.d.comb += result.eq(self.a + self.b)
            with m.Case(Operation.SUBTRACT):
                m.d.comb += result.eq(self.a - self.b)
            with m.Case(Operation.MULTIPLY):
                m.d.comb += result.eq(self.a * self.b)
            with m.Default():
                m.d.comb += result.eq(self.o.sum)
        m.d.sync += [self.o.sum.eq(result), self.o.odd.eq(result[0])]
        return m


class Bank(wiring.Component):
    """Two counters, one fed by the other, and a memory of what they said."""

    def __init__(self, bits):
        self.bits = bits
        super().__init__(
            {"enable": In(1), "address": In(3), "step": In(signed(4)), "o": Out(signed(bits))}
        )

    def elaborate(self, platform):
        m = Module()
        for index in range(2):
            m.submodules[f"counter_{index}"] = counter = Counter(self.bits)
            m.d.comb += counter.enable.eq(self.enable)
            if index == 0:
                m.d.comb += counter.step.eq(self.step)
                first = counter
            else:
                # Its step is an expression, and its upper neighbour's output a slice.
                m.d.comb += counter.step.eq(first.count[:3] + 1)
        m.submodules.words = words = memory.Memory(shape=signed(self.bits), depth=8, init=[3, -2])
        behind = Signal(3, init=5)  # an alias of the port, with a register's initial value
        m.d.sync += behind.eq(self.address + 1)
        write = words.write_port()
        read = words.read_port()
        m.d.comb += [
            write.en.eq(self.enable),
            write.addr.eq(self.address),
            write.data.eq(counter.count),
            read.addr.eq(behind),
            self.o.eq(read.data),
        ]
        return m


class Mixer(wiring.Component):
    """Banks of two widths, products, one part under an enable of its own and a plain module."""

    a: In(16)
    operation: In(Operation)
    enable: In(1)
    o: Out(data.ArrayLayout(signed(20), 4))
    sum: Out(70)

    def elaborate(self, platform):
        m = Module()
        halves = [self.a[:8].as_signed(), self.a[8:].as_signed()]
        for index, bits in enumerate((9, 9, 12)):
            m.submodules[f"bank_{index}"] = bank = Bank(bits)
            m.d.comb += [
                bank.enable.eq(self.enable),
                bank.address.eq(self.a[index : index + 3]),
                bank.step.eq(halves[index % 2][:4]),
                self.o[index].eq(bank.o),
            ]
        m.submodules.product = product = Product()
        m.submodules.halting = halting = EnableInserter(self.a[0])(Counter(7))
        m.submodules.plain = plain = Module()
        total = Signal(signed(30))
        plain.d.sync += total.eq(total + product.o.sum)
        plain.submodules.inner = inner = Counter(9)
        plain.d.comb += [inner.enable.eq(1), inner.step.eq(total[:4])]
        m.d.comb += [
            product.a.eq(halves[0]),
            product.b.eq(halves[1]),
            product.operation.eq(self.operation),
            halting.enable.eq(1),
            halting.step.eq(-3),
            self.o[3].eq((product.o.sum + halting.count).word_select(self.a[:2], 4)),
            self.sum.eq(Cat(total, product.o.odd, self.a == 0, inner.count, total[::-1])),
        ]
        return m


class Names(wiring.Component):
    """Names that what the emitter makes up runs into."""

    i: In(8)
    o: Out(8)
    twice: Out(8)
    field: Out(4)

    def elaborate(self, platform):
        m = Module()
        # A register's next value, in use elsewhere, under the name the emitter would give it.
        held = Signal(8, name="held", reset_less=True)
        following = Signal(8, name="held_next")
        with m.If(self.i[0]):
            m.d.comb += following.eq(self.i + 1)
        with m.Else():
            m.d.comb += following.eq(held)
        m.d.sync += [held.eq(following), self.twice.eq(following << 1)]
        m.d.comb += self.o.eq(~held)
        # A field and a signal, two signals, and a signal and an instance of one name.
        pair = Signal(data.StructLayout({"low": 4, "high": 4}), name="pair")
        other = Signal(4, name="pair__high")
        same = [Signal(4, name="same") for _ in range(3)]
        m.submodules.same = counter = Counter(4)
        m.d.comb += [counter.enable.eq(1), counter.step.eq(self.i[:4])]
        m.d.sync += [pair.eq(self.i), other.eq(pair.high + 1), same[0].eq(pair.low)]
        m.d.sync += [same[1].eq(same[0] + other), same[2].eq(same[1] ^ pair.high)]
        m.d.sync += self.field.eq(same[2] + counter.count + pair.high)
        return m


class Interrupting(wiring.Component):
    """Has a port whose name C++ programs use, too."""

    i: In(8)
    interrupt: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.interrupt.eq(self.i == 0)
        return m


class States(wiring.Component):
    """Has choices that leave cases open, one in another, and a signal without bits."""

    i: In(4)
    o: Out(5)
    idle: Out(1)

    def elaborate(self, platform):
        m = Module()
        nothing = Signal(0)
        m.d.sync += nothing.eq(self.i)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                with m.If(self.i[0]):
                    m.next = "LOOK"
            with m.State("LOOK"), m.Switch(self.i):
                with m.Case(3, 7):
                    m.d.sync += self.o.eq(self.o + self.i)
                with m.Case(9):
                    m.d.sync += self.o.eq(0)
                    m.next = "WAIT"
            with m.State("WAIT"), m.If(~self.i[0]):
                m.next = "IDLE"
        return m


class OwnDomain(wiring.Component):
    """Has a child with a clock domain of its own."""

    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.restarting = restarting = Restarting()
        m.d.sync += self.o.eq(self.o + restarting.o)
        return m


class Restarting(wiring.Component):
    """Counts in a domain on the common clock whose reset comes every eighth cycle."""

    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.domains += ClockDomain("held", local=True)
        count = Signal(3)
        m.d.sync += count.eq(count + 1)
        m.d.held += self.o.eq(self.o + 3)
        m.d.comb += [
            ClockSignal("held").eq(ClockSignal("sync")),
            ResetSignal("held").eq((count == 7) | ResetSignal("sync")),
        ]
        return m
