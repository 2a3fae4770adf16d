"""What each rank of the test of distributed training runs; writes what it ends with."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from dybit.quant.format_rules import FamilyFormats
from dybit.quant.torch.distributed import process_group
from dybit.quant.torch.train import TrainSettings, fine_tune
from tests.quant.training_model import calibrated, float_model, task

# 65 examples: the last batch of each epoch is one, of which one rank gets nothing.
EXAMPLES, EPOCHS, BATCH = 65, 2, 16


def draws(folder: Path) -> None:
    """Write the first number that augmentation draws on each rank."""

    def note(x: Tensor) -> Tensor:
        path = folder / f"draw-{torch.distributed.get_rank()}"
        if not path.exists():
            path.write_text(str(float(torch.rand(()))))
        return x

    fine_tune(calibrated(float_model()), task(EXAMPLES), TrainSettings(epochs=1), augment=note)


def job(folder: Path, name: str) -> None:
    """Train twice, with learned scales and with aligned ones."""
    for scales, family in (("learned", None), ("aligned", FamilyFormats("esb"))):
        prepared = calibrated(float_model(), 4, family)
        settings = TrainSettings(epochs=EPOCHS, batch=BATCH, scales=scales)
        losses = fine_tune(
            prepared,
            task(EXAMPLES),
            settings,
            formats=family,
            checkpoint=folder / f"{name}-{scales}.pt",
        )
        state = prepared.state_dict()
        tensors = [quantizer.tensor.scale for quantizer in prepared.quantizers]
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        content = {"state": state, "scales": tensors, "losses": losses}
        torch.save(content, folder / f"{name}-{scales}-{rank}.out")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group():
        job(Path(sys.argv[1]), "ranks")
        draws(Path(sys.argv[1]))
