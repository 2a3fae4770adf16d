"""What a float model's activations look like on calibration data, batch by batch kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dybit.quant.search.cache import Cache, digest
from dybit.quant.tensor import NetworkError
from dybit.quant.torch.modules import PreparedModel
from dybit.quant.torch.sampler import SAMPLE, Sampler

__all__ = ["Observed", "fingerprint", "observe"]


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """A uniform sample of an activation tensor.

    Attributes
    ----------
    values : ndarray of float32
    count : int
        Elements it was drawn from.
    minimum : float
        Of all of them.
    """

    values: NDArray[np.float32]
    count: int
    minimum: float


def observe(
    prepared: PreparedModel,
    batches: Sequence[Tensor],
    cache: Cache | None = None,
    progress: Callable[[], None] | None = None,
) -> dict[str, Observed]:
    """Return a sample of every activation tensor that is codes, by the name of its quantizer.

    Parameters
    ----------
    prepared : PreparedModel
        Its calibration is forgotten: what is observed are real numbers.
    batches : sequence of Tensor
        What was observed of a batch is kept at once, and not computed again.
    cache : Cache, optional
    progress : callable, optional
        Called after each batch.
    """
    if not sum(map(len, batches)):
        raise NetworkError("batches must hold at least one input")
    prepared.forget()
    kept = Cache(None) if cache is None else cache
    model = fingerprint(prepared, batches[0])
    total = sum(map(len, batches))
    parts = []
    for index, batch in enumerate(batches):
        size = -(-SAMPLE * len(batch) // total)
        key = ("observed", model, digest(batch.numpy()), index, size)
        parts.append(kept.arrays(key, partial(_sample, prepared, batch, index, size)))
        if progress is not None:
            progress()
    observed = {}
    for quantizer in prepared.quantizers:
        name = quantizer.name
        notes = np.stack([part[f"{name}/notes"] for part in parts])
        observed[name] = Observed(
            np.concatenate([part[f"{name}/values"] for part in parts]),
            int(notes[:, 0].sum()),
            float(notes[:, 1].min()),
        )
    return observed


def fingerprint(prepared: PreparedModel, example: Tensor) -> str:
    """Return a hash of what a model computes: its graph, its parameters, and an output of its own.

    The output tells apart float layers that are functions, of which the graph knows little.

    Parameters
    ----------
    prepared : PreparedModel
        Its calibration is forgotten.
    example : Tensor
        Batch first.
    """
    prepared.forget()
    with torch.no_grad():
        output = prepared(example[:1])
    parts: list[Any] = [output.numpy()]
    for stage in prepared.stages:
        fields = {name: value for name, value in vars(stage).items() if _is_plain(value)}
        parts += [type(stage).__name__, sorted(fields.items())]
    for name, value in sorted(prepared.state_dict().items()):
        parts += [name, value.detach().cpu().numpy()]
    return digest(*parts)


def _is_plain(value: Any) -> bool:
    """Return whether a value's text says all of it, in every process."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _sample(prepared: PreparedModel, batch: Tensor, index: int, size: int) -> dict[str, Any]:
    names = [quantizer.name for quantizer in prepared.quantizers]
    samplers = {name: Sampler(name, (place, index), size) for place, name in enumerate(names)}
    counts = dict.fromkeys(names, 0)
    with torch.no_grad():
        for stage, y in prepared.steps(batch):
            made = prepared.image if stage is None else stage.quantizer
            if made is not None and made.name in samplers:
                samplers[made.name].add(y)
                counts[made.name] += y.numel()
    found: dict[str, Any] = {}
    for name, sampler in samplers.items():
        found[f"{name}/values"] = sampler.values
        found[f"{name}/notes"] = np.array([counts[name], sampler.minimum])
    return found
