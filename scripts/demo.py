"""``make demo``: the whole chain on real images, from training to bit-exact RTL."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from dybit.quant.config import QuantConfig
from dybit.quant.network import QuantNetwork
from dybit.quant.precision import MODES
from dybit.scripts.console import UserError, console, progress, replacing, run, write
from dybit.scripts.demo_results import Result, summary, table
from dybit.scripts.quantize import quantize_model
from dybit.scripts.simulate import simulate_network
from dybit.scripts.tile import trace_tile
from dybit.scripts.verilog import emit_array
from dybit.sim import executor
from dybit.sim.verilated import CompiledModel

if TYPE_CHECKING:
    from dybit.scripts.digits import Digits, DigitsNet

__all__ = ["demo", "on_one_array"]

CONFIGS = tuple(Path(f"configs/digits-{name}.toml") for name in ("w8a8", "mixed", "w4a4"))
LAST_SEED = (1 << 32) - 1
REQUIRED_ACCURACY = 0.97
TRACED_LAYER = "conv2"


def demo(
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help="Quant config; the first is the yardstick of speed. Default: configs/digits-*."
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Test images to run on the RTL; default: all.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training images; default: enough.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LAST_SEED, help="Seed of the training.")] = 0,
    output: Annotated[
        Path, typer.Option("--output", "-o", file_okay=False, help="Folder of the results.")
    ] = Path("build/demo"),
    trace: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the waveforms of one tile to this VCD file."),
    ] = None,
) -> None:
    """Train, quantise, build an array, run it, and compare it with the golden model.

    A CNN for handwritten digits is quantised to each config. One array, with the modes of them
    all, computes every layer of every test image from the codes it gave for the layer before.
    Exits with 1 if an accumulator or a code differs from the golden model's.

    \b
    python -m dybit.scripts.demo
    python -m dybit.scripts.demo --images 50 --trace build/demo/tile.vcd
    """
    clock = Clock()
    configs = on_one_array([QuantConfig.load(path) for path in config or CONFIGS])
    # torch takes seconds to load: mistakes are told before.
    import torch

    from dybit.scripts import digits
    from dybit.scripts.demo_plot import layer_values, plot

    data = digits.load()
    if images is not None and images > len(data.test_x):
        raise UserError(f"--images: {images} is not allowed; must be 1 to {len(data.test_x)}")
    torch.set_num_threads(digits.THREADS)
    # Where it is, all else in the folder is whole and of one run.
    (output / "summary.json").unlink(missing_ok=True)

    model, accuracy = _train(seed, epochs or digits.EPOCHS, data, output)
    clock.lap("train", f"FP32 accuracy {accuracy:.2%} on {len(data.test_x)} test images")
    if accuracy < REQUIRED_ACCURACY:
        typer.echo(
            f"error: FP32 accuracy must be at least {REQUIRED_ACCURACY:.0%}, not {accuracy:.2%}",
            err=True,
        )
        raise typer.Exit(1)
    design = output / "verilog"
    clock.lap("build", _build(configs[0], design))
    results = [_run(each, model, data, images, design, output, clock) for each in configs]
    if trace is not None:
        with console.status("tracing one tile"):
            first = data.test_x[0].transpose(1, 2, 0)
            cycles = trace_tile(results[-1].network, TRACED_LAYER, first, design, trace)
        clock.lap("trace", f"{trace}, one tile of {TRACED_LAYER}, {cycles} cycles")
    with console.status("plotting"), replacing(output / "demo.png") as temporary:
        drawn = max((result.network for result in results), key=_mode_count)
        values = list(layer_values(model, drawn, data.test_x))
        plot(temporary, accuracy, results, drawn.name, values)
    clock.lap("plot", f"{output / 'demo.png'}")

    found = summary(accuracy, results, clock.seconds, clock.steps)
    write(output / "summary.json", json.dumps(found, indent=2) + "\n")
    console.print(table(accuracy, results))
    console.print(
        f"{found['rtl_values_compared']:,} accumulators and codes of the RTL compared with the "
        f"golden model's: {found['rtl_mismatches'] or 'no'} mismatches, {clock.seconds:.0f} s.\n"
        f"{output}: summary.json, demo.png, verilog, quant configs and networks",
        highlight=False,
    )
    for result in results:
        if result.simulation.first_mismatch is not None:
            where = f"{result.name}: {result.simulation.first_mismatch}"
            console.print(f"first mismatch: {where}", highlight=False, soft_wrap=True)
    if found["rtl_mismatches"]:
        raise typer.Exit(1)


class Clock:
    """Prints each step as it ends, and keeps how long it took."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self.steps: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self._started

    def lap(self, step: str, outcome: str) -> None:
        """Print the outcome of the step that ends here."""
        now = time.perf_counter()
        self.steps[step] = now - self._last
        console.print(
            f"{now - self._last:6.1f} s  {step}: {outcome}", highlight=False, soft_wrap=True
        )
        self._last = now


