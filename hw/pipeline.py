"""Pipelines: what a stage knows, as one structure, its way to the next, and when it goes."""

from amaranth import *
from amaranth.lib import data

__all__ = ["carry", "delay", "handshake", "stage_register"]


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


def delay(m, value, cycles, name, *, reset=False):
    """Return `value` as it was `cycles` ago.

    Parameters
    ----------
    m : Module
        Gets the registers.
    value : Value
    cycles : int
    name : str
        Of the registers: ``<name>_delayed_1`` and so on.
    reset : bool
        They start, and start again, at 0.
    """
    value = Value.cast(value)
    for stage in range(cycles):
        delayed = Signal(len(value), name=f"{name}_delayed_{stage + 1}", reset_less=not reset)
        m.d.sync += delayed.eq(value)
        value = delayed
    return value


def handshake(m, i, o, stages, ready):
    """Connect the handshakes of a pipeline that stops as a whole; return when it advances.

    Parameters
    ----------
    m : Module
        Gets a valid bit for each stage.
    i, o : stream interface
        What the pipeline takes in, and what its last stage gives out; payloads are the caller's.
    stages : int
        Registers from `i` to `o`.
    ready : Value
        Whether the last stage may be overwritten.
    """
    valid = Signal(stages)
    advance = Signal()
    m.d.comb += [advance.eq(ready), i.ready.eq(advance), o.valid.eq(valid[-1])]
    with m.If(advance):
        m.d.sync += valid.eq(Cat(i.valid, valid))
    return advance
