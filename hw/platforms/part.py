"""What an FPGA has, and whether a design fits."""

from dataclasses import dataclass

from dybit.hw.requantizer import DSP48E2_BITS

__all__ = ["LFE5U_85F", "XCZU9EG", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """An FPGA.

    Members
    -------
    name : str
    lut, ff, dsp, bram : int
        How many it has, in the units of its family.
    fraction : dict of str to float
        How much of each a design may take; beyond, placement rarely ends well.
    factor_bits : int
        Widest unsigned operand of a multiplier in its DSP blocks.
    """

    name: str
    lut: int
    ff: int
    dsp: int
    bram: int
    fraction: dict[str, float]
    factor_bits: int

    def limit(self, kind):
        """Return how many of `kind` a design may take."""
        return int(getattr(self, kind) * self.fraction[kind])

    def excess(self, counts):
        """Return {kind: (taken, allowed)} of what a design takes too much of."""
        return {
            kind: (counts[kind], self.limit(kind))
            for kind in self.fraction
            if counts[kind] > self.limit(kind)
        }

    def shares(self, counts):
        """Return {kind: share of the part} of what a design takes."""
        return {kind: round(counts[kind] / getattr(self, kind), 4) for kind in self.fraction}


# Lattice FPGA-DS-02012, table 1.1. nextpnr takes a tenth more LUTs than Yosys counts; where that
# filled 0.91 of the part, it was still routing after half an hour.
LFE5U_85F = Part(
    "LFE5U-85F", 83640, 83640, 156, 208, {"lut": 0.75, "ff": 0.85, "dsp": 1.0, "bram": 1.0}, 18
)

# AMD DS891, table 3; LUT and DSP as a design that still routes at speed may fill them.
XCZU9EG = Part(
    "xczu9eg-ffvb1156-2-e",
    274080,
    548160,
    2520,
    912,
    {"lut": 0.7, "ff": 0.8, "dsp": 0.8, "bram": 0.8},
    DSP48E2_BITS,
)
