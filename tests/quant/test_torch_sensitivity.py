"""Errors of a torch model's operands and outputs, and of its loss, beside NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from dybit.quant.config import QuantConfig
from dybit.quant.formats import DyBit
from dybit.quant.precision import PrecisionMode
from dybit.quant.scale import optimal_scale, squared_error
from dybit.quant.search.cache import Cache
from dybit.quant.tail import with_tail
from dybit.quant.tensor import NetworkError
from dybit.quant.torch import PreparedModel, prepare
from dybit.quant.torch.observation import fingerprint, observe
from dybit.quant.torch.operands import Operands
from dybit.quant.torch.sensitivity import fisher, operand_rmse, output_error

W4A4, W2A4 = PrecisionMode(4, 4), PrecisionMode(2, 4)
MODES = (W4A4, W2A4)

CONFIG = QuantConfig.from_dict(
    {
        "array": {
            "rows": 4,
            "columns": 4,
            "max_reduction": 64,
            "accumulator_depth": 16,
            "modes": ["W4A4", "W2A4"],
        },
        "default": {"weight_bits": 4, "activation_bits": 4},
    }
)


class Small(nn.Module):
    """Two layers, the second of which reads what cannot be negative."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.hidden = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x).relu())


def data(count: int = 40) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(7))


def prepared_model() -> tuple[nn.Module, PreparedModel, Operands]:
    model = Small().eval()
    prepared = prepare(model, CONFIG, data(1))
    return model, prepared, Operands(prepared, observe(prepared, list(data().split(16))), CONFIG)


def rounded(x: NDArray[Any], fmt: DyBit, scale: Any) -> NDArray[np.float64]:
    return fmt.decode(fmt.encode(x / scale)) * scale


def weight_error(weight: NDArray[Any], bits: int) -> float:
    fmt = DyBit(bits)
    scales = optimal_scale(weight, fmt, 0)
    return squared_error(weight, fmt, scales[:, None]) / float(np.square(weight).sum())


def activation_error(x: NDArray[Any], fmt: DyBit) -> float:
    values, counts = with_tail(x)
    scale = optimal_scale(values, fmt, weights=counts)
    error = squared_error(values, fmt, scale, weights=counts)
    return error / float((np.square(values) * counts).sum())


def arrays(model: nn.Module) -> dict[str, NDArray[np.float64]]:
    return {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}


def test_rmse_of_a_model() -> None:
    model, prepared, operands = prepared_model()
    found = operand_rmse(prepared, operands, MODES)
    state, x = arrays(model), data().numpy()
    hidden = np.maximum(x @ state["hidden.weight"].T + state["hidden.bias"], 0)
    inputs = {
        "hidden": activation_error(x, DyBit(4)),
        "head": activation_error(hidden.astype(np.float32), DyBit(4, False)),
    }
    for name, mode in (("hidden", W4A4), ("hidden", W2A4), ("head", W4A4), ("head", W2A4)):
        weights = weight_error(state[f"{name}.weight"], mode.weight_bits)
        wanted = ((weights + inputs[name]) / 2) ** 0.5
        assert found.errors[name][mode] == pytest.approx(wanted, rel=1e-3)
    assert found.weights == pytest.approx({"hidden": 30 / 45, "head": 15 / 45})


def test_pooled_rmse_counts_every_element() -> None:
    model, prepared, operands = prepared_model()
    found = operand_rmse(prepared, operands, MODES, pooled=True)
    state, x = arrays(model), data().numpy().astype(np.float64)
    weight = state["hidden.weight"]
    power_w, power_a = float(np.square(weight).sum()), float(np.square(x).sum())
    error = weight_error(weight, 2) * power_w + activation_error(x, DyBit(4)) * power_a
    wanted = (error / (power_w + power_a)) ** 0.5
    # The tail's squares are not quite the sample's.
    assert found.errors["hidden"][W2A4] == pytest.approx(wanted, rel=0.05)


def scale_of(x: NDArray[Any], fmt: DyBit) -> float:
    values, counts = with_tail(x)
    return float(optimal_scale(values, fmt, weights=counts))


def test_output_error_of_a_model() -> None:
    model, prepared, operands = prepared_model()
    found = output_error(prepared, operands, MODES, data())
    state, x = arrays(model), data().numpy()
    weight, bias = state["hidden.weight"], state["hidden.bias"]
    for mode in MODES:
        fmt = DyBit(mode.weight_bits)
        scales = optimal_scale(weight, fmt, 0)[:, None]
        exact = x @ weight.T + bias
        near = rounded(x, DyBit(4), scale_of(x, DyBit(4))) @ rounded(weight, fmt, scales).T + bias
        wanted = np.sqrt(np.square(near - exact).sum() / np.square(exact).sum())
        assert found.errors["hidden"][mode] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("labelled", [True, False])
