"""AMD's ZCU102 evaluation board: the pins of its programmable logic, and the self-test on them."""

from typing import ClassVar

from amaranth.build import Attrs, Clock, DiffPairs, Pins, Resource
from amaranth.vendor import XilinxPlatform
from amaranth_boards.resources import (
    ButtonResources,
    LEDResources,
    SwitchResources,
    UARTResource,
)

from dybit.hw.platforms.self_test_board import SelfTestBoard

__all__ = ["CLOCK_MHZ", "ZCU102Platform", "zcu102_plan"]

CLOCK_MHZ = 125

_LVCMOS33 = Attrs(IOSTANDARD="LVCMOS33")


class ZCU102Platform(XilinxPlatform):
    """The programmable logic of a ZCU102, without its processors.

    Pins are those of AMD UG1182. All that is listed is high when active.
    """

    device = "xczu9eg"
    package = "ffvb1156"
    speed = "2-e"
    default_clk = "clk125"
    default_rst = "rst"
    resources: ClassVar = [
        Resource(
            "clk125",
            0,
            DiffPairs("G21", "F21", dir="i"),
            Clock(125e6),
            Attrs(IOSTANDARD="LVDS_25"),
        ),
        Resource(
            "clk300",
            0,
            DiffPairs("AL8", "AL7", dir="i"),
            Clock(300e6),
            Attrs(IOSTANDARD="DIFF_SSTL12"),
        ),
        Resource("rst", 0, Pins("AM13", dir="i"), _LVCMOS33),
        *LEDResources(pins="AG14 AF13 AE13 AJ14 AJ15 AH13 AH14 AL12", attrs=_LVCMOS33),
        # North, east, west, south, centre.
        *ButtonResources(pins="AG15 AE14 AF15 AE15 AG13", attrs=_LVCMOS33),
        *SwitchResources(pins="AN14 AP14 AM14 AN13 AN12 AP12 AL13 AK13", attrs=_LVCMOS33),
        UARTResource(0, tx="F13", rx="E13", attrs=_LVCMOS33),
    ]
    connectors: ClassVar = []


def zcu102_plan(module, files, name="top"):
    """Return Amaranth's build plan of the self-test: Vivado's Tcl, XDC and a script that runs it.

    Parameters
    ----------
    module : str
        Name of the emitted self-test.
    files : dict of str to str
        Its Verilog by file name.
    name : str
        Of the image.
    """
    platform = ZCU102Platform(toolchain="Vivado")
    for file, text in files.items():
        platform.add_file(file, text)
    return platform.build(SelfTestBoard(module), name, do_build=False)
