"""The descriptor of a tile: what the host writes in memory and the engine carries out."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data

__all__ = ["DESCRIPTOR_BYTES", "FIELDS", "Descriptor", "Field", "descriptor_table", "reserved_mask"]

DESCRIPTOR_BYTES = 128
"""Size of a descriptor, and the alignment of a list of them is half of it."""

WORD_BITS = 32


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the descriptor: where it lies and what it says.

    Members
    -------
    name : str
    word : int
        32-bit word, counted from the descriptor's address.
    low : int
        Lowest bit in that word; a field of 64 bits takes the next word too.
    bits : int
    description : str
    """

    name: str
    word: int
    low: int
    bits: int
    description: str

    @property
    def offset(self):
        """Lowest bit, counted from the descriptor's."""
        return WORD_BITS * self.word + self.low


FIELDS = (
    Field("kind", 0, 0, 2, "0: on the array; 1: on the depthwise unit"),
    Field("mode", 0, 2, 3, "precision: W8A8, W8A4, W4A8, W4A4, W2A4, W4A2, W2A2 from 0"),
    Field("input_signed", 0, 5, 1, "input codes have a sign"),
    Field("input_limit", 0, 6, 4, "exponent limit of the input's format"),
    Field("weight_limit", 0, 10, 4, "exponent limit of the weights' format"),
    Field("output_width", 0, 14, 2, "width of output codes: 2, 4 or 8 bits from 0"),
    Field("output_signed", 0, 16, 1, "output codes have a sign"),
    Field("output_limit", 0, 17, 4, "exponent limit of the output's format"),
    Field("relu", 0, 21, 1, "negative results become 0 in a signed format"),
    Field("raw", 0, 22, 2, "0: codes; 1, 2: accumulators of 32 or 64 bits instead"),
    Field("barrier", 0, 24, 1, "read the input only once all earlier tiles are in memory"),
    Field("last", 0, 25, 1, "the list ends here"),
    Field("max_code", 1, 0, 8, "largest magnitude code of the output"),
    Field("input_address", 2, 0, 64, "first byte of the input rectangle; a multiple of R"),
    Field("input_rows", 4, 0, 16, "rows to read"),
    Field("input_row_words", 4, 16, 16, "words of R bytes in each"),
    Field("input_row_stride", 5, 0, 32, "bytes from one row to the next; a multiple of R"),
    Field("input_height", 6, 0, 16, "rows of pixels in the rectangle"),
    Field("input_width", 6, 16, 16, "pixels in each"),
    Field("blocks", 7, 0, 16, "words of R bytes in a pixel"),
    Field("tail", 7, 16, 16, "channels that count in a pixel's last word"),
    Field("kernel_height", 8, 0, 8, "rows of the kernel"),
    Field("kernel_width", 8, 8, 8, "columns of the kernel"),
    Field("stride_y", 8, 16, 8, "input rows from one output row to the next"),
    Field("stride_x", 8, 24, 8, "input pixels from one output pixel to the next"),
    Field("pad_top", 9, 0, 8, "rows of zeros above the rectangle"),
    Field(
        "pad_left", 9, 8, 8, "zeros left of it; right of it and below there are as many as needed"
    ),
    Field("block_count", 10, 0, 16, "words of a pixel that a column tile multiplies"),
    Field("block_step", 10, 16, 16, "words from one column tile's first to the next one's"),
    Field("column_tiles", 11, 0, 16, "column tiles; depthwise: groups of C channels"),
    Field("output_groups", 11, 16, 16, "groups of C channels stored for a pixel"),
    Field("output_height", 12, 0, 16, "rows of output pixels"),
    Field("output_width_pixels", 12, 16, 16, "output pixels in each"),
    Field("output_pitch", 13, 0, 16, "words of C bytes that a pixel takes in the output memory"),
    Field("weights_address", 14, 0, 64, "first row of weights; a multiple of 64"),
    Field(
        "parameters_address", 16, 0, 64, "re-quantisation of the first channel; a multiple of 64"
    ),
    Field("output_address", 18, 0, 64, "first byte of the output; a multiple of R"),
    Field("output_rows", 20, 0, 32, "rows to write"),
    Field("output_row_bytes", 21, 0, 32, "bytes in each"),
    Field(
        "output_row_stride", 22, 0, 32, "bytes from one row in memory to the next; a multiple of R"
    ),
    Field(
        "output_row_words", 23, 0, 32, "words of C bytes from one row to the next on the way out"
    ),
)
"""All fields; bits that belong to none must be 0."""


def _layout():
    return data.FlexibleLayout(
        8 * DESCRIPTOR_BYTES, {field.name: data.Field(field.bits, field.offset) for field in FIELDS}
    )


Descriptor = _layout()
"""The descriptor as a layout of 1,024 bits."""


def reserved_mask():
    """Return the bits that belong to no field."""
    used = 0
    for field in FIELDS:
        used |= ((1 << field.bits) - 1) << field.offset
    return ~used & (1 << 8 * DESCRIPTOR_BYTES) - 1


def descriptor_table():
    """Return the fields as the manifest lists them."""
    return [
        {"name": field.name, "word": field.word, "low": field.low, "bits": field.bits}
        for field in FIELDS
    ]
