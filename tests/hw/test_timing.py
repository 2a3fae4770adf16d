"""Logic depth: netlists small enough to count by hand, every path of random ones, real ones."""

import random

import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from dybit.hw.cell_arcs import TimingError
from dybit.hw.synthesis import read_netlist, synthesise
from dybit.hw.timing import logic_depth
from dybit.hw.verilog import emit
from dybit.hw.yosys import run_yosys
from tests.hw.verilog_designs import Mixer

OUTPUTS = {"O", "Q", "CO", "P", "DOUT"}


def cell(kind, parameters=None, **pins):
    """A cell with nets, numbers, or constants, "0" and "1", at its pins."""
    return {
        "type": kind,
        "parameters": parameters or {},
        "port_directions": {pin: "output" if pin in OUTPUTS else "input" for pin in pins},
        "connections": {
            pin: nets if isinstance(nets, list) else [nets] for pin, nets in pins.items()
        },
    }


def module(cells, inputs=(), outputs=()):
    ports = {f"i{net}": {"direction": "input", "bits": [net]} for net in inputs}
    ports |= {f"o{net}": {"direction": "output", "bits": [net]} for net in outputs}
    return {"ports": ports, "cells": {f"cell_{n}": cell for n, cell in enumerate(cells)}}


def depth(*cells, inputs=(), outputs=()):
    return logic_depth({"top": module(cells, inputs, outputs)})["top"]


def carry(s, di, o, co, ci="0", kind="CARRY4"):
    return cell(kind, S=s, DI=di, O=o, CO=co, CI=ci, CYINIT="0")


REGISTERS = cell("FDRE", D="0", Q=1, C=99, CE="1", R="0")


def test_between_two_registers():
    luts = [cell("LUT2", I0=1, I1="1", O=2), cell("LUT6", I0=2, O=3)]
    assert depth(REGISTERS, *luts, cell("FDRE", D=3, Q=4)) == [(2, 0, 0)]


@pytest.mark.parametrize("pin", ["D", "CE", "R"])
def test_every_input_of_a_register_ends_a_path(pin):
    assert depth(REGISTERS, cell("INV", I=1, O=2), cell("FDSE", **{pin: 2}, Q=4)) == [(1, 0, 0)]


def test_from_and_to_the_ports():
    assert depth(cell("LUT1", I0=1, O=2), inputs=[1], outputs=[2]) == [(1, 0, 0)]
    assert depth(REGISTERS, outputs=[1]) == [(0, 0, 0)]
    assert depth(cell("FDRE", D=5, Q=1), inputs=[5]) == [(0, 0, 0)]
    assert depth(REGISTERS) == []


def test_wide_multiplexers_are_in_the_slice_of_their_luts():
    cells = [cell("LUT6", I0=1, O=2), cell("MUXF7", I0=2, S="0", O=3), cell("MUXF8", I1=3, O=4)]
    assert depth(REGISTERS, *cells, outputs=[4]) == [(1, 0, 0)]
    select = cell("MUXF7", I0="0", S=2, O=3)
    assert depth(REGISTERS, cells[0], select, outputs=[3]) == [(2, 0, 0)]
    both = cell("MUXF7", I0=2, S=2, O=3)
    assert depth(REGISTERS, cells[0], both, outputs=[3]) == [(2, 0, 0)]
    # What no LUT drives passes through one to get there.
    assert depth(REGISTERS, cell("MUXF7", I0=1, O=3), outputs=[3]) == [(1, 0, 0)]


def test_a_chain_counts_once_however_long():
    cells = [
        cell("LUT2", I0=1, O=2),
        carry([2, "0", "0", "0"], ["0"] * 4, [10, 11, 12, 13], [14, 15, 16, 17]),
        carry(["0"] * 4, ["0"] * 4, [20, 21, 22, 23], [24, 25, 26, 27], ci=17),
    ]
    assert depth(REGISTERS, *cells, outputs=[22]) == [(1, 1, 0)]


def test_a_carry_that_leaves_its_chain_ends_it():
    cells = [
        carry([1] * 4, ["0"] * 4, [10, 11, 12, 13], [14, 15, 16, 17]),
        cell("LUT1", I0=17, O=18),
        carry([18, "0", "0", "0"], ["0"] * 4, [20, 21, 22, 23], [24, 25, 26, 27]),
    ]
    assert depth(REGISTERS, *cells, outputs=[22]) == [(1, 2, 0)]
    # Straight into a sum, it crosses the fabric all the same.
    assert depth(
        REGISTERS,
        cells[0],
        carry([17, "0", "0", "0"], ["0"] * 4, [20, 21, 22, 23], [24, 25, 26, 27]),
        outputs=[22],
    ) == [(0, 2, 0)]


def test_a_register_at_the_carry_in_enters_the_chain():
    chain = carry(["0"] * 4, ["0"] * 4, [10, 11, 12, 13], [14, 15, 16, 17], ci=1)
    assert depth(REGISTERS, chain, outputs=[10]) == [(0, 1, 0)]


