"""Proofs by satisfiability: a harness of assertions around emitted Verilog, given to Yosys.

A harness is a Verilog module that instantiates what is proved and says what must hold, in
``assert`` and ``assume`` statements. The solver looks for inputs, and for registers, that break
an assertion while all assumptions hold; where there are none, the assertions are proved.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from dybit.hw.verilog import emit
from dybit.hw.yosys import run_yosys

__all__ = ["ProofError", "by_induction", "counterexample", "edited", "verilog_of"]

SECONDS = 300
"""Time limit of one solver run."""


class ProofError(RuntimeError):
    """A property was neither proved nor disproved."""


def verilog_of(component: object, name: str) -> str:
    """Return the Verilog of a component, all its modules, the top being called `name`."""
    with tempfile.TemporaryDirectory(prefix="dybit-proof-") as directory:
        manifest = emit(component, name, directory)
        return "".join((Path(directory) / file).read_text() for file in manifest["verilog"])


def edited(verilog: str, old: str, new: str) -> str:
    """Return a design with a bug: one place of its Verilog replaced."""
    count = verilog.count(old)
    assert count == 1, f"{old!r} must be there once, not {count} times"
    return verilog.replace(old, new)


def counterexample(
    *verilog: str, top: str = "proof", cycles: int = 1, prepare: str = "", options: str = ""
) -> str | None:
    """Return inputs that break an assertion in cycle `cycles`, or None when there are none.

    Registers and memories start with any content whatever, so None means that the assertions
    hold for ever, from the cycle on in which all that they look at has happened `cycles - 1`
    cycles before.

    Parameters
    ----------
    verilog
        Texts of the modules.
    top
        The harness.
    cycles
        Cycles unrolled.
    prepare
        Yosys commands, run before the harness is flattened.
    options
        More for the solver, such as ``-set mode 2``.

    Raises
    ------
    ProofError
        If the time was up.
    """
    free = "setattr -unset init w:*"
    solve = f"sat -seq {cycles} -prove-skip {cycles - 1} -prove-asserts -set-assumes"
    log = _run(verilog, top, f"{prepare}\n", free, f"{solve} {options}")
    if "no model found: SUCCESS!" in log:
        return None
    return _model(log)


def by_induction(
    *verilog: str, top: str = "proof", depth: int = 1, prepare: str = "", options: str = ""
) -> str | None:
    """Return a run from the reset that breaks an assertion, or None when all hold for ever.

    Proved by induction over time: the assertions hold in the first cycles, and in the one that
    follows any `depth` cycles, at most, in which they hold.

    Parameters
    ----------
    verilog, top, prepare, options
        See `counterexample`. Registers start with the content that the Verilog gives them.
    depth
        Cycles that the induction looks back, at most.

    Raises
    ------
    ProofError
        If the time was up, or `depth` cycles were not enough to tell.
    """
    solve = f"sat -tempinduct -maxsteps {depth} -prove-asserts -set-assumes"
    log = _run(verilog, top, f"{prepare}\n", "", f"{solve} {options}")
    if "Induction step proven: SUCCESS!" in log:
        return None
    return _model(log)


def _run(verilog: tuple[str, ...], top: str, prepare: str, free: str, solve: str) -> str:
    script = (
        f"read_verilog -formal -sv design.v\n{prepare}hierarchy -check -top {top}\n"
        f"proc -norom\nflatten\nchformal -lower\nmemory_map\nopt_clean\n{free}\n"
        f"{solve} -timeout {SECONDS} -show-inputs -show-outputs\n"
    )
    with tempfile.TemporaryDirectory(prefix="dybit-proof-") as directory:
        (Path(directory) / "design.v").write_text("\n".join(verilog))
        return run_yosys(script, directory)


def _model(log: str) -> str:
    """Return the table of signals that the solver found."""
    found = re.search(r"^ +Time Signal Name.*?\n\n", log + "\n\n", re.MULTILINE | re.DOTALL)
    if "model found" not in log or not found:
        raise ProofError("\n".join(["neither proved nor disproved:", *log.splitlines()[-12:]]))
    return found[0]
