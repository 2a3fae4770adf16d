"""What synthesis makes of an element, registers in DSP blocks included, computes as its model."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dybit.hw.processing_element import ProcessingElement
from dybit.hw.synthesis import synthesise
from dybit.hw.verilog import emit
from dybit.hw.yosys import run_yosys
from dybit.sim.library import Effort
from dybit.sim.verilated import CompiledModel
from tests.hw.array_vectors import array_config
from tests.hw.element_vectors import compare, vectors_of

CASES = {
    "W8A8": (array_config(4, 1, "W8A8", "signed"), True),
    "W8A8-W4A4": (array_config(4, 1, "W8A8 W4A4", "both"), True),
    "W4A4": (array_config(4, 1, "W4A4", "signed"), False),
}
"""Arrays, and whether their netlist may and must hold a DSP block."""

# Yosys models the DSP48E1 alone, which has no multiplexers before the multiplier: packing leaves
# them at their defaults.
SCRIPT = """
read_json netlist.json
delete t:$scopeinfo
chtype -set DSP48E1 t:DSP48E2
setparam -unset AMULTSEL -unset BMULTSEL t:DSP48E1
write_verilog -noattr netlist.v
"""

pytestmark = pytest.mark.rtl


def cell_models() -> str:
    """Return the Verilog that Yosys ships as simulation models of Xilinx cells."""
    spec = importlib.util.find_spec("pyosys")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("share").joinpath("xilinx", "cells_sim.v").read_text()


def synthesised(dut: ProcessingElement, dsp: bool, directory: Path) -> Counter[str]:
    """Make `directory` the design of an element's netlist; return its cells by type."""
    manifest = emit(dut, "processing_element", directory)
    netlist = synthesise(directory, blocks=(), dsp=dsp)
    (directory / "netlist.json").write_text(json.dumps({"modules": netlist}))
    run_yosys(SCRIPT, directory)
    (directory / "cells.v").write_text(cell_models())
    manifest["verilog"] = ["netlist.v", "cells.v"]
    content = b"".join((directory / name).read_bytes() for name in manifest["verilog"])
    manifest["content_hash"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (module,) = netlist.values()
    return Counter(cell["type"] for cell in module["cells"].values())


# One mode alone is packed as it is beside another.
@pytest.mark.parametrize(
    "name", [pytest.param("W8A8", marks=pytest.mark.full), "W8A8-W4A4", "W4A4"]
)
def test_the_netlist_computes_as_the_model(
    name: str, tmp_path: Path, vectors: Callable[[str, int], None]
) -> None:
    array, dsp = CASES[name]
    dut = ProcessingElement(array)
    inputs, expected = vectors_of(dut, tiles=300, seed=5)
    cells = synthesised(dut, dsp, tmp_path)
    assert cells["DSP48E2"] == dsp, cells
    with CompiledModel(tmp_path, effort=Effort.LOW) as model:
        model.reset()
        stimulus = model.stimulus(len(expected))
        for port, values in inputs.items():
            stimulus.set(port, values)
        trace = model.play(stimulus)
        outputs = {port: model.read(trace, port) for port in model.outputs}
    vectors("processing element, netlist", compare(outputs, expected))
