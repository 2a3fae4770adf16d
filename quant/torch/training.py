"""The state of a quantisation-aware training, and one step of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import default_collate

from dybit.quant.format_rules import FormatRule
from dybit.quant.tensor import NetworkError
from dybit.quant.torch import checkpoint as files
from dybit.quant.torch.calibrate import calibrate
from dybit.quant.torch.distillation import distillation_loss
from dybit.quant.torch.distributed import sum_over_ranks, world
from dybit.quant.torch.learned_scale import LearnedScale
from dybit.quant.torch.modules import PreparedModel
from dybit.quant.torch.train_settings import TrainSettings
from dybit.quant.torch.trained_scales import attach, detach, settle

__all__ = ["Examples", "Training"]

CALIBRATED = 512
"""Examples, the first ones, on which formats are chosen anew where widths change."""


class Examples(Protocol):
    """Pairs of an input and its class, such as torch's data sets are."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class Training:
    """A training at some step of its way.

    Members
    -------
    steps : int
        Of an epoch.
    done : int
        Steps taken since the beginning.
    losses : list of float
        Sum over the examples of each epoch.

    Other parameters are those of `fine_tune`.
    """

    def __init__(
        self,
        prepared: PreparedModel,
        examples: Examples,
        settings: TrainSettings,
        teacher: nn.Module | None,
        augment: Callable[[Tensor], Tensor] | None,
        formats: FormatRule | None,
    ) -> None:
        if not len(examples):
            raise NetworkError("examples must hold at least one pair")
        self.prepared, self.examples, self.settings = prepared, examples, settings
        self.teacher, self.augment, self.formats = teacher, augment, formats
        self.steps = -(-len(examples) // settings.batch)
        self.done = 0
        self.losses = [0.0] * settings.epochs
        self._device = next(prepared.parameters()).device
        self._order: tuple[int, Tensor] | None = None
        self._attach()

    def step(self) -> None:
        """Take one step; where the least width changes, formats are chosen anew before it."""
        epoch, step = divmod(self.done, self.steps)
        widths = [self.settings.least_bits(each) for each in (max(epoch - 1, 0), epoch)]
        if not step and (widths[0] != widths[1] or (not epoch and self.settings.widths)):
            detach(self.prepared)
            self._calibrate(widths[1])
            self._attach()
        rank, ranks = world()
        batch = self._batches(epoch)[step]
        torch.manual_seed(_draw(self.settings.seed, epoch, step, rank))
        # A rank that gets nothing of a small batch takes an example along that does not count.
        mine = batch[rank::ranks]
        x, y = self._fetch(mine if len(mine) else batch[:1])
        if self.augment is not None:
            x = self.augment(x)

        rate = self.settings.rate((self.done + 1) / (self.settings.epochs * self.steps))
        for group in self._optimizer.param_groups:
            group["lr"] = group["full_lr"] * rate
        loss = self._loss(x, y) if len(mine) else 0 * self._loss(x, y)
        self._optimizer.zero_grad()
        # Gradients are averaged over ranks, of which each holds a part of the sum.
        (loss * (ranks / len(batch))).backward()
        self._optimizer.step()
        settle(self.prepared)
        total = float(sum_over_ranks(loss.detach().double()))
        if not math.isfinite(total):
            raise self._diverged(f"the loss is {total}")
        self.losses[epoch] += total
        self.done += 1

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {
            "settings": dataclasses.asdict(self.settings),
            "examples": len(self.examples),
            "done": self.done,
            "losses": self.losses,
            "formats": files.formats_of(self.prepared),
            "model": self.prepared.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, path: Path) -> None:
        """Go on where the checkpoint at `path` was written."""
        state = files.load(path, self._device)
        now = {**dataclasses.asdict(self.settings), "examples": len(self.examples)}
        saved = {**state["settings"], "examples": state["examples"]}
        for field, value in now.items():
            if saved.get(field) != value:
                raise NetworkError(
                    f"{path}: {field} must be {saved.get(field)!r}, as in the training it "
                    f"continues, not {value!r}; remove the file to begin anew"
                )
        try:
            files.restore_formats(self.prepared, state["formats"])
            self._attach()
            self.prepared.load_state_dict(state["model"])
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise NetworkError(f"{path}: must be of the same model: {reason}") from None
        self._optimizer.load_state_dict(state["optimizer"])
        self.done, self.losses = state["done"], state["losses"]

    def _calibrate(self, least_bits: int) -> None:
        chosen = range(min(CALIBRATED, len(self.examples)))
        inputs, _ = self._fetch(torch.tensor(chosen))
        calibrate(
            self.prepared.eval(),
            torch.split(inputs, 64),
            formats=self.formats,
            least_bits=least_bits,
        )

    def _attach(self) -> None:
        """Make the scales trainable, and an optimiser of all there is to train."""
        attach(self.prepared, self.settings.scales)
        settings = self.settings
        weights = [stage.weight for stage in self.prepared.compute_stages]
        modules = list(self.prepared.modules())
        scales = [each.log_scale for each in modules if isinstance(each, LearnedScale)]
        known = {id(parameter) for parameter in (*weights, *scales)}
        others = [p for p in self.prepared.parameters() if id(p) not in known]
        groups = [
            (weights, settings.learning_rate, settings.weight_decay),
            (others, settings.learning_rate, 0.0),
            (scales, settings.scale_learning_rate, 0.0),
        ]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "full_lr": rate, "weight_decay": decay}
                for parameters, rate, decay in groups
                if parameters
            ]
        )
        # Buffers follow from what all ranks share: there is nothing to send.
        self._model: nn.Module = self.prepared
        if world()[1] > 1:
            self._model = DistributedDataParallel(self.prepared, forward_sync_buffers=False)

    def _diverged(self, reason: str) -> NetworkError:
        epoch, step = divmod(self.done, self.steps)
        return NetworkError(
            f"training must stay finite, but in step {step} of epoch {epoch} {reason}; lower "
            "learning_rate, and look for NaN in the examples"
        )

    def _batches(self, epoch: int) -> list[Tensor]:
        """Return the places of the examples of each step of an epoch."""
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(_draw(self.settings.seed, epoch))
            self._order = epoch, torch.randperm(len(self.examples), generator=generator)
        return list(torch.split(self._order[1], self.settings.batch))

    def _fetch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        x, y = default_collate([self.examples[i] for i in indices.tolist()])
        return x.to(self._device), y.to(self._device)

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of the examples' losses."""
        try:
            logits = self._model(x)
        except ValueError as error:  # of a NaN, which no format has
            raise self._diverged(str(error)) from error
        if self.teacher is None or not self.settings.distillation:
            return functional.cross_entropy(logits, y, reduction="sum")
        with torch.no_grad():
            wanted = self.teacher(x)
        weight, temperature = self.settings.distillation, self.settings.temperature
        return distillation_loss(logits, y, wanted, weight, temperature).sum()


def _draw(*place: int) -> int:
    """Return a seed that depends on the place alone."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> np.uint64(1))
