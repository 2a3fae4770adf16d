"""What reports compare with besides W8A8: floating point on a ZCU102, by its DSP blocks.

Nothing is built for it. Vitis HLS builds an FP32 multiplier of three DSP48E2 and an adder of two,
and in FP16 both of two (its operators fmul maxdsp, fadd fulldsp, hmul maxdsp and hadd fulldsp).
All blocks of the part are taken to multiply and accumulate in every cycle, at the clock of the
array: more than any design reaches, so speed-ups over it are understated.
"""

from __future__ import annotations

from collections.abc import Mapping

from dybit.quant.workloads import Workload

__all__ = ["BLOCKS_OF_ZCU102", "FLOATS", "ZCU102", "float_cycles"]

ZCU102: Mapping[str, int] = {"lut": 274_080, "ff": 548_160, "dsp": 2_520, "bram": 912}
"""What an XCZU9EG has, by the names of `dybit.hw.resources.KINDS`."""

BLOCKS_OF_ZCU102 = ZCU102["dsp"]

FLOATS: Mapping[str, int] = {"FP16": 4, "FP32": 5}
"""DSP blocks of a multiplier and an adder."""


def float_cycles(workload: Workload, name: str) -> int:
    """Return the cycles of one input's layers on the array, each block always busy."""
    macs = sum(layer.macs for layer in workload.array_layers)
    return -(-macs // (BLOCKS_OF_ZCU102 // FLOATS[name]))