def on_one_array(configs: Sequence[QuantConfig]) -> list[QuantConfig]:
    """Return the configs for the one array that has the modes of all.

    Raises
    ------
    UserError
        If arrays differ in more than modes, or two configs have one name.
    """
    first = configs[0].array
    modes = {mode for config in configs for mode in config.modes}
    array = first.model_copy(update={"modes": tuple(mode for mode in MODES if mode in modes)})
    for index, config in enumerate(configs):
        if config.array.model_copy(update={"modes": first.modes}) != first:
            raise UserError(
                f"{config.name}: array must be that of {configs[0].name}, modes apart: "
                "cycles of different arrays do not compare"
            )
        if config.name in [other.name for other in configs[:index]]:
            raise UserError(f"--config: {config.name!r} is there twice")
    return [config.model_copy(update={"array": array}) for config in configs]


def _train(seed: int, epochs: int, data: Digits, output: Path) -> tuple[DigitsNet, float]:
    """Train, and save the weights and images for whoever quantises them by hand."""
    from safetensors.torch import save_file

    from dybit.scripts import digits

    with progress() as bar:
        task = bar.add_task("training", total=epochs)
        model, accuracy = digits.train(seed, lambda: bar.advance(task), epochs)
    with replacing(output / "model.safetensors") as temporary:
        save_file(model.state_dict(), temporary)
    for name, x, y in (
        ("calibration.npz", data.train_x, data.train_y),
        ("test.npz", data.test_x, data.test_y),
    ):
        with replacing(output / name) as temporary:
            np.savez(temporary, x=x, y=y)
    return model, accuracy


def _build(config: QuantConfig, design: Path) -> str:
    """Emit the array and compile it."""
    with progress() as bar:
        task = bar.add_task("building the array: Verilog, then a compiled model of it", total=2)
        manifest = emit_array(config.array, design)
        bar.advance(task)
        CompiledModel(design).close()
        bar.advance(task)
    modes = ", ".join(mode.name for mode in config.modes)
    size = f"{config.array.rows} x {config.array.columns}"
    return f"{size} elements, modes {modes}; {len(manifest['verilog'])} Verilog modules, compiled"


def _run(
    config: QuantConfig,
    model: DigitsNet,
    data: Digits,
    images: int | None,
    design: Path,
    output: Path,
    clock: Clock,
) -> Result:
    """Quantise to one config, and run images on the array."""
    import torch

    from dybit.quant.torch import agreement
    from dybit.scripts import digits

    prepared, network = quantize_model(model, config, data.train_x)
    write(output / f"{config.name}.toml", config.dumps())
    network.save(output / config.name)
    x = data.test_x.transpose(0, 2, 3, 1)
    golden = executor.run(network, x)
    accuracy = digits.accuracy(golden.logits, data.test_y)
    agreed = agreement(prepared, torch.from_numpy(data.test_x), golden).codes
    clock.lap(
        f"quantise {config.name}", f"accuracy {accuracy:.2%}, {agreed:.3%} of codes as in torch"
    )

    simulation = simulate_network(network, design, x[:images], title=f"{config.name} on the RTL")
    result = Result(network, len(x[:images]), len(x), accuracy, agreed, simulation)
    rate = result.cycles / result.images
    clock.lap(f"run {config.name}", f"{result.images} images, {rate:,.0f} cycles each")
    return result


def _mode_count(network: QuantNetwork) -> int:
    return len({layer.mode for layer in network.compute_layers})


if __name__ == "__main__":
    run(demo)