def test_fisher_information_of_the_last_layer(labelled: bool) -> None:
    model, prepared, operands = prepared_model()
    x = data(12)
    labels = torch.arange(12) % 3 if labelled else None
    found = fisher(prepared, operands, MODES, x, labels)
    state = arrays(model)
    hidden = np.maximum(x.numpy() @ state["hidden.weight"].T + state["hidden.bias"], 0)
    logits = hidden @ state["head.weight"].T + state["head.bias"]
    chosen = logits.argmax(1) if labels is None else labels.numpy()
    odds = np.exp(logits - logits.max(1, keepdims=True))
    # The gradient of the cross-entropy: what the softmax gives, less what is true.
    slope = odds / odds.sum(1, keepdims=True) - np.eye(3)[chosen]
    seen = np.maximum(data().numpy() @ state["hidden.weight"].T + state["hidden.bias"], 0)
    scale = scale_of(seen.astype(np.float32), DyBit(4, False))
    change = rounded(hidden, DyBit(4, False), scale) - hidden
    inputs = 0.5 * np.square((slope @ state["head.weight"]) * change).sum(1).mean()
    for mode in MODES:
        fmt = DyBit(mode.weight_bits)
        weight = state["head.weight"]
        delta = rounded(weight, fmt, optimal_scale(weight, fmt, 0)[:, None]) - weight
        gradients = slope[:, :, None] * hidden[:, None, :]
        weights = 0.5 * np.square(gradients * delta).sum((1, 2)).mean()
        assert found.errors["head"][mode] == pytest.approx(weights + inputs, rel=2e-3)
    assert found.weights == {"hidden": 1.0, "head": 1.0}


class Twice(nn.Module):
    """One tensor that two layers read."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) + 0 * self.other(x)


def test_a_shared_input_counts_for_each_layer_by_its_own_gradient() -> None:
    prepared = prepare(Twice().eval(), CONFIG, data(1))
    operands = Operands(prepared, observe(prepared, [data()]), CONFIG)
    found = fisher(prepared, operands, MODES, data(4))
    assert found.errors["one"][W4A4] > 0
    assert found.errors["other"][W4A4] == 0


MEASURES: dict[str, Callable[[PreparedModel, Operands, Cache], Any]] = {
    "rmse": lambda p, o, c: operand_rmse(p, o, MODES),
    "output": lambda p, o, c: output_error(p, o, MODES, data(), cache=c),
    "fisher": lambda p, o, c: fisher(p, o, MODES, data(5), cache=c),
}


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_are_resumed(measure: str, tmp_path: Path) -> None:
    def run(cache: Cache) -> Any:
        prepared = prepare(Small().eval(), CONFIG, data(1))
        observed = observe(prepared, list(data().split(16)), cache)
        return MEASURES[measure](prepared, Operands(prepared, observed, CONFIG, cache), cache)

    wanted = run(Cache(None))
    first = Cache(tmp_path)
    assert run(first).errors == wanted.errors
    # As if the end had not been reached: half of the files are missing.
    files = sorted(tmp_path.iterdir())
    for path in files[::2]:
        path.unlink()
    second = Cache(tmp_path)
    assert run(second).errors == wanted.errors
    # Formats that only errors still there depend on are not found again.
    assert 0 < second.misses <= len(files[::2])
    assert second.hits > first.hits
    third = Cache(tmp_path)
    run(third)
    assert third.misses == 0


def test_samples_are_uniform_and_of_all_batches() -> None:
    prepared = prepare(Small().eval(), CONFIG, data(1))
    x = torch.arange(6 * 40_000, dtype=torch.float32).view(-1, 6)
    observed = observe(prepared, list(x.split(7_000)))["input"]
    assert observed.count == 240_000
    assert observed.minimum == 0
    assert observed.values.size == pytest.approx(1 << 16, abs=10)
    shares = np.histogram(observed.values, 8, (0, 240_000))[0] / observed.values.size
    np.testing.assert_allclose(shares, 1 / 8, atol=0.01)


def test_a_sample_stands_for_all_elements() -> None:
    prepared = prepare(Small().eval(), CONFIG, data(1))
    x = data(50_000)
    operands = Operands(prepared, observe(prepared, list(x.split(10_000))), CONFIG)
    found = operands.activations["hidden", 4].errors
    assert found.power == pytest.approx(float(x.square().sum()), rel=0.02)
    assert found.relative == pytest.approx(activation_error(x.numpy(), DyBit(4)), rel=0.02)


def test_other_models_have_other_fingerprints() -> None:
    def print_of(model: nn.Module) -> str:
        return fingerprint(prepare(model.eval(), CONFIG, data(1)), data(1))

    class Bounded(Small):
        def forward(self, x: Tensor) -> Tensor:
            # More than the example reaches.
            return self.head(self.hidden(x).clamp(0, 1e6))

    class Curved(Small):
        approximate = "none"

        def forward(self, x: Tensor) -> Tensor:
            return self.head(functional.gelu(self.hidden(x), approximate=self.approximate))

    class Nearly(Curved):
        approximate = "tanh"

    changed = Small()
    with torch.no_grad():
        changed.head.weight[0, 0] += 1e-3
    assert print_of(Small()) == print_of(Small())
    models = (Small(), changed, Bounded(), Curved(), Nearly())
    assert len({print_of(model) for model in models}) == len(models)


def test_what_cannot_be_observed_is_refused() -> None:
    prepared = prepare(Small().eval(), CONFIG, data(1))
    with pytest.raises(NetworkError, match="batches must hold at least one input"):
        observe(prepared, [])
    unsigned = CONFIG.to_dict()
    unsigned["array"]["activations"] = "unsigned"
    base = QuantConfig.from_dict(unsigned)
    with pytest.raises(NetworkError, match="input: activations must not be negative"):
        Operands(prepared, observe(prepared, [data()]), base)
