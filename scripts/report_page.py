"""The page of a report: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from dybit.scripts.page_parts import figure, table
from dybit.scripts.report_baselines import BLOCKS_OF_ZCU102, FLOATS, ZCU102, float_cycles
from dybit.scripts.report_charts import accuracy_chart, resource_chart
from dybit.scripts.report_data import NetworkResults
from dybit.scripts.report_network import network_section

__all__ = ["Setting", "page"]

STYLE = Path(__file__).with_name("report.css")


@dataclass(frozen=True, slots=True)
class Setting:
    """What all networks of a report have in common.

    Attributes
    ----------
    config : str
        As TOML.
    array : str
        In words.
    clock : float
        Megahertz.
    versions : dict of str to str
        By tool.
    resources : dict, optional
        As `dybit.scripts.resources` writes them.
    summary : dict, optional
        Of `make demo`.
    """

    config: str
    array: str
    clock: float
    versions: Mapping[str, str]
    resources: Mapping[str, Any] | None
    summary: Mapping[str, Any] | None


def page(networks: Sequence[NetworkResults], setting: Setting) -> str:
    """Return a report as HTML."""
    names = [each.problem.name for each in networks]
    links = [("found", "What was found"), *((f"n{i}", name) for i, name in enumerate(names))]
    links += [("resources", "Resources"), ("accuracy", "Accuracy"), ("how", "How")]
    body = [
        "<header>",
        f"<h1>Widths of {escape(', '.join(names))}</h1>",
        f"<p>{escape(setting.array)}</p>",
        "<nav>" + " ".join(f'<a href="#{to}">{escape(text)}</a>' for to, text in links) + "</nav>",
        "</header>",
        "<main>",
        *_found(networks, setting),
        *(
            part
            for i, each in enumerate(networks)
            for part in network_section(f"n{i}", each, setting.clock)
        ),
        *_resources(setting),
        *_accuracy(setting),
        *_how(networks, setting),
        "</main>",
    ]
    head = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',
        f"<title>dybit: {escape(', '.join(names))}</title>",
        f"<style>\n{STYLE.read_text()}</style>",
        "</head>",
        "<body>",
    ]
    return "\n".join([*head, *body, "</body>", "</html>"]) + "\n"


def _found(networks: Sequence[NetworkResults], setting: Setting) -> list[str]:
    rows = []
    for each in networks:
        floats = {name: float_cycles(each.target.workload, name) for name in FLOATS}
        for strategy in each.strategies:
            best, descent = strategy.shown, strategy.shown_greedy
            rows.append(
                [
                    each.problem.name,
                    str(best.constraint),
                    f"{best.speed_up:.3f}x",
                    f"{best.error:.4g}",
                    f"{descent.speed_up:.3f}x",
                    f"{descent.error:.4g}",
                    "" if best.gap is None else f"{best.gap:.2g}",
                    *(f"{cycles / best.cycles:.2f}x" for cycles in floats.values()),
                    f"{1e6 * setting.clock / best.cycles:,.0f}",
                ]
            )
    measure = networks[0].problem.measure
    columns = ["network", "constraint", "optimal", measure, "greedy", measure, "gap"]
    columns += [f"over {name}" for name in FLOATS]
    columns.append(f"images/s at {setting.clock:g} MHz")
    return [
        '<section id="found">',
        "<h2>What was found</h2>",
        *table(columns, rows, 2),
        "<p>Speed-ups are over W8A8 throughout on the same array; the greedy choice keeps to "
        "the same constraint. A gap of 0 is a proof that nothing is better. FP16 and FP32 "
        'stand for a ZCU102 whose DSP blocks do nothing else: see <a href="#how">how</a>.</p>',
        "</section>",
    ]


def _resources(setting: Setting) -> list[str]:
    lines = ['<section id="resources">', "<h2>Resources</h2>"]
    report = setting.resources
    if report is None:
        return [
            *lines,
            "<p>Not asked for: synthesis takes minutes. <code>--synthesise</code> "
            "counts them, <code>--resources FILE</code> takes what <code>make resources</code> "
            "has counted.</p>",
            "</section>",
        ]
    shares = {kind.upper(): report["total"][kind] / whole for kind, whole in ZCU102.items()}
    rows = [
        [block["block"], f"{block['instances']:,}", *(f"{block['own'][k]:,g}" for k in ZCU102)]
        for block in report["blocks"]
    ]
    rows.append(["all instances", "", *(f"{report['total'][kind]:,g}" for kind in ZCU102)])
    return [
        *lines,
        f"<p>The matrix engine, {escape(report['device'])}: array, accumulators and "
        f"re-quantisers, built for {escape(', '.join(report['modes']))}.</p>",
        '<div class="figures">',
        *figure(resource_chart(shares, "ZCU102"), "Shares of a ZCU102"),
        "</div>",
        *table(["block, one instance", "instances", *(k.upper() for k in ZCU102)], rows, 1),
        "</section>",
    ]


def _accuracy(setting: Setting) -> list[str]:
    lines = ['<section id="accuracy">', "<h2>Accuracy</h2>"]
    summary = setting.summary
    if summary is None:
        return [
            *lines,
            "<p>Left out: the networks above are shapes without trained weights, and "
            "ImageNet is not at hand. <code>--demo build/demo/summary.json</code> shows the "
            "trained digits networks of <code>make demo</code>.</p>",
            "</section>",
        ]
    chart = accuracy_chart(summary["accuracy"], summary["speedup"], summary["fp32_accuracy"])
    return [
        *lines,
        "<p>Handwritten digits, trained, on the generated hardware: <code>make demo</code>. The "
        "networks above have no trained weights here, so no accuracy.</p>",
        '<div class="figures">',
        *figure(chart, "Accuracy against speed-up; the line is FP32"),
        "</div>",
        "</section>",
    ]


def _how(networks: Sequence[NetworkResults], setting: Setting) -> list[str]:
    floats = "; ".join(
        f"{name}: {blocks} blocks, {BLOCKS_OF_ZCU102 // blocks:,} multiply-accumulates a cycle"
        for name, blocks in FLOATS.items()
    )
    return [
        '<section id="how">',
        "<h2>How</h2>",
        "<dl>",
        "<dt>Speed-up</dt><dd>Cycles at W8A8 throughout over those of the choice, on the same "
        "array, as <code>dybit search</code> counts them: of convolutions and linear layers. "
        "Pooling and sums are left out.</dd>",
        f"<dt>{escape(networks[0].problem.measure)}</dt><dd>The mean over layers, weighted by "
        "multiply-accumulates, of the root of the mean relative squared error of weights and "
        "activations. docs/search.md has the definition.</dd>",
        "<dt>Cycles of a layer</dt><dd>Of the layer alone: its input in memory before, its output "
        "there after. Computing is a vector issued each cycle; the rest waits for input, weights "
        "or results, or is fill and drain.</dd>",
        f"<dt>FP16, FP32</dt><dd>An assumption, no build: all {BLOCKS_OF_ZCU102:,} DSP48E2 of a "
        "ZCU102 busy in every cycle with multiply-accumulates at the clock of the array, no "
        f"waiting, no other limit. {escape(floats)}: what Vitis HLS commonly takes for a "
        "multiplier and an adder, unchecked here. Fewer blocks make it faster in proportion.</dd>",
        f"<dt>Images a second</dt><dd>One after the other at {setting.clock:g} MHz, an "
        "assumption: no tool at hand times UltraScale+.</dd>",
        "</dl>",
        "<h3>The array searched for</h3>",
        f"<pre>{escape(setting.config)}</pre>",
        "<h3>Versions</h3>",
        *table(["", "version"], [list(item) for item in setting.versions.items()], 2),
        "</section>",
    ]
