"""The folder that goes onto a board with PYNQ: driver, plan of the digits network, notebook."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dybit.hw.platforms.vivado_system import DESIGN
from dybit.quant.config import QuantConfig
from dybit.scripts.console import replacing, write
from dybit.sim import board_driver, executor
from dybit.sim.runtime import compile as compile_plan

__all__ = ["notebook", "write_overlay"]

CELL = "dybit_0"
BATCH = 50


def write_overlay(
    config: QuantConfig,
    manifest: dict[str, Any],
    output: Path,
    epochs: int,
    progress: Callable[[], None] | None = None,
) -> float:
    """Write all of the folder but the image; return the network's accuracy on the golden model.

    The digits network is trained, quantised to `config` and planned for the accelerator. With the
    test images goes what the golden model makes of them, so that the notebook can compare.

    Parameters
    ----------
    config : QuantConfig
    manifest : dict
        The accelerator's.
    output : Path
    epochs : int
        Of training.
    progress : callable, optional
        Called after each epoch.
    """
    # torch takes seconds to load.
    from dybit.scripts import digits
    from dybit.scripts.quantize import quantize_model

    output.mkdir(parents=True, exist_ok=True)
    data = digits.load()
    model, _ = digits.train(epochs=epochs, progress=progress)
    _, network = quantize_model(model, config, data.train_x)
    compile_plan(network, config, batch=BATCH).save(output / "plan")
    images = data.test_x.transpose(0, 2, 3, 1)
    golden = executor.run(network, images)
    with replacing(output / "digits.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, images=images, labels=data.test_y, expected=golden.logits)
    shutil.copyfile(board_driver.__file__, output / "board_driver.py")
    write(output / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    write(output / "digits.ipynb", json.dumps(notebook(), indent=1) + "\n")
    return digits.accuracy(golden.logits, data.test_y)


_CELLS = (
    (
        "markdown",
        f"""\
# Handwritten digits on the DyBit accelerator

Runs on the board, in the folder that also has `{DESIGN}.bit`, `{DESIGN}.hwh`, `board_driver.py`,
`manifest.json`, `digits.npz` and `plan/`.
""",
    ),
    (
        "code",
        f"""\
import numpy as np
from pynq import Overlay

from board_driver import BoardDevice, Plan

overlay = Overlay("{DESIGN}.bit")
device = BoardDevice.pynq("manifest.json", overlay.ip_dict["{CELL}"]["phys_addr"])
plan = Plan.load("plan")
print(plan.describe())
""",
    ),
    ("markdown", "The images, and what the golden model makes of them.\n"),
    (
        "code",
        """\
digits = np.load("digits.npz")
result = device.run(plan, digits["images"])
print(f"accuracy {np.mean(result.predictions == digits['labels']):.2%}")
print("as the golden model:", np.array_equal(result.outputs, digits["expected"]))
""",
    ),
    (
        "code",
        """\
cycles = sum(counters["cycles"] for counters in result.counters)
print(f"{cycles / len(digits['images']):,.0f} cycles an image")
result.counters
""",
    ),
)


def notebook() -> dict[str, Any]:
    """Return the notebook, as nbformat 4.5 has it."""
    cells = []
    for index, (kind, text) in enumerate(_CELLS):
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"dybit-{index}",
            "metadata": {},
            "source": text.splitlines(keepends=True),
        }
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
