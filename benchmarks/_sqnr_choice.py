"""What it buys to choose formats: in software, and with what built arrays decode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks._sqnr_formats import ADAPTIVE, ROWS, family, two_exponent_bits
from benchmarks._sqnr_tensors import Tensor, layer_inputs
from dybit.quant.array_config import ArrayConfig
from dybit.quant.format_choice import (
    Ratings,
    decoded_formats,
    rate_channels,
    rate_formats,
    rate_sample,
    summarise,
)
from dybit.quant.formats import DyBit, Integer, NumberFormat
from dybit.quant.sqnr import sqnr
from dybit.scripts import digits

WIDTHS = (2, 4, 8)
GROUP = 8
CALIBRATION = 256
ARRAY = {
    "rows": 8,
    "columns": 8,
    "max_reduction": 1152,
    "accumulator_depth": 64,
    "modes": ["W8A8", "W4A4", "W2A2"],
}
ARRAYS = {
    "array of plain DyBit": ArrayConfig.model_validate(ARRAY),
    "array of limit 2": ArrayConfig.model_validate(
        ARRAY | {"weight_exponent_limit": 2, "activation_exponent_limit": 2}
    ),
    "array of run-time limits": ArrayConfig.model_validate(ARRAY | {"run_time_limits": [1, 2, 3]}),
}
"""What 4-bit lanes are built for; those of 8 bits decode every limit."""

RIVALS = {
    "plain DyBit": lambda bits, signed: [DyBit(bits, signed)],
    "INT": lambda bits, signed: [Integer(bits, signed)],
    # FP4 as it exists has a sign, also where a tensor has none.
    "E2M1": lambda bits, signed: two_exponent_bits(bits, True),
    "E2M1 without its sign": two_exponent_bits,
}
"""What a choice is compared with; two exponent bits at other widths than 4."""

Entry = dict[str, Any]


def software(bits: int, signed: bool) -> list[NumberFormat]:
    """Return every format of the tables that we have, the first of equal ones to name: DyBit."""
    ours = [formats for row, formats in ROWS.items() if row != ADAPTIVE]
    return [*family(bits, signed), *(fmt for formats in ours for fmt in formats(bits, signed))]


def entries(tensors: Sequence[Tensor], widths: Sequence[int]) -> Iterator[Entry]:
    """Yield wins and gains of each choice, scales per channel for weights."""
    for bits in widths:
        rivals = {name: _both(formats, bits) for name, formats in RIVALS.items()}
        choices = {"all in software": _both(software, bits), "DyBit family": _both(family, bits)}
        for name, array in ARRAYS.items():
            # Of these tensors the weights have signs and the activations none.
            weights = decoded_formats(array, "weight", bits)
            choices[name] = weights + decoded_formats(array, "activation", bits, False)
        ratings = []
        for tensor in tensors:
            others = [fmt for formats in RIVALS.values() for fmt in formats(bits, tensor.signed)]
            formats = software(bits, tensor.signed) + others
            ratings.append(rate_formats(tensor.values, formats, axis=tensor.axis))
        for name, formats in choices.items():
            yield from _summary(f"choice, {bits} bits, {name}", ratings, formats, rivals)
        yield _channel_groups(tensors, bits)


def _both(formats: Callable[[int, bool], Sequence[NumberFormat]], bits: int) -> list[NumberFormat]:
    """Return the formats for tensors with signs and for tensors without."""
    return [*formats(bits, True), *formats(bits, False)]


def _summary(
    name: str,
    ratings: list[Ratings],
    formats: list[NumberFormat],
    rivals: dict[str, list[NumberFormat]],
) -> Iterator[Entry]:
    summary = summarise(ratings, formats, rivals)
    for fmt, wins in summary.wins.items():
        yield {
            "name": f"{name}: {fmt} is best",
            "value": float(wins),
            "unit": f"of {len(ratings)} tensors",
        }
    for rival, gains in summary.gains.items():
        theirs = np.mean([each.sqnr(rivals[rival]) for each in ratings])
        yield {
            "name": f"{name} over {rival}",
            "value": float(gains.mean()),
            "unit": "dB",
            "rival": f"{rival}, {theirs:.2f} dB",
            "ratio": float(10 ** (gains.mean() / 10)),
        }


def _channel_groups(tensors: Sequence[Tensor], bits: int) -> Entry:
    """Return what a limit to every few output channels gains over one to each weight tensor."""
    gains = []
    for tensor in tensors:
        if tensor.axis is None:
            continue
        formats = family(bits, tensor.signed)
        whole = rate_formats(tensor.values, formats, axis=tensor.axis).best().error
        channels = min(GROUP, tensor.values.shape[tensor.axis])
        parts = rate_channels(tensor.values, formats, tensor.axis, channels)
        gains.append(10 * np.log10(whole / sum(each.best().error for each in parts)))
    return {
        "name": f"choice, {bits} bits, a limit to every {GROUP} channels over one a tensor",
        "value": float(np.mean(gains)),
        "unit": "dB",
    }


def held_out(model: torch.nn.Module, bits: Sequence[int]) -> Iterator[Entry]:
    """Yield how far the limit picked on calibration images is from the best on test images.

    Every limit has the scale that calibration gives it.
    """
    data = digits.load()
    calibration = layer_inputs(model, data.train_x[:CALIBRATION])
    test = layer_inputs(model, data.test_x)
    for name, rate in (("with a tail", rate_sample), ("as it is", rate_formats)):
        worst = 0.0
        for tensor, x in calibration.items():
            for width in bits:
                ratings = rate(x, family(width, False))
                ratios = {f: sqnr(test[tensor], f, r.scale) for f, r in ratings.by_format.items()}
                if np.isfinite(max(ratios.values())):
                    picked = ratios[ratings.best().format]
                    worst = max(worst, max(ratios.values()) - picked)
        yield {
            "name": f"limit picked on a sample {name}, most lost on test images",
            "value": worst,
            "unit": "dB",
        }
