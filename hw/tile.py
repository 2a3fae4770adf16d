"""A checked tile: what each part of the engine is told of a descriptor."""

from amaranth.lib import data

from dybit.hw.mode import mode_shape
from dybit.hw.output_format import OutputFormat

__all__ = ["ADDRESS_BITS", "COUNT_BITS", "POSITION_BITS", "Tile"]

ADDRESS_BITS = 40
"""Bits of an address in memory that the bus carries."""

COUNT_BITS = 16
"""Bits of whatever a descriptor counts."""

POSITION_BITS = COUNT_BITS + 2
"""Bits of a pixel's row or column, sign included: padding comes before 0 and after the last."""


class Tile(data.StructLayout):
    """A tile in five parts, one for each step of its way.

    Fields
    ------
    load : input rectangle and parameters in memory
    weights : weights in memory, and how many tiles of them there are; of a depthwise tile `blocks`
        are the taps that lie in one row
    walk : the walk over the input words; a depthwise tile is walked in strides of 1, and the unit
        keeps to its own
    drain : the results and their formats
    store : the output in memory
    """

    def __init__(self, array):
        count, address = COUNT_BITS, ADDRESS_BITS
        mode = mode_shape(array)
        super().__init__(
            {
                "load": data.StructLayout(
                    {
                        "barrier": 1,
                        "address": address,
                        "rows": count,
                        "row_words": count,
                        "row_stride": 32,
                        "words": count + 1,
                        "parameters": address,
                        "groups": count,
                    }
                ),
                "weights": data.StructLayout(
                    {
                        "depthwise": 1,
                        "mode": mode,
                        "exponent_limit": 4,
                        "address": address,
                        "taps": count,
                        "blocks": count,
                        "column_tiles": count,
                    }
                ),
                "walk": data.StructLayout(
                    {
                        "depthwise": 1,
                        "mode": mode,
                        "signed": 1,
                        "exponent_limit": 4,
                        "input_height": count,
                        "input_width": count,
                        "row_words": count,
                        "blocks": count,
                        "tail": count,
                        "kernel_height": 8,
                        "kernel_width": 8,
                        "stride_y": 8,
                        "stride_x": 8,
                        "unit_stride_y": 8,
                        "unit_stride_x": 8,
                        "step_y": count,
                        "step_x": count,
                        "pad_top": 8,
                        "pad_left": 8,
                        "origin": count,
                        "block_count": count,
                        "block_step": count,
                        "column_tiles": count,
                        "height": count,
                        "width": count,
                    }
                ),
                "drain": data.StructLayout(
                    {
                        "mode": mode,
                        "single": 1,
                        "format": OutputFormat,
                        "raw": 2,
                        "pixels": count,
                        "column_tiles": count,
                        "groups": count,
                        "pitch": count,
                    }
                ),
                "store": data.StructLayout(
                    {
                        "address": address,
                        "rows": count + 1,
                        "row_bytes": 24,
                        "row_stride": 32,
                        "row_words": count + 1,
                    }
                ),
            }
        )
