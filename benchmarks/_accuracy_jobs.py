"""What one process of the accuracy benchmark does: a float network, then each way to quantise it.

One recipe for all formats. After training: calibration on the training images by least squared
error; at 4 bits adaptive rounding besides. With the rounding: from the calibrated network, learned
scales, the float network as the teacher, the same epochs, images and shifts for all.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from benchmarks._accuracy_plan import Method, Plan, Unit
from dybit.quant.config import QuantConfig
from dybit.quant.format_rules import FamilyFormats
from dybit.quant.torch import calibrate, prepare
from dybit.quant.torch.adaptive_rounding import AdaptiveRounding, round_adaptively
from dybit.quant.torch.train import TrainSettings, fine_tune
from dybit.scripts import digits
from dybit.scripts.console import replacing, write
from dybit.scripts.digits_networks import NETWORKS

__all__ = ["missing", "quantised", "run_unit", "settings"]

FOLDS, FOLD_SEED = 5, 0
CALIBRATED = 512
"""Training images that roundings are learned on; formats and scales see all."""

FLOAT = "fp32"


def run_unit(unit: Unit, plan: Plan, cache: Path) -> None:
    """Find out, for each method not yet in the cache, which test images come out right."""
    # Brevitas is not free of warnings, and a process of the pool has no one to read them.
    warnings.simplefilter("ignore")
    torch.set_num_threads(digits.THREADS)
    folder = unit.folder(cache)
    todo = missing(unit, plan, cache)
    if not todo:
        return
    images, labels = digits.images()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=FOLD_SEED).split(images, labels)
    chosen, held_out = list(folds)[unit.fold]
    x, y = torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen])
    test_x, test_y = torch.from_numpy(images[held_out]), labels[held_out]
    with digits.deterministic(unit.seed):
        model = NETWORKS[unit.network]()
        weights = folder / "fp32.safetensors"
        if weights.exists():
            model.load_state_dict(load_file(weights))
            model.eval()
        else:
            digits.fit(model, x, y, plan.epochs)
            with replacing(weights) as temporary:
                save_file(model.state_dict(), temporary)
        for name in todo:
            if name == FLOAT:
                answer: nn.Module = model
            else:
                method = next(each for each in plan.methods if each.name == name)
                answer = quantised(model, method, plan, x, y, unit.seed)
            right = _right(answer, test_x, test_y)
            write(folder / f"{name}.json", json.dumps({"right": right.astype(int).tolist()}))


def missing(unit: Unit, plan: Plan, cache: Path) -> list[str]:
    """Return the names of the results that the cache lacks, the float network's first."""
    names = [FLOAT, *(method.name for method in plan.methods)]
    return [name for name in names if not (unit.folder(cache) / f"{name}.json").exists()]


def quantised(
    model: nn.Module, method: Method, plan: Plan, x: Tensor, y: Tensor, seed: int
) -> nn.Module:
    """Return a network quantised by one method on the training images and their classes."""
    recipe = settings(method, plan, seed)
    if method.family.startswith("brevitas"):
        from benchmarks._accuracy_brevitas import brevitas_model

        return brevitas_model(model, method, recipe if method.trained else None, x, y)
    formats = FamilyFormats(method.family.removesuffix("-aligned"))
    prepared = prepare(model, _config(method), x[:1])
    calibrate(prepared, torch.split(x, digits.BATCH), formats=formats)
    if method.trained:
        examples = TensorDataset(x, y)
        fine_tune(
            prepared, examples, recipe, teacher=model, augment=digits.shifted, formats=formats
        )
    elif method.weight_bits < 8:
        rounding = AdaptiveRounding(steps=plan.rounding_steps, seed=seed)
        round_adaptively(prepared, x[:CALIBRATED], rounding)
    return prepared


def settings(method: Method, plan: Plan, seed: int) -> TrainSettings:
    """Return the recipe of training, the same for all formats of a setting."""
    return TrainSettings(
        epochs=plan.training_epochs,
        batch=digits.BATCH,
        learning_rate=3e-3 if method.weight_bits == 2 else 1e-3,
        scales="aligned" if method.family == "esb-aligned" else "learned",
        distillation=1.0,
        temperature=4.0,
        seed=seed,
    )


def _config(method: Method) -> QuantConfig:
    widths: dict[str, Any] = {
        "weight_bits": method.weight_bits,
        "activation_bits": method.activation_bits,
    }
    array = {"rows": 8, "columns": 8, "max_reduction": 1152, "accumulator_depth": 512}
    return QuantConfig.from_dict({"name": method.name, "array": array, "default": widths})


def _right(model: nn.Module, x: Tensor, y: NDArray[np.int64]) -> NDArray[np.bool_]:
    with torch.no_grad():
        answers: NDArray[np.int64] = model(x).argmax(1).numpy()
    return answers == y
