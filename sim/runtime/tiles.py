"""Descriptors of a layer's tiles, as fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dybit.sim.board_driver import Fields
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware
from dybit.sim.runtime.tiling import Layout, Tiling, output_layout

__all__ = ["Columns", "tile_columns", "tiles"]

Numbers = Any  # integers, or arrays of them
Columns = dict[str, Numbers]


def tiles(
    layer: EngineLayer, tiling: Tiling, blocks: int, addresses: Fields, hardware: Hardware
) -> Iterator[Fields]:
    """Yield the descriptors' fields, in the order they run; `last` and `barrier` are 0.

    Parameters
    ----------
    addresses : dict of str to int
        Of input, output, weights and parameters.
    """
    columns, shape = tile_columns(layer, tiling, blocks, addresses, hardware)
    constant = {name: value for name, value in columns.items() if not isinstance(value, np.ndarray)}
    varying = [name for name in columns if name not in constant]
    lists = [np.broadcast_to(columns[name], shape).ravel().tolist() for name in varying]
    for _, *values in zip(range(int(np.prod(shape))), *lists, strict=True):
        yield constant | dict(zip(varying, values, strict=True))


def tile_columns(
    layer: EngineLayer, tiling: Tiling, blocks: int, addresses: Fields, hardware: Hardware
) -> tuple[Columns, tuple[int, int, int]]:
    """Return the fields of `tiles`, each for all tiles at once, and the shape they make.

    Parameters
    ----------
    addresses : dict of str to int
        Of input, output, weights and parameters.

    Returns
    -------
    dict of str to int or ndarray
        An integer is that of every tile; an array broadcasts to the shape.
    tuple of int
        Images, bands of rows, cuts across.
    """
    layout = output_layout(layer, hardware)
    pixel = blocks * hardware.array.rows
    down = _Lines.of(layer, 0, tiling.height)
    across = _Lines.of(layer, 1, tiling.width)
    first_in: Numbers = addresses["input"]
    first_out: Numbers = addresses["output"]
    if layer.images > 1:
        image = np.arange(layer.images).reshape(-1, 1, 1)
        first_in = first_in + image * (layer.height * layer.width * pixel)
        first_out = first_out + image * (layer.size[0] * layer.size[1] * layout.pixel_bytes)
    columns = (
        layer.constant_fields(hardware.array)
        | {
            "blocks": blocks,
            "weights_address": addresses["weights"],
            "parameters_address": addresses["parameters"],
            "barrier": 0,
            "last": 0,
        }
        | _read(layer, down, across, first_in, pixel, blocks)
        | _written(layer, down, across, first_out, layout)
    )
    return columns, (layer.images, down.parts, across.parts)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Parts of an axis of output: integers where there is one, else arrays along the axis.

    Attributes
    ----------
    parts : int
    whole : bool
        Whether a part is all the input there is.
    first, count : int or ndarray
        Lines of output.
    begin, needed, zeros : int or ndarray
        The first line of input that they need, how many, and zeros before.
    """

    parts: int
    whole: bool
    first: Numbers
    count: Numbers
    begin: Numbers
    needed: Numbers
    zeros: Numbers

    @classmethod
    def of(cls, layer: EngineLayer, axis: int, size: int) -> _Lines:
        """Return the parts of a size; the last may be smaller."""
        lines, extent = layer.size[axis], (layer.height, layer.width)[axis]
        stride, kernel, padding = layer.stride[axis], layer.kernel[axis], layer.padding[axis]
        if size >= lines:
            needed = min((lines - 1) * stride - padding + kernel, extent)
            return cls(1, needed == extent, 0, lines, 0, needed, padding)
        first: NDArray[np.int64] = np.arange(0, lines, size)
        if axis == 0:
            first = first[:, None]
        count = np.minimum(size, lines - first)
        start = first * stride - padding
        begin = np.maximum(0, start)
        needed = np.minimum(start + (count - 1) * stride + kernel, extent) - begin
        return cls(len(first), False, first, count, begin, needed, begin - start)


def _read(
    layer: EngineLayer,
    down: _Lines,
    across: _Lines,
    address: Numbers,
    pixel: int,
    blocks: int,
) -> Columns:
    """Return the fields of the rectangles of input that rectangles of output need."""
    height, row = down.needed, layer.width * pixel
    step = stride_y = layer.stride[0]
    if layer.kernel[0] == 1 and step > 1:
        # Rows that no window looks at stay where they are.
        height, stride_y = down.count, 1
    else:
        step = 1
    rows, words = height, across.needed * blocks
    if across.whole and step == 1:
        # As many as a descriptor counts: `choose` takes no larger tiles.
        rows, words = 1, rows * words
    return {
        "input_address": address + down.begin * row + across.begin * pixel,
        "input_rows": rows,
        "input_row_words": words,
        "input_row_stride": step * row,
        "input_height": height,
        "input_width": across.needed,
        "stride_y": stride_y,
        "stride_x": layer.stride[1],
        "pad_top": down.zeros,
        "pad_left": across.zeros,
    }


def _written(
    layer: EngineLayer, down: _Lines, across: _Lines, address: Numbers, layout: Layout
) -> Columns:
    """Return the fields of rectangles of output and their way to memory."""
    height, width = down.count, across.count
    row = layer.size[1] * layout.pixel_bytes
    rows, pixels, stride = height, width, row
    if layout.alone:
        rows, pixels, stride = height * width, 1, layout.pixel_bytes
    elif across.parts == 1:
        rows, pixels = 1, height * width
    return {
        "output_address": address + down.first * row + across.first * layout.pixel_bytes,
        "output_height": height,
        "output_width_pixels": width,
        "output_pitch": layout.pitch,
        "output_groups": layout.groups,
        "output_rows": rows,
        "output_row_bytes": pixels * layout.pixel_bytes,
        "output_row_stride": stride,
        "output_row_words": pixels * layout.pitch,
    }
