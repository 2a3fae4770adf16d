"""What the registers of an accelerator say of its build."""

import json
import zlib

from dybit.hw.axi import BUS_BYTES
from dybit.hw.registers import MAGIC, VERSION, pack
from dybit.quant.precision import MODES

__all__ = ["capabilities"]


def capabilities(array, accelerator):
    """Return the value of each constant register.

    Parameters
    ----------
    array : dybit.quant.config.ArrayConfig
    accelerator : dybit.quant.accelerator_config.AcceleratorConfig
    """
    parameters = json.dumps(
        accelerator.parameters(array), sort_keys=True, separators=(",", ":")
    ).encode()
    return {
        "MAGIC": MAGIC,
        "VERSION": VERSION,
        "GEOMETRY": pack("GEOMETRY", rows=array.rows, columns=array.columns, bus_bytes=BUS_BYTES),
        "MODES": pack(
            "MODES",
            modes=sum(1 << index for index, mode in enumerate(MODES) if mode in array.modes),
            signed=int(True in array.signednesses),
            unsigned=int(False in array.signednesses),
            esb=int(array.family == "esb"),
            depthwise_kernel=accelerator.depthwise_kernel,
        ),
        "ACTIVATION_WORDS": accelerator.activation_words,
        "ACCUMULATOR_PIXELS": array.accumulator_depth // 2,
        "OUTPUT_WORDS": accelerator.output_words,
        "PARAMETER_GROUPS": accelerator.parameter_groups,
        "CONFIGURATION": zlib.crc32(parameters),
    }
