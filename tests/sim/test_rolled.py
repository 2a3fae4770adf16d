"""Rolled designs: what becomes a loop, and that it computes what the design does."""

import json
import zlib
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.verilog import emit
from dybit.quant.config import QuantConfig
from dybit.scripts.verilog import emit_array
from dybit.sim.library import Effort
from dybit.sim.rolled import MINIMUM, roll
from dybit.sim.toolchain import ToolMissing
from dybit.sim.verilated import CompiledModel

CYCLES = 400


class Cell(wiring.Component):
    """Registers with and without conditions, a product with signs, a table, words of all sizes."""

    def __init__(self):
        super().__init__(
            {
                "enable": In(1),
                "clear": In(1),
                "wide": In(130),
                "value": In(signed(7)),
                "sum": Out(signed(20)),
                "mixed": Out(70),
                "total": Out(33),
                "seen": Out(3, init=5),
            }
        )

    def elaborate(self, platform):
        m = Module()
        index = self.wide[3:7]
        looked_up = Signal(9)
        with m.Switch(index):
            for code in range(16):
                with m.Case(code):
                    m.d.comb += looked_up.eq(code * code + 31 * code)
        kept = Signal(signed(13), init=-3)
        product = Signal(signed(20))
        m.d.comb += product.eq(kept * self.value)
        with m.If(self.enable):
            m.d.sync += kept.eq(kept + self.value - looked_up)
        with m.If(self.clear):
            m.d.sync += kept.eq(self.wide[100:113].as_signed() >> self.wide[:3])
        m.d.sync += [
            self.sum.eq(Mux(self.enable, product, ~product)),
            self.mixed.eq(Cat(self.wide[64:128], self.wide[0:6])),
            self.seen.eq(self.seen + (kept < 0)),
        ]
        m.d.comb += self.total.eq(Cat(kept, self.mixed[60:70], self.seen, Const(1, 7)))
        return m


class Through(Cell):
    """Shows an input in the same cycle."""

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.seen.eq(self.seen + self.enable)
        m.d.comb += self.sum.eq(self.value + self.seen)
        return m


class Remembering(Cell):
    """Has a memory."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(shape=20, depth=8, init=[3, 1])
        read, write = words.read_port(), words.write_port()
        m.d.comb += [read.addr.eq(self.wide[:3]), self.sum.eq(read.data)]
        m.d.comb += [
            write.addr.eq(self.wide[3:6]),
            write.data.eq(self.value),
            write.en.eq(self.enable),
        ]
        return m


class Named(Cell):
    """Has a signal that is called as the loop's counter."""

    def elaborate(self, platform):
        m = Module()
        n = Signal(9)
        m.d.sync += n.eq(n + self.value)
        m.d.comb += self.sum.eq(n)
        return m


class Parted(Cell):
    """Has an output whose parts are chosen from each other."""

    def elaborate(self, platform):
        m = Module()
        kept = Signal(20)
        m.d.sync += kept.eq(self.wide)
        m.d.comb += self.sum[12:16].eq(kept[4:])
        for part in (2, 1, 0):
            with m.If(kept[part]):
                above = self.sum[4 * part + 4 : 4 * part + 8]
                m.d.comb += self.sum[4 * part : 4 * part + 4].eq(above)
        return m


class Mixed(Cell):
    """Shows a register, and another with an input."""

    def elaborate(self, platform):
        m = Module()
        kept = Signal(20, init=9)
        m.d.sync += kept.eq(kept + self.value)
        m.d.comb += [self.sum.eq(kept ^ 1), self.mixed.eq(kept ^ self.clear)]
        return m


class Chain(wiring.Component):
    """Cells of which each sees the one before it."""

    def __init__(self, cell, copies):
        self.cells = [cell() for _ in range(copies)]
        super().__init__(
            {
                "enable": In(copies),
                "clear": In(1),
                "wide": In(130),
                "value": In(signed(7)),
                "seen": Out(3 * copies),
                "sum": Out(20 * copies),
                "total": Out(33 * copies),
            }
        )

    def elaborate(self, platform):
        m = Module()
        value, wide = self.value, self.wide
        for number, cell in enumerate(self.cells):
            m.submodules[f"cell_{number}"] = cell
            m.d.comb += [
                cell.enable.eq(self.enable[number]),
                cell.clear.eq(self.clear if number else ~self.clear),
                cell.wide.eq(wide),
                cell.value.eq(value),
                self.seen.word_select(number, 3).eq(cell.seen),
                self.sum.word_select(number, 20).eq(cell.sum),
                self.total.word_select(number, 33).eq(cell.total),
            ]
            value, wide = cell.sum[3:10], Cat(cell.mixed, wide[70:])
        return m


class Feedback(wiring.Component):
    """What all copies are given depends on what some show, and registers see both."""

    value: In(signed(7))
    shown: Out(20)
    given: Out(70)

    def __init__(self):
        self.cells = [Mixed() for _ in range(5)]
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        clear = Signal()
        m.d.comb += clear.eq(self.cells[0].sum ^ self.cells[4].sum)
        for number, cell in enumerate(self.cells):
            m.submodules[f"cell_{number}"] = cell
            m.d.comb += cell.clear.eq(clear)
            m.d.comb += cell.value.eq(self.value >> number)
        m.d.sync += [self.shown.eq(self.cells[1].sum), self.given.eq(self.cells[0].mixed)]
        return m


