"""Compiled models: packing, sampling, state, the cache and its safety."""

import hashlib
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dybit.quant.cache import cache_directory
from dybit.sim import library
from dybit.sim.library import Effort, build_library
from dybit.sim.player import player_ports
from dybit.sim.toolchain import ToolFailed
from dybit.sim.verilated import CompiledModel

# An echo of every port width that is laid out differently, an adder whose sum is seen in the
# same cycle, and a counter.
VERILOG = """
module echo(clk, rst, a, b, c, d, e, f, a_o, b_o, c_o, d_o, e_o, f_o, sum, count);
  input clk, rst;
  input a; input [15:0] b; input [31:0] c; input [62:0] d; input [63:0] e; input [99:0] f;
  output reg a_o; output reg [15:0] b_o; output reg [31:0] c_o; output reg [62:0] d_o;
  output reg [63:0] e_o; output reg [99:0] f_o;
  output [16:0] sum; output reg [7:0] count = 0;
  assign sum = b + {15'b0, a};
  always @(posedge clk) begin
    a_o <= a; b_o <= b; c_o <= c; d_o <= d; e_o <= e; f_o <= f;
    count <= rst ? 0 : count + 1;
  end
endmodule
"""
WIDTHS = {"a": 1, "b": 16, "c": 32, "d": 63, "e": 64, "f": 100}


