"""``dybit quantize``: a user's PyTorch model, quantised after training and saved."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.scripts.console import console, progress
from dybit.scripts.inputs import IMAGE_SIZE, Images, batches, load_images, load_network
from dybit.sim import executor

if TYPE_CHECKING:
    from torch import nn

    from dybit.quant.torch import PreparedModel

__all__ = ["Rounding", "quantize", "quantize_model"]

ROUNDED = 512
ROUNDED_ELEMENTS = 1 << 24
"""Images that roundings of weights are chosen on, as one batch: at most so many, so large."""


class Rounding(StrEnum):
    """How weights become values of their formats."""

    NEAREST = "nearest"
    GPTQ = "gptq"
    ADAPTIVE = "adaptive"


def quantize(
    model: Annotated[
        str | None, typer.Argument(help="path/to/file.py:function, returning nn.Module.")
    ] = None,
    *,
    config: Annotated[Path, typer.Option(help="Quant config.")],
    calibration: Annotated[
        Path,
        typer.Option(
            help=".npz with float x (N, C, H, W) and, perhaps, classes y; .npy with x; or a folder "
            "of images, which are normalised as for ImageNet."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the network.")],
    weights: Annotated[
        Path | None, typer.Option(help="state_dict of the model, .pt or .safetensors.")
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="In place of a model: resnet18, resnet50 or mobilenet_v2, with weights by "
            "torchvision's names."
        ),
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=1, help="Height and width of images from a folder.")
    ] = IMAGE_SIZE,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Images to calibrate on, from the first.")
    ] = None,
    equalize: Annotated[
        bool, typer.Option("--equalize", help="Bring channels to alike ranges first.")
    ] = False,
    rounding: Annotated[
        Rounding,
        typer.Option(help="Of weights: to the nearest value, or so that outputs change least."),
    ] = Rounding.NEAREST,
) -> None:
    """Quantise a trained model to DyBit and save it, free of its framework.

    The folder holds network.toml and network.safetensors, which `dybit simulate` runs. Layers that
    stay in floating point are listed with the reason.

    \b
    dybit quantize model.py:build --weights model.pt --calibration images.npz \\
        --config configs/digits-mixed.toml -o build/network
    dybit quantize --architecture resnet18 --weights resnet18.pth --calibration images/ \\
        --config configs/imagenet-w8a8.toml -o build/resnet18
    """
    from dybit.quant.torch import convert

    loaded = QuantConfig.load(config)
    module = load_network(model, architecture, weights)
    images = load_images(calibration, limit, image_size)
    prepared = _calibrate(module, loaded, images.x, equalize, rounding)
    _print_kept(prepared)
    network = convert(prepared)
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
    from dybit.quant.torch import convert

    prepared = _calibrate(module, config, x)
    return prepared, convert(prepared)


def _calibrate(
    module: nn.Module,
    config: QuantConfig,
    x: NDArray[np.float32],
    equalized: bool = False,
    rounding: Rounding = Rounding.NEAREST,
) -> PreparedModel:
    # torch takes seconds to load: the other commands do without.
    import torch

    from dybit.quant.torch import calibrate, prepare
    from dybit.quant.torch.equalize import equalize

    with console.status("tracing the model"):
        prepared = prepare(module, config, torch.from_numpy(x[:1]))
    if equalized:
        done = equalize(prepared)
        console.print(f"equalised: {len(done.pairs)} layers of {len(prepared.compute_stages)}")
    loader = [torch.from_numpy(x[part]) for part in batches(x)]
    with progress() as bar:
        task = bar.add_task("calibrating", total=len(loader))
        calibrate(prepared, loader, lambda: bar.advance(task))
    _round(prepared, x, rounding)
    return prepared


def _round(prepared: PreparedModel, x: NDArray[np.float32], rounding: Rounding) -> None:
    import torch

    from dybit.quant.torch.adaptive_rounding import round_adaptively
    from dybit.quant.torch.gptq import gptq

    if rounding is Rounding.NEAREST:
        return
    chosen = torch.from_numpy(x[: max(1, min(ROUNDED, ROUNDED_ELEMENTS // x[0].size))])
    method = gptq if rounding is Rounding.GPTQ else round_adaptively
    with progress() as bar:
        task = bar.add_task("rounding weights", total=len(prepared.compute_stages))
        method(prepared, chosen, progress=lambda: bar.advance(task))


def _print_kept(prepared: PreparedModel) -> None:
    if not prepared.kept_float:
        console.print("every layer is quantised")
        return
    table = Table("layer", "operation", "reason", title="stays in floating point")
    for kept in prepared.kept_float:
        table.add_row(kept.name, kept.operation, kept.reason)
    console.print(table)


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

    from dybit.quant.torch import agreement, stage_agreement

    agreed, differing, farthest = 0.0, 0.0, 0
    answers, predictions = [], []
    parts = list(batches(images.x))
    with progress() as bar, torch.inference_mode():
        for part in bar.track(parts, description="comparing"):
            x = torch.from_numpy(images.x[part])
            trace = executor.run(network, images.channels_last[part])
            # An image has as many codes as another.
            agreed += agreement(prepared, x, trace).codes * len(x) / len(images.x)
            for stage in stage_agreement(prepared, x, trace).values():
                differing = max(differing, stage.differing)
                farthest = max(farthest, stage.farthest)
            predictions.append(trace.predictions)
            answers.append(module(x).argmax(1).numpy())
    found, wanted = np.concatenate(predictions), np.concatenate(answers)
    lines = [
        f"codes as the fake-quantised model's: {agreed:.4%}",
        f"each layer given the same input: at least {1 - differing:.4%}, {farthest} apart at most",
        f"answers as the FP32 model's: {np.mean(found == wanted):.2%}",
    ]
    before, after = images.accuracy(wanted), images.accuracy(found)
    if before is not None and after is not None:
        lines.append(f"accuracy: {before:.2%} in FP32, {after:.2%} quantised")
    console.print("\n".join(lines), highlight=False)
