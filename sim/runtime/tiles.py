"""Descriptors of a layer's tiles, as fields."""

from __future__ import annotations

from collections.abc import Iterator

from dybit.sim.board_driver import Fields
from dybit.sim.runtime.engine_layer import EngineLayer, Hardware
from dybit.sim.runtime.tiling import COUNT_LIMIT, Layout, Tiling, output_layout

__all__ = ["tiles"]


def tiles(
    layer: EngineLayer, tiling: Tiling, blocks: int, addresses: Fields, hardware: Hardware
) -> Iterator[Fields]:
    """Yield the descriptors' fields, in the order they run; `last` and `barrier` are 0.

    Parameters
    ----------
    addresses : dict of str to int
        Of input, output, weights and parameters.
    """
    constant = layer.constant_fields(hardware.array) | {
        "blocks": blocks,
        "weights_address": addresses["weights"],
        "parameters_address": addresses["parameters"],
        "barrier": 0,
        "last": 0,
    }
    layout = output_layout(layer, hardware)
    pixel = blocks * hardware.array.rows
    for image in range(layer.images):
        first_in = addresses["input"] + image * layer.height * layer.width * pixel
        first_out = addresses["output"] + image * layer.size[0] * layer.size[1] * layout.pixel_bytes
        for top in range(0, layer.size[0], tiling.height):
            for left in range(0, layer.size[1], tiling.width):
                height = min(tiling.height, layer.size[0] - top)
                width = min(tiling.width, layer.size[1] - left)
                yield (
                    constant
                    | _read(layer, (top, left), (height, width), first_in, pixel, blocks)
                    | _written(layer, (top, left), (height, width), first_out, layout)
                )


def _read(
    layer: EngineLayer,
    place: tuple[int, int],
    size: tuple[int, int],
    address: int,
    pixel: int,
    blocks: int,
) -> Fields:
    """Return the fields of the rectangle of input that a rectangle of output needs."""
    (first_y, height, pad_top), (first_x, width, pad_left) = (
        _span(layer, axis, place[axis], size[axis]) for axis in (0, 1)
    )
    row = layer.width * pixel
    step = stride_y = layer.stride[0]
    if layer.kernel[0] == 1 and step > 1:
        # Rows that no window looks at stay where they are.
        height, stride_y = size[0], 1
    else:
        step = 1
    rows, words = height, width * blocks
    if width == layer.width and step == 1 and rows * words <= COUNT_LIMIT:
        rows, words = 1, rows * words
    return {
        "input_address": address + first_y * row + first_x * pixel,
        "input_rows": rows,
        "input_row_words": words,
        "input_row_stride": step * row,
        "input_height": height,
        "input_width": width,
        "stride_y": stride_y,
        "stride_x": layer.stride[1],
        "pad_top": pad_top,
        "pad_left": pad_left,
    }


def _written(
    layer: EngineLayer, place: tuple[int, int], size: tuple[int, int], address: int, layout: Layout
) -> Fields:
    """Return the fields of a rectangle of output and its way to memory."""
    (top, left), (height, width) = place, size
    row = layer.size[1] * layout.pixel_bytes
    rows, pixels, stride = height, width, row
    if layout.alone:
        rows, pixels, stride = height * width, 1, layout.pixel_bytes
    elif width == layer.size[1]:
        rows, pixels = 1, height * width
    return {
        "output_address": address + top * row + left * layout.pixel_bytes,
        "output_height": height,
        "output_width_pixels": width,
        "output_pitch": layout.pitch,
        "output_groups": layout.groups,
        "output_rows": rows,
        "output_row_bytes": pixels * layout.pixel_bytes,
        "output_row_stride": stride,
        "output_row_words": pixels * layout.pitch,
    }


def _span(layer: EngineLayer, axis: int, first: int, count: int) -> tuple[int, int, int]:
    """Return the first line of input that lines of output need, how many, and zeros before."""
    extent = (layer.height, layer.width)[axis]
    start = first * layer.stride[axis] - layer.padding[axis]
    stop = start + (count - 1) * layer.stride[axis] + layer.kernel[axis]
    begin = max(0, start)
    return begin, min(stop, extent) - begin, begin - start
