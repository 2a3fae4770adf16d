"""Pipeline registers: what a stage knows, as one structure, and its way to the next."""

from amaranth import *
from amaranth.lib import data

__all__ = ["carry", "stage_register"]


def stage_register(members):
    """Return the register behind a pipeline stage.

    It has no reset: what it holds counts only where the stage's valid bit is set.

    Parameters
    ----------
    members : dict of str to shape
        What the stage knows.
    """
    return Signal(data.StructLayout(members), reset_less=True, src_loc_at=1)


def carry(target, source):
    """Return the assignments to `target` of the members it shares with `source`."""
    return [
        target[name].eq(source[name])
        for name, _ in target.shape()
        if name in source.shape().members
    ]
