"""``dybit export`` and ``dybit import``: saved networks as ONNX models, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dybit.quant.network import QuantNetwork
from dybit.scripts.console import console

__all__ = ["export", "import_"]


def export(
    network: Annotated[Path, typer.Argument(help="Folder that `dybit quantize` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file.")],
    qonnx: Annotated[
        bool, typer.Option("--qonnx", help="QONNX's Quant in place of codes; uniform formats only.")
    ] = False,
) -> None:
    """Write a saved network as an ONNX model that computes exactly the same.

    \b
    dybit export build/network -o network.onnx
    """
    # onnx takes a second to load: the other commands do without.
    from dybit.quant.interchange import export_onnx

    loaded = QuantNetwork.load(network)
    output.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(loaded, output, qonnx)
    console.print(f"{output}: {len(loaded.layers)} layers", highlight=False)


def import_(
    model: Annotated[Path, typer.Argument(help="ONNX file that `dybit export` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the network.")],
) -> None:
    """Turn an exported ONNX model back into a network for `dybit simulate`.

    \b
    dybit import network.onnx -o build/network
    """
    from dybit.quant.interchange import import_onnx

    network = import_onnx(model)
    network.save(output)
    console.print(f"{output}: network.toml, network.safetensors", highlight=False)