def test_a_sum_bit_does_not_wait_for_the_bits_above():
    slow = [cell("LUT1", I0=1, O=2), cell("LUT1", I0=2, O=3)]
    chain = carry([1, "0", "0", 3], ["0"] * 4, [10, 11, 12, 13], [14, 15, 16, 17])
    after = [cell("LUT1", I0=10, O=30), cell("LUT1", I0=30, O=31)]
    assert depth(REGISTERS, *slow, chain, *after, outputs=[13, 31]) == [(2, 1, 0)]
    # The data of a bit reach the carry out of it, not its own sum.
    chain = carry(["0"] * 4, [3, "0", "0", "0"], [10, 11, 12, 13], [14, 15, 16, 17])
    assert depth(REGISTERS, *slow, chain, outputs=[10]) == []
    assert depth(REGISTERS, *slow, chain, outputs=[11]) == [(2, 1, 0)]


def test_paths_that_do_not_compare_are_all_there():
    luts = [cell("LUT1", I0=1, O=2), cell("LUT1", I0=2, O=3), cell("LUT1", I0=3, O=4)]
    chain = carry([2, "0", "0", "0"], ["0"] * 4, [10, 11, 12, 13], [14, 15, 16, 17], kind="CARRY8")
    assert depth(REGISTERS, *luts, chain, outputs=[2, 4, 13]) == [(3, 0, 0), (1, 1, 0)]


def dsp(pin, **registers):
    names = ["AREG", "BREG", "CREG", "DREG", "ADREG", "MREG", "PREG", "CARRYINREG"]
    use = registers.pop("USE_MULT", "MULTIPLY")
    parameters = {name: f"{registers.get(name, 0):032b}" for name in names} | {"USE_MULT": use}
    return cell("DSP48E2", parameters, **{pin: 1}, P=2)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (dsp("A"), (0, 0, 1)),
        (dsp("A", AREG=1), (0, 0, 0)),
        (dsp("A", PREG=1), (0, 0, 0)),
        (dsp("B", MREG=1), (0, 0, 0)),
        (dsp("B", AREG=1), (0, 0, 1)),
        (dsp("C", MREG=1), (0, 0, 1)),
        (dsp("C", CREG=1), (0, 0, 0)),
        (dsp("A", MREG=1, USE_MULT="NONE"), (0, 0, 1)),
        (dsp("PCIN", AREG=2, MREG=1), (0, 0, 1)),
        (dsp("CEB2", BREG=1), (0, 0, 0)),
        (dsp("RSTM", AREG=1, BREG=1, MREG=1), (0, 0, 0)),
        (dsp("CLK", AREG=1, BREG=1, MREG=1), (0, 0, 0)),
        (cell("DSP48E2", PCIN=1, P=2), (0, 0, 0)),
    ],
    ids=range(13),
)
def test_dsp_blocks(block, expected):
    assert depth(REGISTERS, block, outputs=[2]) == [expected]


def test_memories_begin_and_end_paths_but_read_their_address_at_once():
    memory = cell("RAM32X1D", A=1, DPRA=3, D=4, O=5)
    assert depth(REGISTERS, memory, outputs=[5]) == [(1, 0, 0)]
    before = cell("LUT1", I0=1, O=3)
    assert depth(REGISTERS, before, memory, outputs=[5]) == [(2, 0, 0)]
    assert depth(REGISTERS, cell("LUT1", I0=1, O=4), memory) == [(1, 0, 0)]
    block = cell("RAMB36E2", ADDRARDADDR=3, DOUT=5)
    assert depth(REGISTERS, before, block, cell("LUT1", I0=5, O=6), outputs=[6]) == [(1, 0, 0)]


def test_a_cell_of_unknown_timing_is_refused():
    with pytest.raises(TimingError, match=r"^Cells must be of known timing, not 'URAM288'$"):
        depth(cell("URAM288", A=1))


def test_a_loop_is_refused():
    with pytest.raises(TimingError, match=r"^Module must have no combinational loop, not 'top'$"):
        depth(cell("LUT1", I0=1, O=2), cell("LUT1", I0=2, O=1))


def test_paths_lead_through_modules():
    inner = module(
        [
            cell("LUT1", I0=1, O=2),
            cell("LUT1", I0=2, O=3),
            cell("FDRE", D=2, Q=4),
            cell("LUT1", I0=4, O=5),
        ],
        inputs=[1],
        outputs=[3, 5],
    )

    def instance(i, through, stored):
        pins = {"i1": i, "o3": through, "o5": stored}
        directions = {"i1": "input", "o3": "output", "o5": "output"}
        return cell("inner", **pins) | {"port_directions": directions}

    top = module([REGISTERS, instance(1, 11, 12), instance(11, 13, 14)], outputs=[13])
    assert logic_depth({"top": top, "inner": inner}) == {"inner": [(2, 0, 0)], "top": [(4, 0, 0)]}
    top = module([REGISTERS, instance(1, 11, 12), instance(12, 13, 14)], outputs=[14])
    assert logic_depth({"inner": inner, "top": top})["top"] == [(2, 0, 0)]


