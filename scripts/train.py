"""``dybit train``: a user's PyTorch model, quantised and trained with its rounding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from dybit.quant.config import QuantConfig
from dybit.scripts.console import UserError, console, progress, run
from dybit.scripts.inputs import Images, load_images, load_model, load_weights
from dybit.scripts.quantize import quantize_model
from dybit.sim import executor

if TYPE_CHECKING:
    from torch import nn

    from dybit.quant.torch.train import TrainSettings

__all__ = ["train"]

BATCH = 256
"""Images a model is run on at a time."""


def train(
    model: Annotated[str, typer.Argument(help="path/to/file.py:function, returning nn.Module.")],
    config: Annotated[Path, typer.Option(help="Quant config.")],
    images: Annotated[Path, typer.Option(help=".npz with float x (N, C, H, W) and classes y.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the network.")],
    weights: Annotated[
        Path | None, typer.Option(help="state_dict of the model, .pt or .safetensors.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help=".npz like the images, for the accuracies; default: those.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch: Annotated[int, typer.Option(min=1, help="Images a step, over all ranks.")] = 64,
    learning_rate: Annotated[float, typer.Option(min=0)] = 1e-3,
    widths: Annotated[
        str, typer.Option(help="Widths to come down from in equal parts, such as 8,6; none: ''.")
    ] = "",
    distillation: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the loss that the float model sets.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train a model with the rounding of its config, and save the network it becomes.

    Begins with the float model calibrated to the config. Interrupted, it goes on from
    OUTPUT/training.pt, to the same result. Several processes share the work under torchrun.

    \b
    dybit train model.py:build --weights model.pt --images train.npz --test test.npz \\
        --config configs/digits-w2a2.toml -o build/network
    torchrun --nproc-per-node 2 -m dybit.scripts.train model.py:build --weights model.pt ...
    """
    loaded = QuantConfig.load(config)
    examples = _with_classes(images)
    judged = examples if test is None else _with_classes(test)
    module = load_model(model)
    if weights is not None:
        load_weights(module, weights)

    from dybit.quant.torch.distributed import process_group
    from dybit.quant.torch.train_settings import TrainSettings

    try:
        settings = TrainSettings(
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            widths=tuple(int(width) for width in widths.split(",") if width),
            distillation=distillation,
            seed=seed,
        )
    except ValueError as error:
        raise UserError(f"--widths: {error}") from None
    with process_group() as (rank, _):
        console.quiet = rank > 0
        _train(module, loaded, examples, judged, output, settings)


def _train(
    module: nn.Module,
    config: QuantConfig,
    examples: Images,
    test: Images,
    output: Path,
    settings: TrainSettings,
) -> None:
    import torch
    from torch.utils.data import TensorDataset

    from dybit.quant.torch import convert
    from dybit.quant.torch.train import fine_tune

    assert examples.y is not None
    prepared, network = quantize_model(module, config, examples.x)
    accuracies = {"FP32": _accuracy(module, test)}
    accuracies["calibrated"] = test.accuracy(executor.run(network, test.channels_last).predictions)
    total = settings.epochs * -(-len(examples.x) // settings.batch)
    checkpoint = output / "training.pt"
    if checkpoint.exists():
        console.print(f"{checkpoint}: goes on from there", highlight=False)
    with progress() as bar:
        task = bar.add_task("training", total=total)
        losses = fine_tune(
            prepared,
            TensorDataset(*map(torch.from_numpy, (examples.x, examples.y))),
            settings,
            teacher=module,
            checkpoint=checkpoint,
            progress=lambda: bar.advance(task),
        )
    network = convert(prepared)
    if not console.quiet:  # ranks have equal networks; one writes it
        network.save(output)
    accuracies["trained"] = test.accuracy(executor.run(network, test.channels_last).predictions)
    table = Table("", "accuracy", title=f"{network.name}, {len(test.x)} images")
    for name, accuracy in accuracies.items():
        table.add_row(name, f"{accuracy:.2%}")
    console.print(table)
    console.print(
        f"loss {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last\n"
        f"{output}: network.toml, network.safetensors",
        highlight=False,
    )


def _with_classes(path: Path) -> Images:
    loaded = load_images(path)
    if loaded.y is None:
        raise UserError(f"{path}: y must be {len(loaded.x)} integers, not absent")
    return loaded


def _accuracy(module: nn.Module, images: Images) -> float | None:
    import numpy as np
    import torch

    with torch.inference_mode():
        parts = torch.split(torch.from_numpy(images.x), BATCH)
        return images.accuracy(np.concatenate([module(x).argmax(1).numpy() for x in parts]))


if __name__ == "__main__":
    run(train)
