"""What reports compare with besides W8A8: floating point on a ZCU102, by its DSP blocks.

Nothing is built for it. An FP32 multiplier is taken to have three DSP48E2 and an adder two, an FP16
multiplier and adder two each: what synthesis reports of Vitis HLS commonly show for its operators
(fmul and hmul maxdsp, fadd and hadd fulldsp), unchecked here. All blocks of the part multiply and
accumulate in every cycle, at the clock of the array and without waiting for memory: more than any
design reaches, so speed-ups over it are understated.
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
