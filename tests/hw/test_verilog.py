# amaranth: UnusedElaboratable=no
"""Emitted Verilog: the same design, equal modules shared, bytes that depend on it alone."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from amaranth import *
from amaranth.back import verilog as amaranth_verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.units import unit_name
from dybit.hw.verilog import PORT_WAIVERS, WAIVERS, emit
from dybit.hw.yosys import YosysError, run_yosys
from dybit.sim.library import Effort
from dybit.sim.toolchain import ToolFailed
from dybit.sim.verilated import CompiledModel
from tests.hw.players import play
from tests.hw.verilog_checks import check_with_icarus, check_with_verilator, check_with_yosys
from tests.hw.verilog_designs import Bank, Counter, Interrupting, Mixer, Names, OwnDomain, States

CYCLES = 3000


def emitted(directory, design=Mixer, name="mixer"):
    manifest = emit(design(), name, directory)
    return manifest, {path: (directory / path).read_text() for path in manifest["verilog"]}


def random_inputs(design, cycles, seed):
    """Random values of every input, with a reset at the start and now and then."""
    random = np.random.default_rng(seed)
    inputs = {"rst": (random.random(cycles) < 0.01).astype(int)}
    inputs["rst"][0] = 1
    for path, member, _ in design.signature.flatten(design):
        if member.flow == wiring.In:
            width = Shape.cast(member.shape).width
            inputs["__".join(path)] = random.integers(0, 1 << width, cycles)
    return inputs


def test_equal_components_share_one_module(tmp_path):
    manifest, texts = emitted(tmp_path)
    assert {name: module["instances"] for name, module in manifest["modules"].items()} == {
        "mixer": 1,
        "mixer_product": 1,
        "mixer_bank_2": 1,
        "mixer_counter_2": 2,
        "mixer_bank": 2,
        "mixer_counter": 5,
    }
    assert manifest["verilog"][0] == "mixer.v"
    assert manifest["modules"]["mixer_counter_2"]["component"] == "Counter"
    for path, text in texts.items():
        assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [path.removesuffix(".v")]


@pytest.mark.rtl
def test_emitted_verilog_equals_the_design_and_amaranths_own(tmp_path, vectors):
    inputs = random_inputs(Mixer(), CYCLES, seed=7)
    expected = play(Mixer(), "mixer", inputs, "amaranth", tmp_path)
    assert len(set(expected["sum"])) > CYCLES // 2
    compiled = play(Mixer(), "mixer", inputs, "compiled", tmp_path / "shared")
    for port, values in expected.items():
        # Before the first row, what a memory reads depends on how each player was reset.
        assert compiled[port][1:] == values[1:], port

    # Amaranth's own Verilog, a module for each instance, behind the same manifest.
    manifest = json.loads((tmp_path / "shared" / "verilog" / "manifest.json").read_text())
    text = amaranth_verilog.convert(Mixer(), name="mixer")
    assert text.count("endmodule") > len(manifest["verilog"])
    own = tmp_path / "own"
    own.mkdir()
    (own / "mixer.v").write_text(text)
    manifest |= {"verilog": ["mixer.v"]}
    manifest["content_hash"] = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    (own / "manifest.json").write_text(json.dumps(manifest))
    traces = []
    for directory in (own, tmp_path / "shared" / "verilog"):
        with CompiledModel(directory, effort=Effort.LOW) as model:
            model.reset()
            stimulus = model.stimulus(CYCLES)
            for port, values in inputs.items():
                stimulus.set(port, values)
            traces.append(model.play(stimulus))
    np.testing.assert_array_equal(*traces)
    vectors("emitted Verilog against its design", 2 * CYCLES)


@pytest.mark.rtl
@pytest.mark.parametrize("design", [Names, OwnDomain, States])
def test_what_could_trip_the_emitter_equals_the_design(tmp_path, vectors, design):
    inputs = random_inputs(design(), 400, seed=3) | {"rst": [0] * 400}
    expected = play(design(), "tricky", inputs, "amaranth", tmp_path)
    compiled = play(design(), "tricky", inputs, "compiled", tmp_path)
    assert {port: values[1:] for port, values in compiled.items()} == {
        port: values[1:] for port, values in expected.items()
    }
    vectors("emitted Verilog against its design", 400)


class Parts(wiring.Component):
    """Parts of a word, at a bit and at a field; above its top there are zeros."""

    i: In(8)
    at: In(2)
    o: Out(29)

    def elaborate(self, platform):
        m = Module()
        fields, bits = self.i.word_select(self.at, 5), self.i.as_signed().bit_select(self.at, 5)
        m.d.sync += self.o.eq(Cat(fields, bits, self.i.bit_select(self.at, 12)))
        return m


@pytest.mark.rtl
def test_parts_of_words_are_those_of_the_simulator(tmp_path, vectors):
    at, i = np.divmod(np.arange(1024), 256)
    inputs = {"i": list(i), "at": list(at)}
    expected = play(Parts(), "parts", inputs, "amaranth", tmp_path)
    assert play(Parts(), "parts", inputs, "compiled", tmp_path) == expected
    manifest = json.loads((tmp_path / "verilog" / "manifest.json").read_text())
    check_with_verilator(tmp_path / "verilog", manifest, tmp_path / "lint.log")
    vectors("parts of words", 1024)


def test_bytes_depend_on_the_design_alone(tmp_path):
    script = (
        "import sys; from dybit.hw.verilog import emit\n"
        "from tests.hw.verilog_designs import Mixer; emit(Mixer(), 'mixer', sys.argv[1])"
    )
    root = Path(__file__).parents[2]
    texts = []
    for seed in ("1", "2"):
        directory = tmp_path / f"run{seed}"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        subprocess.run(
            [sys.executable, "-c", script, directory], check=True, env=environment, cwd=tmp_path
        )
        texts.append({path.name: path.read_bytes() for path in sorted(directory.iterdir())})
    assert texts[0] == texts[1]
    joined = b"".join(texts[0].values()).decode()
    for foreign in (str(root), "src", ".py", "20[0-9][0-9]-", "Yosys", r"\\"):
        assert not re.search(foreign, joined), foreign


def test_names_are_those_of_the_author(tmp_path):
    _, texts = emitted(tmp_path, lambda: Bank(9), "bank")
    bank, counter = texts["bank.v"], texts["bank_counter.v"]
    assert bank.splitlines()[2] == "module bank(clk, rst, enable, address, step, o);"
    assert "wire signed [8:0] counter_0__count;" in bank
    assert ".step(counter_1__step)" in bank
    assert "always @(posedge clk) begin\n    if (enable) begin\n      count <= " in counter
    _, mixer = emitted(tmp_path)
    assert ".address(a[2:0])" in mixer["mixer.v"]
    for text in (*texts.values(), *mixer.values()):
        assert set(re.findall(r"\(\*.*?\*\)", text)) <= {"(* full_case = 32'd1 *)"}
    for text in texts.values():
        assert "$" not in re.sub(r"\$signed", "", text)
        assert "_next" not in text  # every register sits in a clocked block of its own


def test_manifest_describes_the_design(tmp_path):
    manifest = emit(Counter(6), "counter", tmp_path, parameters={"bits": 6}, latency={"count": 1})
    texts = [(tmp_path / path).read_bytes() for path in manifest["verilog"]]
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest
    assert manifest == {
        "name": "counter",
        "top": "counter",
        "verilog": ["counter.v"],
        "waivers": "counter.vlt",
        "ports": [
            {"name": "clk", "direction": "input", "width": 1},
            {"name": "rst", "direction": "input", "width": 1},
            {"name": "enable", "direction": "input", "width": 1},
            {"name": "step", "direction": "input", "width": 4},
            {"name": "count", "direction": "output", "width": 6},
        ],
        "modules": {"counter": {"component": "Counter", "instances": 1}},
        "parameters": {"bits": 6},
        "latency": {"count": 1},
        "content_hash": f"sha256:{hashlib.sha256(b''.join(texts)).hexdigest()}",
    }


def test_what_an_earlier_design_left_is_removed(tmp_path):
    (tmp_path / "mine.v").write_text("// not ours\n")
    emitted(tmp_path)
    emitted(tmp_path, lambda: Counter(6), "mixer")
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.v",
        "mixer.v",
        "mixer.vlt",
        "manifest.json",
    }


def test_an_interrupted_run_leaves_no_manifest(tmp_path, monkeypatch):
    emitted(tmp_path)

    def interrupt(path, text):
        raise KeyboardInterrupt

    monkeypatch.setattr("dybit.hw.verilog._replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        emitted(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("design", [Mixer, Interrupting])
def test_verilator_finds_nothing_but_the_waivers(tmp_path, design):
    assert set(WAIVERS) == {"PROCASSINIT", "UNUSEDSIGNAL", "WIDTHEXPAND"}
    # A port's waiver is there where the port is.
    further = [PORT_WAIVERS["interrupt"]] if design is Interrupting else []
    manifest, _ = emitted(tmp_path, design)
    waivers = tmp_path / manifest["waivers"]
    check_with_verilator(tmp_path, manifest, tmp_path / "lint.log")
    text = waivers.read_text()
    assert re.findall(r"-rule (\w+)", text) == [*WAIVERS, *(rule for rule, _ in further)]
    for rule, reason in further or WAIVERS.items():
        assert f"// {reason}" in text.splitlines()
        fewer = tmp_path / "fewer.vlt"
        fewer.write_text("\n".join(line for line in text.splitlines() if rule not in line))
        with pytest.raises(ToolFailed, match=rule):
            check_with_verilator(tmp_path, manifest, tmp_path / "lint.log", fewer)


def test_open_cases_and_signals_without_bits_are_no_warning(tmp_path):
    manifest, texts = emitted(tmp_path, States)
    check_with_verilator(tmp_path, manifest, tmp_path / "lint.log")
    (text,) = texts.values()
    assert text.count("endcase") == text.count("default: ;") > 2


def test_icarus_accepts_it(tmp_path, debian_tool):
    debian_tool("iverilog")
    manifest, _ = emitted(tmp_path)
    check_with_icarus(tmp_path, manifest, tmp_path / "icarus.log")


def test_yosys_accepts_it(tmp_path):
    manifest, _ = emitted(tmp_path)
    check_with_yosys(tmp_path, manifest)


def test_yosys_says_what_it_refused(tmp_path):
    with pytest.raises(YosysError, match=r"^Yosys failed: ERROR: .*no_such_pass"):
        run_yosys("no_such_pass", tmp_path)


class Leaky(wiring.Component):
    """Reads a child's register that is no port of it."""

    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.hidden = hidden = Hidden()
        m.d.comb += self.o.eq(hidden.secret)
        return m