def write(directory, text=VERILOG, top="echo", ports=None):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{top}.v").write_text(text)
    if ports is None:
        ports = [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]
        for name, width in WIDTHS.items():
            ports.append({"name": name, "direction": "input", "width": width})
            ports.append({"name": f"{name}_o", "direction": "output", "width": width})
        ports.append({"name": "sum", "direction": "output", "width": 17})
        ports.append({"name": "count", "direction": "output", "width": 8})
    manifest = {
        "name": top,
        "top": top,
        "verilog": [f"{top}.v"],
        "ports": ports,
        "content_hash": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write(tmp_path_factory.mktemp("echo"))


@pytest.fixture
def model(directory):
    with CompiledModel(directory) as compiled:
        yield compiled


@pytest.fixture
def random():
    return np.random.default_rng(11)


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_narrow_ports_carry_integers(model, random, name):
    bits = WIDTHS[name]
    values = random.integers(0, 1 << bits, 500)
    values[:2] = 0, (1 << bits) - 1
    stimulus = model.stimulus(500)
    stimulus.set(name, values)
    trace = model.play(stimulus)
    np.testing.assert_array_equal(model.read(trace, f"{name}_o")[1:], values[:-1])
    signed = values - ((values >> (bits - 1)) << bits)
    stimulus.set(name, signed)
    again = model.play(stimulus)
    np.testing.assert_array_equal(model.read(again, f"{name}_o")[1:], values[:-1])
    np.testing.assert_array_equal(model.read(again, f"{name}_o", signed=True)[1:], signed[:-1])


@pytest.mark.parametrize("name", ["e", "f"])
def test_wide_ports_carry_words(model, random, name):
    words = random.integers(0, 1 << 32, (300, -(-WIDTHS[name] // 32)), dtype=np.uint32)
    stimulus = model.stimulus(300)
    stimulus.set(name, words)
    if name == "f":
        words[:, -1] &= 0xF  # what lies above the port is not the port's
    trace = model.play(stimulus)
    np.testing.assert_array_equal(model.read(trace, f"{name}_o")[1:], words[:-1])


def test_64_bits_may_be_set_as_integers(model):
    stimulus = model.stimulus(3)
    stimulus.set("e", np.array([1, 1 << 63, (1 << 64) - 1], dtype=np.uint64))
    trace = model.play(stimulus)
    np.testing.assert_array_equal(model.read(trace, "e_o")[1:], [[1, 0], [0, 1 << 31]])


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8, 12, 16, 20, 24, 31, 32, 33, 48, 50])
@pytest.mark.parametrize("signed", [False, True])
def test_lanes_are_packed_from_the_lowest_bit(model, random, bits, signed):
    lanes = WIDTHS["f"] // bits
    low = -(1 << (bits - 1)) if signed else 0
    values = random.integers(low, low + (1 << bits), (200, lanes))
    stimulus = model.stimulus(200)
    stimulus.set_lanes("f", values, bits)
    expected = [
        sum((int(value) % (1 << bits)) << (bits * lane) for lane, value in enumerate(row))
        for row in values
    ]
    port = stimulus.words[:, model.inputs["f"].offset :][:, :4]
    assert [int.from_bytes(row.astype("<u4").tobytes(), "little") for row in port] == expected
    trace = model.play(stimulus)
    lanes_back = model.read_lanes(trace, "f_o", bits, signed)[1:, :lanes]
    np.testing.assert_array_equal(lanes_back, values[:-1])


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4"])
def test_lanes_of_any_type_are_packed_alike(model, random, dtype):
    bits = 8 * np.dtype(dtype).itemsize
    signed = dtype[0] == "i"
    values = random.integers(-(1 << (bits - 1)) * signed, 1 << 7, (50, 96 // bits))
    stimulus, same = model.stimulus(50), model.stimulus(50)
    stimulus.set_lanes("f", values, bits)
    same.set_lanes("f", values.astype(dtype), bits)
    np.testing.assert_array_equal(same.words, stimulus.words)


def test_some_rows_may_be_set_alone(model):
    stimulus = model.stimulus(6)
    stimulus.set("b", 7)
    stimulus.set("b", [1, 2], at=slice(2, 4))
    stimulus.set("f", [[1, 2, 3, 4]], at=np.array([5]))
    stimulus.set_lanes("f", [[9, 8]], 8, at=slice(0, 2))
    trace = model.play(stimulus)
    assert model.read(trace, "sum").tolist() == [7, 7, 1, 2, 7, 7]
    first = model.inputs["f"].offset
    assert stimulus.words[:, first].tolist() == [0x809, 0x809, 0, 0, 0, 1]


def test_outputs_are_sampled_before_the_clock_edge(model):
    model.reset()
    stimulus = model.stimulus(4)
    stimulus.set("a", [0, 1, 0, 1])
    stimulus.set("b", [10, 20, 30, 0xFFFF])
    trace = model.play(stimulus)
    assert model.read(trace, "sum").tolist() == [10, 21, 30, 0x10000]
    assert model.read(trace, "b_o").tolist() == [0, 10, 20, 30]
    assert model.read(trace, "count").tolist() == [0, 1, 2, 3]


def test_state_lasts_from_play_to_play_and_models_are_apart(directory, random):
    values = random.integers(0, 1 << 16, 1000)
    with CompiledModel(directory) as whole, CompiledModel(directory) as pieces:
        stimulus = whole.stimulus(1000)
        stimulus.set("b", values)
        expected = whole.play(stimulus)
        parts = [pieces.play(stimulus.words[at : at + 77]) for at in range(0, 1000, 77)]
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_a_twin_starts_anew_and_is_apart(model):
    model.play(model.stimulus(5))
    with model.twin() as twin:
        assert twin.read(twin.play(twin.stimulus(2)), "count").tolist() == [0, 1]
    assert model.read(model.play(model.stimulus(2)), "count").tolist() == [5, 6]


def test_reset_takes_effect_and_may_come_at_any_time(model):
    model.play(model.stimulus(5))
    model.reset()
    stimulus = model.stimulus(5)
    stimulus.set("rst", [0, 0, 1, 0, 0])
    assert model.read(model.play(stimulus), "count").tolist() == [0, 1, 2, 0, 1]


def test_inputs_of_the_first_cycle_count_however_the_model_is_compiled(directory):
    for effort in Effort:
        with CompiledModel(directory, effort=effort) as model:
            stimulus = model.stimulus(2)
            stimulus.set("b", [7, 9])
            trace = model.play(stimulus)
            assert model.read(trace, "sum").tolist() == [7, 9]
            assert model.read(trace, "b_o")[1] == 7


def test_a_design_without_a_clock_is_played_too(tmp_path):
    ports = [
        {"name": "i", "direction": "input", "width": 8},
        {"name": "o", "direction": "output", "width": 8},
    ]
    text = "module invert(i, o); input [7:0] i; output [7:0] o; assign o = ~i; endmodule\n"
    with CompiledModel(write(tmp_path, text, "invert", ports)) as model:
        stimulus = model.stimulus(256)
        stimulus.set("i", np.arange(256))
        trace = model.play(stimulus)
        np.testing.assert_array_equal(model.read(trace, "o"), 255 - np.arange(256))


def test_a_trace_shows_every_cycle(directory, tmp_path):
    path = tmp_path / "echo.vcd"
    with CompiledModel(directory, trace=path) as model:
        model.play(model.stimulus(20))
        with pytest.raises(ValueError, match=r"^a model that writes a trace has no twin$"):
            model.twin()
    text = path.read_text()
    assert "$var" in text
    assert " count " in text
    edges = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    assert edges[-40:] == list(range(edges[-1] - 39, edges[-1] + 1))  # two a cycle


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.set("z", 1), r"port must be an input \(rst, a, .*\), not 'z'"),
        (lambda s: s.set("sum", 1), r"port must be an input"),
        (lambda s: s.set("a", 2), r"a must fit 1 bits, not 2"),
        (lambda s: s.set("b", [0, -32769, 3, 4]), r"b must fit 16 bits, not -32769"),
        (lambda s: s.set("f", 1), r"f has 100 bits: set it by words or by lanes"),
        (lambda s: s.set("f", np.zeros((4, 3))), r"f must have 4 words, not 3"),
        (lambda s: s.set_lanes("b", [[1, 2, 3]], 8), r"b must hold at most 16 bits, not 3 lanes"),
        (lambda s: s.set_lanes("b", [[1, 256]], 8), r"b must fit 8 bits, not 256"),
    ],
)
def test_wrong_stimuli_are_refused(model, call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(model.stimulus(4))


def test_wrong_reads_and_plays_are_refused(directory):
    model = CompiledModel(directory)
    trace = model.play(model.stimulus(1))
    with pytest.raises(ValueError, match=r"^port must be an output \(a_o, .*\), not 'a'$"):
        model.read(trace, "a")
    with pytest.raises(ValueError, match=r"^stimulus must be \(cycles, 12\) words, not \(4, 3\)$"):
        model.play(np.zeros((4, 3), np.uint32))
    model.close()
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.play(np.zeros((1, 12), np.uint32))


def test_a_half_written_design_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / "echo.v").write_text(VERILOG[:-10])
    with pytest.raises(ValueError, match=r"is not a complete design: its Verilog must match"):
        CompiledModel(tmp_path)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache, but for the runtime library, which takes seconds to compile."""
    shared, own = cache_directory("verilated"), tmp_path / "cache"
    own.mkdir()
    for runtime in shared.glob("runtime-*"):
        (own / runtime.name).symlink_to(runtime, target_is_directory=True)
    monkeypatch.setenv("DYBIT_CACHE", str(own))
    return own


def libraries(cache):
    return sorted(path for path in cache.iterdir() if (path / "model.so").exists())


def test_a_library_is_built_once_for_each_content(directory, own_cache, tmp_path):
    CompiledModel(directory).close()
    (first,) = libraries(own_cache)
    built = (first / "model.so").stat().st_mtime_ns
    CompiledModel(directory).close()
    assert (first / "model.so").stat().st_mtime_ns == built
    CompiledModel(write(tmp_path / "other", VERILOG.replace("count + 1", "count + 2"))).close()
    assert len(libraries(own_cache)) == 2
    assert [path.name for path in first.iterdir()] == ["model.so"]
    assert not list(own_cache.glob(".*"))


def test_what_an_interrupted_build_left_is_not_trusted(directory, own_cache, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(library, "_compile", interrupt)
        with pytest.raises(KeyboardInterrupt):
            CompiledModel(directory)
    assert not libraries(own_cache)
    with CompiledModel(directory) as model:
        model.reset()
        assert model.read(model.play(model.stimulus(3)), "count").tolist() == [0, 1, 2]
    (first,) = libraries(own_cache)
    (first / "model.so").unlink()
    manifest = json.loads((directory / "manifest.json").read_text())
    assert build_library([directory / "echo.v"], manifest).exists()


def test_builds_side_by_side_agree(directory, own_cache):
    manifest = json.loads((directory / "manifest.json").read_text())
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(build_library([directory / "echo.v"], manifest))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 2
    assert not list(own_cache.glob(".*"))


def test_a_design_verilator_refuses_keeps_its_log(own_cache, tmp_path):
    broken = write(tmp_path / "broken", VERILOG.replace("input clk, rst;", "input clk; nonsense"))
    with pytest.raises(
        ToolFailed, match=r"(?s)^verilator failed \(1\), log .*syntax error"
    ) as caught:
        CompiledModel(broken)
    log = Path(str(caught.value).split("log ")[1].split(":\n")[0])
    assert "syntax error" in log.read_text()
    assert not libraries(own_cache)


def test_ports_are_laid_out_in_words():
    ports = [
        {"name": "clk", "direction": "input", "width": 1},
        {"name": "x", "direction": "input", "width": 33},
        {"name": "y", "direction": "output", "width": 8},
        {"name": "z", "direction": "input", "width": 97},
    ]
    inputs = player_ports({"ports": ports}, "input")
    assert {name: (port.offset, port.words) for name, port in inputs.items()} == {
        "x": (0, 2),
        "z": (2, 4),
    }


def test_the_loop_is_compiled_code(model):
    cycles = 200_000
    stimulus = model.stimulus(cycles)
    started = time.process_time()
    model.play(stimulus)
    assert cycles / (time.process_time() - started) > 500_000
