"""Saving a quantised network keeps everything, whole or not at all; what else is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from dybit.quant.config import ConfigError
from dybit.quant.network import NetworkError, QuantNetwork
from tests.networks import graph_network, random_network

NETWORK = random_network()


@pytest.mark.parametrize("network", [NETWORK, graph_network()], ids=lambda n: n.name)
def test_save_and_load(network: QuantNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "new" / "net")
    loaded = QuantNetwork.load(tmp_path / "new" / "net")
    for field in ("name", "config", "input", "input_shape"):
        assert getattr(loaded, field) == getattr(network, field)
    assert len(loaded.layers) == len(network.layers)
    for mine, theirs in zip(network.layers, loaded.layers, strict=True):
        assert type(mine) is type(theirs)
        for field in dataclasses.fields(mine):
            a, b = getattr(mine, field.name), getattr(theirs, field.name)
            if field.name == "arrays":
                assert a.keys() == b.keys()
                for name, array in a.items():
                    same(array, b[name])
            elif isinstance(a, np.ndarray):
                same(a, b)
            else:
                assert a == b, field.name


def same(mine: np.ndarray, theirs: np.ndarray) -> None:
    assert mine.dtype == theirs.dtype
    assert np.array_equal(mine, theirs)


def test_bytes_are_deterministic(tmp_path: Path) -> None:
    NETWORK.save(tmp_path / "a")
    random_network().save(tmp_path / "b")
    QuantNetwork.load(tmp_path / "a").save(tmp_path / "a")  # over itself
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["network.safetensors", "network.toml"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_loading_needs_no_torch(tmp_path: Path) -> None:
    NETWORK.save(tmp_path)
    code = (
        "import sys; from dybit.quant.network import QuantNetwork; from dybit.sim import executor;"
        "QuantNetwork.load(sys.argv[1]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_an_interrupted_save_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power fails between the two files: old structure, new arrays."""
    NETWORK.save(tmp_path)
    before = (tmp_path / "network.toml").read_bytes()
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target.name == "network.toml":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(KeyboardInterrupt):
        random_network(2).save(tmp_path)
    assert (tmp_path / "network.toml").read_bytes() == before
    with pytest.raises(NetworkError, match=r"arrays must be the SHA-256 of network.safetensors"):
        QuantNetwork.load(tmp_path)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"network.toml: no such file or directory; must be"):
        QuantNetwork.load(tmp_path)
    NETWORK.save(tmp_path)
    (tmp_path / "network.safetensors").unlink()
    with pytest.raises(NetworkError, match=r"network.safetensors: no such file or directory"):
        QuantNetwork.load(tmp_path)
    (tmp_path / "network.toml").write_bytes(b"\xff")
    with pytest.raises(NetworkError, match=r"not TOML"):
        QuantNetwork.load(tmp_path)


EDITS = [
    ("version = 2", "version = 3", "version must be at most 2, not 3: a newer dybit wrote it"),
    ("version = 2", "version = 1", "version must be 2, not 1: an older dybit wrote it; quantise"),
    ("version = 2\n", "", "version must be 2, not None"),
    ("version = 2", "version = true", "version must be 2, not True"),
    ('name = "small"\na', "name = 3\na", "network.name must be a string, not 3"),
    ("version = 2", "version = 2\nextra = 1", "network must have no other fields, not extra"),
    ("scale = 0.13", "scale = -1.0", "scale must be positive and finite, not -1.0"),
    ("scale = 0.13", 'scale = "x"', "input.scale must be a float, not 'x'"),
    ("scale = 0.4", "scale = inf", "scale must be positive and finite, not inf"),
    ('kind = "view"', 'kind = "fold"', "layers[4].kind must be one of conv2d, linear"),
    ('kind = "view"', 'kind = "linear"', "layers[4].relu is missing; must be true or false"),
    ('kind = "view"', 'kind = "add"', "layers[4].relu is missing; must be true or false"),
    ('"first",\n]', '"third",\n]', "second: inputs must be made by layers before it, not 'third'"),
    ('"first",\n]', "1,\n]", "layers[1].inputs must be a list of strings, not [1]"),
    ('"first",\n]', "]", "second: inputs must be at least one name"),
    ('"first",\n]', '"first",\n"first",\n]', "second: inputs must be 1 names, not 2"),
    ("relu = true", "relu = 1", "layers[1].relu must be true or false, not 1"),
    ('name = "second"', 'name = "third"', "third.weights is missing from the arrays"),
    ("kernel = [\n    3,", "kernel = [\n    4,", "mean: kernel must fit the padded input of 3 x 2"),
    (
        "kernel = [\n    3,",
        "kernel = [\n    true,",
        "mean: kernel must be two integers of at",
    ),
    ("kernel = [", "stuff = [", "layers[2].kernel is missing; must be a list"),
    ("padding = [", "pad = [", "layers[0].padding is missing; must be a list"),
    (
        'kind = "view"',
        'kind = "view"\nrelu = true',
        "layers[4] must have no other fields, not",
    ),
    ("[layers.output]", "[layers.result]", "layers[0].output.scale is missing; must be a"),
    ("bits = 8", "bits = 9", "bits must be 2 to 8, not 9"),
]


@pytest.mark.parametrize(("old", "new", "message"), EDITS, ids=[e[2] for e in EDITS])
def test_bad_structure_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    NETWORK.save(tmp_path)
    path = tmp_path / "network.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(NetworkError, match=re.escape(message)) as error:
        QuantNetwork.load(tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_config_with_a_bad_value_is_refused(tmp_path: Path) -> None:
    NETWORK.save(tmp_path)
    path = tmp_path / "network.toml"
    path.write_text(path.read_text().replace("rows = 4", "rows = 0"))
    with pytest.raises(ConfigError, match=r"network.toml: config: array.rows: 0 is not allowed"):
        QuantNetwork.load(tmp_path)


def test_bad_arrays_are_refused(tmp_path: Path) -> None:
    def edit(**changes: Any) -> None:
        NETWORK.save(tmp_path)
        path = tmp_path / "network.safetensors"
        arrays = safetensors.numpy.load(path.read_bytes())
        old = safetensors.numpy.save(arrays)
        for name, value in changes.items():
            arrays[name.replace("__", ".")] = value
        new = safetensors.numpy.save(arrays)
        path.write_bytes(new)
        toml = tmp_path / "network.toml"
        text = toml.read_text()
        digests = [hashlib.sha256(content).hexdigest() for content in (old, new)]
        assert digests[0] in text
        toml.write_text(text.replace(*digests))

    edit(head__weights=np.full((12, 3), 16, np.uint8))
    with pytest.raises(NetworkError, match=r"head: weights must be codes of dybit4, not 16"):
        QuantNetwork.load(tmp_path)
    edit(head__bias=np.zeros(4, np.int64))
    with pytest.raises(NetworkError, match=r"head: bias must have shape \(3,\), not \(4,\)"):
        QuantNetwork.load(tmp_path)
    edit(other__bias=np.zeros(4, np.int64))
    with pytest.raises(NetworkError, match=r"arrays must be those of the layers, not other.bias"):
        QuantNetwork.load(tmp_path)
    NETWORK.save(tmp_path)
