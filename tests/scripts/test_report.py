"""``dybit report``: one file, every chart, each point a solution of the search."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dybit.quant.config import QuantConfig
from dybit.quant.precision import MODES
from dybit.quant.search import MaxError, MinSpeedUp, Problem, Ranking, greedy_front, rmse
from dybit.quant.search.solver import Method, solve
from dybit.quant.search.synthetic import synthetic_errors
from dybit.quant.workloads import Workload, table
from dybit.quant.workloads.sketch import Sketch
from dybit.scripts import search_target
from dybit.scripts.cli import app
from dybit.scripts.engine_cost import search_cost
from dybit.scripts.report_baselines import float_cycles

CONFIG = """
[array]
rows = 8
columns = 8
max_reduction = 4608
accumulator_depth = 64
modes = ["W8A8", "W8A4", "W4A8", "W4A4", "W2A4", "W4A2", "W2A2"]
activations = "both"
[default]
weight_bits = 8
activation_bits = 8
"""

POINTS = 4
UNCLOSED = {"meta", "link"}


def small(name: str) -> Workload:
    sketch = Sketch(name, (16, 16, 3))
    x = sketch.conv("stem", "input", 16, 3, 1)
    y = sketch.conv("inner", x, 16, 3, 1, relu=False)
    x = sketch.add("add", y, x, relu=True)
    x = sketch.conv("<last & least>", x, 32, 3, 2)
    sketch.linear(
        "a-name-that-has-no-room-there", sketch.flatten("flatten", sketch.mean("mean", x)), 10
    )
    return sketch.finish()


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search_target, "table", small)
    Path("config.toml").write_text(CONFIG)


def report(*options: str) -> Result:
    command = ["report", "--config", "config.toml", "--cache", "cache", "-o", "report.html"]
    return CliRunner().invoke(app, [*command, "--points", str(POINTS), *options])


def written(*options: str) -> str:
    result = report(*options)
    assert result.exit_code == 0, result.output
    return Path("report.html").read_text()


class Page(HTMLParser):
    """The elements of a page: balanced, with attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.charts: list[dict[str, list[str]]] = []
        self.labels: list[str] = []
        self._class = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found.append((tag, given))
        if tag == "svg":
            self.charts.append({})
            self.labels.append(str(given["aria-label"]))
        if tag in ("rect", "circle", "polygon"):
            self._class = str(given.get("class", ""))
        if tag not in UNCLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "title" and "svg" in self.open:
            self.charts[-1].setdefault(self._class, []).append(data)

    def chart(self, label: str) -> dict[str, list[str]]:
        """Titles of the marks of the chart with a label, by class."""
        return self.charts[self.labels.index(label)]


def problem(name: str) -> Problem:
    """What is searched, built here from its parts."""
    workload, config = small(name), QuantConfig.load("config.toml")
    errors = rmse(workload, MODES, *synthetic_errors(workload, config.array))
    cost, _ = search_cost(workload, config.array, config.accelerator)
    return Problem.build(workload, MODES, cost, errors)


def titles(solutions: list) -> list[str]:
    return sorted(f"{s.method}: {s.speed_up:.6g}x, {s.error:.6g}" for s in solutions)


def test_the_file_needs_nothing_else() -> None:
    text = written("--workload", "resnet18")
    page = Page(text)
    for tag, attributes in page.found:
        assert tag not in ("script", "img", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "xlink:href"):
            target = attributes.get(name) or ""
            assert target.startswith("#") or target in ("", "data:,"), (tag, target)
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", text)
    # Links within the page lead somewhere, and no two places have one name.
    places = [a["id"] for _, a in page.found if "id" in a]
    assert len(set(places)) == len(places)
    assert {a["href"][1:] for t, a in page.found if t == "a" and a["href"]} <= set(places)
    assert ">&lt;last &amp; least&gt;</text>" in text
    assert ">…at-has-no-room-there</text>" in text


def test_every_chart_of_every_network_is_there() -> None:
    page = Page(written())
    expected = []
    for name in ("resnet18", "resnet50", "mobilenet_v2"):
        strategies = ("speed-up constrained", "RMSE constrained")
        expected += [f"{name}, {each}: speed-up and rmse" for each in strategies]
        expected.append(f"{name}: Pareto front")
        for each in strategies:
            expected += [f"{name}, {each}: {what} of each layer" for what in ("widths", "cycles")]
    assert page.labels == expected


def test_points_are_the_solutions_of_the_search() -> None:
    page = Page(written("--workload", "resnet18", "--speedup", "3", "--rmse", "0.05"))
    given = problem("resnet18")
    ends = [given.most_exact, given.fastest]
    optima = []
    for name, kind, of, one in (
        ("speed-up constrained", MinSpeedUp, given.speed_up, 3.0),
        ("RMSE constrained", MaxError, given.error, 0.05),
    ):
        low, high = sorted(of(choice) for choice in ends)
        bounds = np.clip(np.geomspace(*(of(choice) for choice in ends), POINTS), low, high)
        chart = page.chart(f"resnet18, {name}: speed-up and rmse")
        for method in Method:
            found = [solve(given, kind(float(bound)), method) for bound in bounds]
            assert sorted(chart[f"mark {method}"]) == titles(found)
            shown = solve(given, kind(one), method)
            assert chart[f"mark {method} chosen"] == titles([shown])
            optima += found if method is Method.EXACT else []
        widths = page.chart(f"resnet18, {name}: widths of each layer")
        best = solve(given, kind(one))
        for operand in ("weight", "activation"):
            assert widths[f"{operand}s"] == [
                f"{layer}: {getattr(mode, f'{operand}_bits')} bits"
                for layer, mode in best.modes.items()
            ]
    front = page.chart("resnet18: Pareto front")
    assert len(set(front["mark exact"])) == len(front["mark exact"])
    assert set(front["mark exact"]) <= set(titles(optima))
    for optimum in optima:
        beaten = [o for o in optima if o.cycles <= optimum.cycles and o.error < optimum.error]
        beaten += [o for o in optima if o.cycles < optimum.cycles and o.error <= optimum.error]
        assert (titles([optimum])[0] in front["mark exact"]) == (not beaten)
    for ranking in Ranking:
        assert sorted(front[f"mark greedy {ranking}"]) == titles(greedy_front(given, ranking))
    assert [title.partition(":")[0] for title in front["mark uniform"]] == [m.name for m in MODES]


