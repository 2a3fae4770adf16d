"""ULX3S with an ECP5-85F: the self-test image."""

from amaranth import *
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from dybit.hw.platforms.ecp5_clock import ECP5Clock, pll_dividers
from dybit.hw.platforms.self_test_board import SelfTestBoard

__all__ = ["CLOCK_MHZ", "ulx3s_plan"]

CLOCK_MHZ = 25


def ulx3s_plan(module, files, mhz, name="top"):
    """Return Amaranth's build plan of the self-test, at `mhz`.

    Parameters
    ----------
    module : str
        Name of the emitted self-test.
    files : dict of str to str
        Its Verilog by file name.
    mhz : int
    name : str
        Of the image.

    Raises
    ------
    ValueError
        If the PLL does not make that frequency.
    """
    pll_dividers(CLOCK_MHZ, mhz)  # refuses before anything is half built

    def clock(m, platform):
        m.domains.sync = ClockDomain("sync")
        m.submodules.clock_pin = pin = io.Buffer(
            io.Direction.Input, platform.request(platform.default_clk, dir="-")
        )
        m.submodules.clock = ECP5Clock(pin.i, CLOCK_MHZ, mhz)

    platform = ULX3S_85F_Platform(toolchain="Trellis")
    for file, text in files.items():
        platform.add_file(file, text)
    # Equal modules are mapped once; then the hierarchy goes, so that placement sees one design.
    return platform.build(
        SelfTestBoard(module, clock),
        name,
        do_build=False,
        synth_opts="-noflatten",
        script_after_synth=f"write_json {name}.blocks.json\nflatten\nclean",
    )
