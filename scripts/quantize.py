"""``dybit quantize``: a user's PyTorch model, quantised after training and saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.scripts.console import console, progress
from dybit.scripts.inputs import Images, load_images, load_model, load_weights
from dybit.sim import executor

if TYPE_CHECKING:
    from torch import nn

__all__ = ["quantize", "quantize_model"]

BATCH = 64


def quantize(
    model: Annotated[str, typer.Argument(help="path/to/file.py:function, returning nn.Module.")],
    config: Annotated[Path, typer.Option(help="Quant config.")],
    calibration: Annotated[
        Path, typer.Option(help=".npz with float x (N, C, H, W) and, perhaps, classes y.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the network.")],
    weights: Annotated[
        Path | None, typer.Option(help="state_dict of the model, .pt or .safetensors.")
    ] = None,
) -> None:
    """Quantise a trained model to DyBit and save it, free of its framework.

    The folder holds network.toml and network.safetensors, which `dybit simulate` runs.

    \b
    dybit quantize model.py:build --weights model.pt --calibration images.npz \\
        --config configs/digits-mixed.toml -o build/network
    """
    loaded = QuantConfig.load(config)
    images = load_images(calibration)
    module = load_model(model)
    if weights is not None:
        load_weights(module, weights)
    network = quantize_model(module, loaded, images.x)
    network.save(output)
    console.print(_layers(network))
    _print_agreement(module, network, images)
    console.print(f"{output}: network.toml, network.safetensors", highlight=False)


def quantize_model(module: nn.Module, config: QuantConfig, x: NDArray[np.float32]) -> QuantNetwork:
    """Quantise `module` on the calibration images `x`, (N, C, H, W)."""
    # torch takes seconds to load: the other commands do without.
    import torch

    from dybit.quant.torch import calibrate, convert, prepare

    prepared = prepare(module, config, torch.from_numpy(x[:1]))
    batches = [torch.from_numpy(batch) for batch in _batches(x)]
    with progress() as bar:
        task = bar.add_task("calibrating", total=len(batches))
        calibrate(prepared, batches, progress=lambda: bar.advance(task))
    return convert(prepared)


def _batches(x: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    yield from (x[start : start + BATCH] for start in range(0, len(x), BATCH))


def _layers(network: QuantNetwork) -> Table:
    table = Table("layer", "mode", "weights", "input", "outputs", "reduction", title=network.name)
    for layer in network.compute_layers:
        formats = layer.weight_format.name, layer.input.format.name
        table.add_row(
            layer.name, layer.mode.name, *formats, f"{layer.outputs}", f"{layer.reduction}"
        )
    return table


def _print_agreement(module: nn.Module, network: QuantNetwork, images: Images) -> None:
    """Print how often the network's answer is the model's and, with classes, how often right."""
    import torch

    with torch.inference_mode():
        real = [module(torch.from_numpy(batch)).numpy().argmax(-1) for batch in _batches(images.x)]
    expected = np.concatenate(real)
    found = executor.run(network, images.channels_last).predictions
    console.print(f"answers as the model's: {np.mean(found == expected):.2%}", highlight=False)
    if images.y is not None:
        before, after = (np.mean(answer == images.y) for answer in (expected, found))
        console.print(f"accuracy: {before:.2%} in FP32, {after:.2%} quantised", highlight=False)
