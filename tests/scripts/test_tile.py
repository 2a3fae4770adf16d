"""The waveforms of one tile show what the golden model computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dybit.scripts.tile import trace_tile
from dybit.scripts.verilog import emit_array
from dybit.sim import executor, golden
from tests.networks import random_network


def cycles(text: str) -> Iterator[dict[str, int]]:
    """Yield the top module's signals at the end of each cycle, the clock still low."""
    head, _, changes = text.partition("$enddefinitions $end")
    top = re.search(r"\$scope module TOP \$end(.*?)\$scope", head, re.DOTALL)
    assert top is not None
    names = dict(re.findall(r"\$var wire +\d+ (\S+) (\w+)", top[1]))
    values = dict.fromkeys(names.values(), 0)
    for moment in re.split(r"^#\d+\n", changes, flags=re.MULTILINE)[1:]:
        for vector, word, scalar, name in re.findall(
            r"^(?:b([01]+) (\S+)|([01])(\S+))$", moment, re.MULTILINE
        ):
            known = names.get(word or name)
            if known is not None:
                values[known] = int(vector or scalar, 2)
        if not values["clk"]:
            yield dict(values)


@pytest.mark.rtl
def test_codes_of_a_tile(tmp_path: Path, vectors) -> None:
    network = random_network()
    layers = {layer.name: layer for layer in network.layers}
    # A bias that no rounding hides.
    bias = np.array([3000, -3000, 2000, -2000, 1000, -1000])
    layers["second"] = replace(layers["second"], bias=bias)
    network = replace(network, layers=tuple(layers.values()))
    emit_array(network.config.array, tmp_path / "verilog")
    image = np.random.default_rng(3).uniform(0, 2, network.input_shape)
    path = tmp_path / "new" / "tile.vcd"
    count = trace_tile(network, "second", image, tmp_path / "verilog", path)

    # The array holds 4 x 4 of the layer's 5 x 6 weights; its kernel is 1 x 1.
    layer = network.layer("second")
    codes = executor.run(network, image[None]).layers["first"].codes
    activations = codes.reshape(-1, 5)[:, :4]
    sums = golden.matmul(activations, layer.input.format, layer.matrix[:4, :4], layer.weight_format)
    parameters = layer.bias[:4], layer.multiplier[:4], layer.shift[:4]
    expected = golden.requantize(sums, *parameters, layer.output.format, layer.relu)

    seen = list(cycles(path.read_text()))
    assert len(seen) == count + 1  # and the reset before
    words = [now["codes__data"] for now in seen if now["codes__valid"]]
    found = np.array([[word >> 8 * column & 255 for column in range(4)] for word in words])
    assert np.array_equal(found, expected)
    assert [entry.name for entry in path.parent.iterdir()] == ["tile.vcd"]
    vectors("tile", found.size)