def test_what_is_deep_inside_a_module_is_deep_in_all_around_it():
    luts = [cell("LUT1", I0=1, O=2), cell("LUT1", I0=2, O=3), cell("LUT1", I0=3, O=4)]
    inner = module([REGISTERS, *luts, cell("FDRE", D=4, Q=5)], outputs=[5])
    instance = cell("inner", o5=11) | {"port_directions": {"o5": "output"}}
    top = module([instance, cell("LUT1", I0=11, O=12)], outputs=[12])
    assert logic_depth({"top": top, "inner": inner}) == {"top": [(3, 0, 0)], "inner": [(3, 0, 0)]}


SEED = 20


def random_cells(generator, levels):
    """LUTs and carry blocks in layers, none deeper than `levels`, between registers."""
    nets, cells = [*range(100, 106)], []
    cells += [cell("FDRE", Q=net) for net in nets]
    for _ in range(levels):
        if generator.random() < 0.4:
            first = 200 + 10 * len(cells)
            o, co = list(range(first, first + 4)), list(range(first + 4, first + 8))
            s, di = ([generator.choice([*nets, "0"]) for _ in range(4)] for _ in "sd")
            cells.append(carry(s, di, o, co, ci=generator.choice([*nets, "0"])))
            nets += [*o, *co]
        else:
            net = 200 + 10 * len(cells)
            inputs = {f"I{k}": generator.choice(nets) for k in range(generator.randint(1, 3))}
            cells.append(cell("LUT3", **inputs, O=net))
            nets.append(net)
    return [*cells, cell("FDRE", D=nets[-1])]


def every_path(cells):
    """The depth of every single path to the last register, by walking all of them."""
    drivers, found = {}, set()
    for block in cells:
        for pin in OUTPUTS & block["connections"].keys():
            for i, net in enumerate(block["connections"][pin]):
                drivers[net] = (block, pin, i)

    def walk(net, luts, carries, reader):
        block, pin, i = drivers[net]
        pins = block["connections"]
        if block["type"] == "FDRE":
            found.add((luts, carries, 0))
        elif block["type"] == "LUT3":
            for source in pins.keys() - {"O"}:
                walk(pins[source][0], luts + 1, carries, None)
        else:
            # Whoever reads the carry at its own carry in has counted the chain.
            entered = carries + (reader != "CI" or pin != "CO")
            for source, last in (("S", i), ("DI", i if pin == "CO" else i - 1), ("CI", 0)):
                for next_net in pins[source][: last + 1]:
                    if isinstance(next_net, int):
                        walk(next_net, luts, entered, source)

    walk(cells[-1]["connections"]["D"][0], 0, 0, None)
    return found


@pytest.mark.parametrize("number", range(60))
def test_random_netlists_by_walking_every_path(number):
    generator = random.Random(f"{SEED} {number}")
    cells = random_cells(generator, levels=7)
    paths = every_path(cells)
    front = {p for p in paths if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in paths)}
    found = depth(*cells)
    print("seed", SEED, number, sorted(front))
    assert found == sorted(front, reverse=True)


class Sum(wiring.Component):
    """A 24-bit sum between registers: the LUTs of its bits and six blocks of one carry chain."""

    a: In(24)
    b: In(24)
    sum: Out(24)

    def elaborate(self, platform):
        m = Module()
        a, b = Signal(24), Signal(24)
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.sum.eq(a + b)]
        return m


def test_an_adder_as_synthesised(tmp_path):
    emit(Sum(), "sum", tmp_path)
    netlist = synthesise(tmp_path, blocks=())
    assert [c["type"] for c in netlist["sum"]["cells"].values()].count("CARRY4") == 6
    assert logic_depth(netlist)["sum"] == [(1, 1, 0)]


def test_a_hierarchy_is_as_deep_as_the_same_cells_without(tmp_path):
    emit(Mixer(), "mixer", tmp_path)
    script = """
read_verilog {}
synth_xilinx -family xcup -noiopad -top mixer
write_json blocks.json
flatten
clean
write_json flat.json
"""
    files = " ".join(path.name for path in tmp_path.glob("*.v"))
    run_yosys(script.format(files), tmp_path)
    blocks, flat = (read_netlist(tmp_path / f"{name}.json") for name in ("blocks", "flat"))
    assert len(blocks) > 2
    assert list(flat) == ["mixer"]
    assert logic_depth(blocks)["mixer"] == logic_depth(flat)["mixer"]
    assert logic_depth(flat)["mixer"][0].lut > 1
