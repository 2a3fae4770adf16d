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

    from dybit.quant.torch import PreparedModel

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
    prepared, network = quantize_model(module, loaded, images.x)
    network.save(output)
    console.print(_layers(network))
    _print_agreement(module, prepared, network, images)
    console.print(f"{output}: network.toml, network.safetensors", highlight=False)


def quantize_model(
    module: nn.Module, config: QuantConfig, x: NDArray[np.float32]
) -> tuple[PreparedModel, QuantNetwork]:
    """Quantise `module` on the calibration images `x`, (N, C, H, W) or (N, K).

    Returns
    -------
    PreparedModel
        The model in torch, rounding as the network does.
    QuantNetwork
        The network of integers.
    """
    # torch takes seconds to load: the other commands do without.
    import torch

    from dybit.quant.torch import calibrate, convert, prepare

    prepared = prepare(module, config, torch.from_numpy(x[:1]))
    batches = [torch.from_numpy(batch) for batch in _batches(x)]
    with progress() as bar:
        task = bar.add_task("calibrating", total=len(batches))
        calibrate(prepared, batches, lambda: bar.advance(task))
    return prepared, convert(prepared)


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


def _print_agreement(
    module: nn.Module, prepared: PreparedModel, network: QuantNetwork, images: Images
) -> None:
    """Print how the network's results compare with both models' and, with classes, the truth."""
    import torch

    from dybit.quant.torch import agreement

    trace = executor.run(network, images.channels_last)
    agreed = agreement(prepared, torch.from_numpy(images.x), trace)
    with torch.inference_mode():
        real = [module(torch.from_numpy(batch)).argmax(1).numpy() for batch in _batches(images.x)]
    answers = np.concatenate(real)
    lines = [
        f"codes as the fake-quantised model's: {agreed.codes:.4%}",
        f"answers as the FP32 model's: {np.mean(trace.predictions == answers):.2%}",
    ]
    before, after = images.accuracy(answers), images.accuracy(trace.predictions)
    if before is not None and after is not None:
        lines.append(f"accuracy: {before:.2%} in FP32, {after:.2%} quantised")
    console.print("\n".join(lines), highlight=False)
