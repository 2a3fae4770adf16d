"""Training on several processes, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, distributed

__all__ = ["process_group", "sum_over_ranks", "world"]


@contextmanager
def process_group() -> Iterator[tuple[int, int]]:
    """Join the processes that ``torchrun`` started, if it did; give rank and number of ranks."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    distributed.init_process_group("gloo")
    try:
        yield world()
        # A rank that left early would close connections that others still use.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def world() -> tuple[int, int]:
    """Return rank and number of ranks; (0, 1) outside a process group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def sum_over_ranks(x: Tensor) -> Tensor:
    """Return the sum of `x` over all ranks; `x` itself is changed."""
    if world()[1] > 1:
        distributed.all_reduce(x)
    return x