class Hidden(wiring.Component):
    i: In(8)

    def __init__(self):
        super().__init__()
        self.secret = Signal(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.secret.eq(self.i)
        return m


class Wires(wiring.Component):
    i: In(8)
    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.i)
        return m


class AroundWires(wiring.Component):
    """Registers what a child without any logic passes on."""

    i: In(8)
    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.wires = wires = Wires()
        m.d.comb += wires.i.eq(self.i)
        m.d.sync += self.o.eq(wires.o)
        return m


def test_signals_shared_without_a_port_are_refused(tmp_path):
    message = r"signal 'secret' is used in Hidden and in Leaky: components must share"
    with pytest.raises(ValueError, match=message):
        emit(Leaky(), "leaky", tmp_path)


def test_a_child_of_wires_alone_is_kept(tmp_path):
    inputs = {"i": list(range(200))}
    outputs = play(AroundWires(), "around", inputs, "compiled", tmp_path)
    assert outputs["o"] == [0, *range(199)]


def test_a_name_that_is_no_identifier_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"Name must be letters, .*not 'a-b'"):
        emit(Counter(6), "a-b", tmp_path)


def test_what_is_no_component_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"must be a wiring\.Component, not <"):
        emit(Module(), "module", tmp_path)


@pytest.mark.parametrize(
    ("component", "module"),
    [("MPDecoder", "mp_decoder"), ("ProcessingElement", "processing_element"), ("Dma", "dma")],
)
def test_module_names_follow_the_class(component, module):
    assert unit_name(component) == module
