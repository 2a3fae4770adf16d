"""Pipelines: what a stage knows, as one structure, its way to the next, and when it goes."""

from amaranth import *
from amaranth import tracer

__all__ = ["carry", "delay", "handshake", "stage_register"]


class StageRegister:
    """What one stage of a pipeline knows: a register for each member, by its name.

    They are signals of their own, not fields of one: simulators shift and mask whatever shares a
    word.

    Parameters
    ----------
    name : str
        Prefix of the registers' names.
    members : dict of str to shape
    """

    def __init__(self, name, members):
        self.members = {
            member: Signal(shape, name=f"{name}__{member}", reset_less=True)
            for member, shape in members.items()
        }

    def __getattr__(self, member):
        return self.members[member]

    def __getitem__(self, member):
        return self.members[member]


def stage_register(members):
    """Return the register behind a pipeline stage, named as the variable it goes to.

    It has no reset: what it holds counts only where the stage's valid bit is set.

    Parameters
    ----------
    members : dict of str to shape
        What the stage knows.
    """
    return StageRegister(tracer.get_var_name(default="stage"), members)


def carry(target, source):
    """Return the assignments to a stage's register of the members it shares with `source`."""
    known = source.members if isinstance(source, StageRegister) else source.shape().members
    return [target[name].eq(source[name]) for name in target.members if name in known]


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
