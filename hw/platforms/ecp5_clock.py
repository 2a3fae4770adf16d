"""A clock of another frequency on ECP5: its PLL, with the clock domain it drives."""

import math

from amaranth import *
from amaranth.lib.cdc import ResetSynchronizer

__all__ = ["ECP5Clock", "pll_dividers"]

_OSCILLATOR_MHZ = range(400, 801)
_OUTPUT_MHZ = 400
_PHASE_MHZ = 3.125
_DIVIDERS = range(1, 129)
"""Lattice FPGA-DS-02012, table 3.21: range of the oscillator, highest frequency of an output, least
frequency compared; FPGA-TN-02200: dividers."""


def pll_dividers(input_mhz, output_mhz):
    """Return the dividers of input, feedback and output for an exact frequency.

    Raises
    ------
    ValueError
        If there are none.
    """
    dividers = _dividers(input_mhz, output_mhz)
    if dividers is None:
        made = [mhz for mhz in range(1, _OUTPUT_MHZ + 1) if _dividers(input_mhz, mhz)]
        raise ValueError(
            f"mhz must be a multiple of {math.gcd(*made)} from {made[0]} to {made[-1]}, "
            f"which the PLL makes of {input_mhz} MHz, not {output_mhz!r}"
        )
    return dividers


def _dividers(input_mhz, output_mhz):
    """Return the dividers whose oscillator is nearest the middle of its range, or None."""
    outputs = [d for d in _DIVIDERS if d * output_mhz in _OSCILLATOR_MHZ]
    if output_mhz > _OUTPUT_MHZ or not outputs:
        return None
    middle = (_OSCILLATOR_MHZ[0] + _OSCILLATOR_MHZ[-1]) / 2
    output = min(outputs, key=lambda divider: abs(divider * output_mhz - middle))
    for divider in range(1, int(input_mhz / _PHASE_MHZ) + 1):
        feedback, rest = divmod(output_mhz * divider, input_mhz)
        if rest == 0 and feedback in _DIVIDERS:
            return divider, feedback, output
    return None


class ECP5Clock(Elaboratable):
    """Drives the domain ``sync`` at `mhz`, in reset until the PLL has locked.

    The domain is its parent's to define.

    Parameters
    ----------
    pin : Signal
        The input clock.
    input_mhz, mhz : int
    """

    def __init__(self, pin, input_mhz, mhz):
        self.dividers = pll_dividers(input_mhz, mhz)
        self.pin = pin
        self.mhz = mhz

    def elaborate(self, platform):
        m = Module()
        clock, locked = Signal(name="pll_clock"), Signal()
        reference, feedback, output = self.dividers
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=reference,
            p_CLKFB_DIV=feedback,
            p_CLKOP_DIV=output,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_CPHASE=output // 2,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=self.pin,
            i_CLKFB=clock,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clock,
            o_LOCK=locked,
        )
        m.d.comb += ClockSignal("sync").eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        return m