def rolled_modules(directory, tmp_path):
    """Return the names of the loops that a design is given."""
    manifest = json.loads((directory / "manifest.json").read_text())
    files = [directory / name for name in manifest["verilog"]]
    names = {path.stem for path in roll(files, manifest["top"], tmp_path)}
    return sorted(names - {path.stem for path in files})


def compare(directory, tmp_path, vectors):
    """Play random vectors on a design as it is, which a trace needs, and rolled."""
    seed = zlib.crc32(directory.name.encode())
    random = np.random.default_rng(seed)
    print(f"seed {seed}")
    models = CompiledModel(directory), CompiledModel(directory, tmp_path / "t.vcd", Effort.LOW)
    with models[0] as rolled, models[1] as plain:
        stimulus = rolled.stimulus(CYCLES)
        for name, port in rolled.inputs.items():
            words = random.integers(0, 1 << 32, (CYCLES, port.words), np.uint32)
            if name == "rst":
                words = np.uint32(random.random((CYCLES, 1)) < 0.02)
            elif port.width % 32:
                words[:, -1] &= (1 << port.width % 32) - 1
            stimulus.words[:, port.offset : port.offset + port.words] = words
        np.testing.assert_array_equal(rolled.play(stimulus), plain.play(stimulus))
    vectors("rolled designs", CYCLES)


@pytest.mark.parametrize("copies", [MINIMUM, 7])
def test_a_chain_of_cells_is_a_loop_and_computes_the_same(copies, tmp_path, vectors):
    emit(Chain(Cell, copies), "chain", tmp_path / "design")
    assert rolled_modules(tmp_path / "design", tmp_path) == ["chain_chain_cell"]
    compare(tmp_path / "design", tmp_path, vectors)


@pytest.mark.parametrize("cell", [Through, Remembering, Named, Parted])
def test_what_a_loop_does_not_express_stays(cell, tmp_path, vectors):
    emit(Chain(cell, 5), "chain", tmp_path / "design")
    assert rolled_modules(tmp_path / "design", tmp_path) == []
    compare(tmp_path / "design", tmp_path, vectors)


def test_what_registers_outside_see_is_what_was_before_the_edge(tmp_path, vectors):
    emit(Feedback(), "feedback", tmp_path / "design")
    assert rolled_modules(tmp_path / "design", tmp_path) == ["feedback_feedback_mixed"]
    compare(tmp_path / "design", tmp_path, vectors)


def test_a_few_copies_are_no_loop(tmp_path):
    emit(Chain(Cell, MINIMUM - 1), "chain", tmp_path / "design")
    assert rolled_modules(tmp_path / "design", tmp_path) == []


def test_files_of_several_modules_are_returned_as_they_are(tmp_path):
    emit(Chain(Cell, 5), "chain", tmp_path / "design")
    top, cell = tmp_path / "design/chain.v", tmp_path / "design/chain_cell.v"
    assert roll([top, cell], "chain", tmp_path) != [top, cell]
    top.write_text(top.read_text() + "module spare(clk);\n  input clk;\nendmodule\n")
    assert roll([top, cell], "chain", tmp_path) == [top, cell]


def test_an_array_is_loops_over_elements_decoders_and_requantizers(tmp_path, vectors):
    config = QuantConfig.load("configs/digits-mixed.toml")
    small = config.array.model_copy(update={"rows": 4, "columns": 4})
    emit_array(small, tmp_path / "design")
    loops = rolled_modules(tmp_path / "design", tmp_path)
    assert loops == [
        "dybit_dybit_requantizer",
        *(f"dybit_systolic_array_dybit_mp_decoder{number}" for number in ("", "_2")),
        "dybit_systolic_array_dybit_processing_element",
    ]
    compare(tmp_path / "design", tmp_path, vectors)


@pytest.mark.parametrize(("shift", "loops"), [("$signed(kept) >> i", 0), ("kept >> i", 1)])
def test_a_sign_that_is_shifted_in_is_not_taken_for_a_zero(shift, loops, tmp_path):
    cell, top = tmp_path / "cell.v", tmp_path / "top.v"
    cell.write_text(
        "module cell(clk, i, o);\n  input clk;\n  input [2:0] i;\n  output [6:0] o;\n"
        "  reg [6:0] kept = 7'h00;\n  always @(posedge clk)\n    kept <= kept - i;\n"
        f"  reg [6:0] o;\n  always @(posedge clk)\n    o <= {shift};\nendmodule\n"
    )
    instances = "".join(
        f"  cell cell_{k} (\n    .clk(clk),\n    .i(i[{k}]),\n    .o()\n  );\n" for k in range(5)
    )
    top.write_text(f"module top(clk, i);\n  input clk;\n  input [4:0] i;\n{instances}endmodule\n")
    assert len(roll([top, cell], "top", tmp_path)) == 2 + loops


def test_without_yosys_one_line_says_so(tmp_path, monkeypatch):
    def version(package):
        raise PackageNotFoundError(package)

    emit(Chain(Cell, 5), "chain", tmp_path)
    monkeypatch.setattr("dybit.sim.rolled.version", version)
    with pytest.raises(
        ToolMissing, match=r"^Yosys is missing: install it with `pip install [^\n]+$"
    ):
        CompiledModel(tmp_path)
