"""The self-test on a board: its pins, and the clock it runs on."""

from amaranth import *
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

__all__ = ["BAUD", "SelfTestBoard"]

BAUD = 115200


class SelfTestBoard(Elaboratable):
    """An emitted `SelfTest` between the pins of a board.

    LED 0 shows that a test is under way, LED 1 that the last one passed, LED 2 that it failed.
    Button 0 injects one wrong bit. The serial line is the board's UART 0.

    Parameters
    ----------
    module : str
        Name of the emitted module, whose Verilog the platform is given.
    clock : callable, optional
        Given the module and the platform, makes the domain ``sync``; default: the platform's
        own clock.
    """

    def __init__(self, module, clock=None):
        self.module = module
        self.clock = clock

    def elaborate(self, platform):
        m = Module()
        if self.clock is not None:
            self.clock(m, platform)
        inject = Signal()
        m.submodules.button = button = io.Buffer(
            io.Direction.Input, platform.request("button", 0, dir="-")
        )
        m.submodules.synchronizer = FFSynchronizer(button.i, inject)
        leds = []
        for index, name in enumerate(("running", "passed", "failed")):
            led = io.Buffer(io.Direction.Output, platform.request("led", index, dir="-"))
            m.submodules[f"led_{name}"] = led
            leds.append(led.o)
        m.submodules.tx = tx = io.Buffer(
            io.Direction.Output, platform.request("uart", 0, dir="-").tx
        )
        running, passed, failed = leds
        m.submodules.self_test = Instance(
            self.module,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_inject=inject,
            o_running=running,
            o_passed=passed,
            o_failed=failed,
            o_tx=tx.o,
        )
        return m
