"""A clock of another frequency on ECP5: its PLL, with the clock domain it drives."""

from amaranth import *
from amaranth.lib.cdc import ResetSynchronizer

__all__ = ["ECP5Clock", "pll_dividers"]

_VCO_MHZ = (400, 800)
_PHASE_MHZ = 3.125
"""Lattice FPGA-DS-02012, table 3.21: range of the oscillator, least frequency compared."""


def pll_dividers(input_mhz, output_mhz):
    """Return the dividers of input, feedback and output for an exact frequency.

    Raises
    ------
    ValueError
        If there are none.
    """
    low, high = _VCO_MHZ
    for divider in range(1, int(input_mhz / _PHASE_MHZ) + 1):
        feedback, rest = divmod(output_mhz * divider, input_mhz)
        output = int((low + high) / 2 // output_mhz)
        if rest == 0 and 1 <= feedback <= 128 and low <= output * output_mhz <= high:
            return divider, int(feedback), output
    raise ValueError(
        f"mhz must be a multiple of {input_mhz / int(input_mhz / _PHASE_MHZ):g} MHz "
        f"from {low // 128 + 1} to {high // 2}, not {output_mhz!r}"
    )


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