def test_latency_is_split_without_rest() -> None:
    text = written("--workload", "resnet18")
    page = Page(text)
    layers = [layer.name for layer in small("resnet18").array_layers]
    totals = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) cycles, [\d.]+% of", text)]
    for name, total in zip(("speed-up constrained", "RMSE constrained"), totals, strict=True):
        chart = page.chart(f"resnet18, {name}: cycles of each layer")
        assert [title.partition(":")[0] for title in chart["compute"]] == layers
        numbers = [re.findall(r"([\d,]+) (?:computing|waiting)", t) for t in chart["compute"]]
        assert sum(int(n.replace(",", "")) for pair in numbers for n in pair) == total


def test_configs_are_those_that_commands_read() -> None:
    text = written("--workload", "resnet18", "--speedup", "3")
    given = problem("resnet18")
    (first, *_) = re.findall(r"<pre>(name = .*?)</pre>", text, re.DOTALL)
    Path("found.toml").write_text(
        first.replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    found = QuantConfig.load("found.toml")
    for layer, mode in solve(given, MinSpeedUp(3.0)).modes.items():
        assert found.layer(layer).mode == mode


def test_equal_inputs_give_equal_bytes() -> None:
    first = written("--workload", "resnet18")
    shutil.rmtree("cache")
    assert written("--workload", "resnet18") == first
    assert written("--workload", "resnet18", "--seed", "1") != first


def test_floating_point_by_dsp_blocks() -> None:
    # 2,520 blocks: 504 multiply-accumulates a cycle at five blocks, 630 at four.
    macs = 1_814_073_344
    assert table("resnet18").macs == macs
    assert float_cycles(table("resnet18"), "FP32") == -(-macs // 504)
    assert float_cycles(table("resnet18"), "FP16") == -(-macs // 630)


def test_resources_and_accuracy_where_they_are_given() -> None:
    without = written("--workload", "resnet18")
    assert "Not asked for" in without
    assert "Left out" in without
    counts = {"lut": 137_040, "ff": 10, "dsp": 252, "bram": 1824.0}
    block = {"block": "Encoder", "instances": 3, "own": counts}
    # 64 elements, four multiply-accumulates each.
    modes = {"W4A4": {"macs_per_cycle": 256}}
    counted = {"device": "part", "blocks": [block], "total": counts, "modes": modes}
    Path("counted.json").write_text(json.dumps(counted))
    results = {"one": 0.9, "two": 0.8}
    summary = {"fp32_accuracy": 0.95, "accuracy": results, "speedup": {"one": 1.0, "two": 2.5}}
    Path("summary.json").write_text(json.dumps(summary))
    text = written(
        "--workload", "resnet18", "--resources", "counted.json", "--demo", "summary.json"
    )
    page = Page(text)
    shares = page.chart("shares of a ZCU102")
    assert shares["compute"] == ["LUT: 50.0%", "FF: 0.0%", "DSP: 10.0%"]
    assert shares["excess"] == ["BRAM: 200.0%"]
    assert page.chart("digits: speed-up and accuracy")["mark exact"] == [
        *("one: 1.000x, 90.00%", "two: 2.500x, 80.00%")
    ]
    assert "<td>Encoder</td>" in text
    modes["W4A4"]["macs_per_cycle"] = 64
    Path("counted.json").write_text(json.dumps(counted))
    result = report("--workload", "resnet18", "--resources", "counted.json")
    assert result.exit_code == 2
    assert "does 64 multiply-accumulates a cycle in W4A4; must be 256" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resources", "bad.json"], "--resources: bad.json must be JSON with device, blocks"),
        (["--demo", "bad.json"], "--demo: bad.json must be JSON with fp32_accuracy"),
        (["--resources", "bad.json", "--synthesise"], "must not both be given"),
        (["--speedup", "1000"], "speed-up must be at most"),
        (["--rmse", "1e-9"], "rmse must be at least"),
        (["--demo", "none.json"], "none.json: no such file"),
    ],
)
def test_mistakes_end_in_one_line(options: list[str], message: str) -> None:
    Path("bad.json").write_text("[]")
    result = report("--workload", "resnet18", *options)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert message in line
    assert not Path("report.html").exists()


def test_without_an_accelerator_nothing_is_split() -> None:
    Path("config.toml").write_text(CONFIG.replace("rows = 8", "rows = 5"))
    text = written("--workload", "resnet18")
    assert "of the matrix engine without memory, since array.rows: 5 is not allowed" in text
    page = Page(text)
    assert len(page.labels) == 5
    assert not [label for label in page.labels if "cycles" in label]
