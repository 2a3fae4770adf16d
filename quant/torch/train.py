"""Quantisation-aware training: a plain PyTorch loop that can be interrupted at any step.

Everything drawn at random is drawn from the seed and the place in the training alone (epoch, step,
rank), never from what went before. A run that continues from a checkpoint therefore computes what
an uninterrupted one does, bit for bit, on the same machine with the same number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dybit.quant.format_rules import FormatRule
from dybit.quant.torch import checkpoint as files
from dybit.quant.torch.distributed import world
from dybit.quant.torch.layerwise import check_calibrated
from dybit.quant.torch.modules import PreparedModel
from dybit.quant.torch.train_settings import TrainSettings
from dybit.quant.torch.trained_scales import detach
from dybit.quant.torch.training import Examples, Training

__all__ = ["Examples", "TrainSettings", "fine_tune"]


def fine_tune(
    prepared: PreparedModel,
    examples: Examples,
    settings: TrainSettings,
    *,
    teacher: nn.Module | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    formats: FormatRule | None = None,
    checkpoint: Path | None = None,
    save_every: int | None = None,
    progress: Callable[[], None] | None = None,
) -> list[float]:
    """Train a calibrated model with its rounding; it stays calibrated, ready to convert.

    In a process group each rank takes its share of every batch; ranks hold equal models
    throughout, those of one process on the whole batch but for the rounding of sums.

    Parameters
    ----------
    prepared : PreparedModel
        Calibrated; changed in place.
    examples : Examples
    settings : TrainSettings
    teacher : Module, optional
        The float model in evaluation mode; needed for distillation.
    augment : callable, optional
        Changes a batch of inputs; may draw from torch's global generator, which is seeded anew
        for each step.
    formats : FormatRule, optional
        As `calibrate` was given; formats are chosen anew where widths change.
    checkpoint : Path, optional
        File to continue from, if it is there, and to write to.
    save_every : int, optional
        Steps between two writes; by default one is made after each epoch.
    progress : callable, optional
        Called after each step, those that a checkpoint saved included.

    Returns
    -------
    list of float
        Mean loss of each epoch.

    Raises
    ------
    NetworkError
        In one line, if the model is not calibrated, the loss is not finite, or the checkpoint is
        of another training.
    """
    check_calibrated(prepared)
    if settings.distillation and teacher is None:
        raise ValueError("teacher must be given where settings.distillation is not 0")
    # What is drawn for the training is drawn apart: nobody else's numbers change.
    with torch.random.fork_rng(devices=[]):
        run = Training(prepared, examples, settings, teacher, augment, formats)
        if checkpoint is not None and checkpoint.exists():
            run.restore(checkpoint)
        tell = _nothing if progress is None else progress
        for _ in range(run.done):
            tell()
        every = run.steps if save_every is None else save_every
        while run.done < settings.epochs * run.steps:
            run.step()
            tell()
            if checkpoint is not None and run.done % every == 0 and world()[0] == 0:
                files.save(checkpoint, run.state())
    detach(prepared)
    return [total / len(examples) for total in run.losses]


def _nothing() -> None:
    """Where nobody watches."""
