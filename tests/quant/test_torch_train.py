"""Quantisation-aware training: what it does, and that nothing can interrupt it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from dybit.quant.format_rules import FamilyFormats
from dybit.quant.tensor import NetworkError
from dybit.quant.torch import PreparedModel, agreement, convert, prepare
from dybit.quant.torch.checkpoint import VERSION
from dybit.quant.torch.distillation import distillation_loss
from dybit.quant.torch.train import TrainSettings, fine_tune
from dybit.sim.executor import run
from tests.quant.training_model import calibrated, config, float_model, task

EXAMPLES = task(100)  # steps of 32 leave a short one


def loss(model: torch.nn.Module) -> float:
    x, y = task(400, 7).tensors
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(model(x), y))


def noisy(x: Tensor) -> Tensor:
    return x + 0.1 * torch.randn_like(x)


def facts(prepared: PreparedModel) -> list[Any]:
    """All there is to know of a trained model."""
    found: list[Any] = [quantizer.tensor for quantizer in prepared.quantizers]
    found += [stage.weight_format for stage in prepared.compute_stages]
    return [*found, {name: value.tolist() for name, value in prepared.state_dict().items()}]


@pytest.mark.parametrize(("scales", "most"), [("learned", 0.5), ("fixed", 0.95)])
def test_training_makes_up_for_rounding(scales: Any, most: float) -> None:
    prepared = calibrated(float_model(), 2)
    before = loss(prepared)
    state = torch.random.get_rng_state()
    means = fine_tune(prepared, task(400), TrainSettings(epochs=6, batch=32, scales=scales))
    print(f"{scales} scales, seeds 0, 1, 7: loss {before:.3f}, trained {loss(prepared):.3f}")
    assert loss(prepared) < most * before
    assert means[-1] < means[0]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not prepared.training
    x = task(50, 3).tensors[0]
    assert agreement(prepared, x, run(convert(prepared), x.movedim(1, -1).numpy())).codes > 0.999


def test_aligned_training_in_esb() -> None:
    family, found = FamilyFormats("esb"), []
    for rate in (1e-9, 3e-3):
        prepared = calibrated(float_model(), 4, family)
        settings = TrainSettings(epochs=6, batch=32, scales="aligned", learning_rate=rate)
        fine_tune(prepared, task(400), settings, formats=family)
        found.append(loss(prepared))
    print(f"seeds 0, 1, 7: loss {found[0]:.3f} with aligned scales, trained {found[1]:.3f}")
    assert found[1] < 0.8 * found[0]


def test_widths_are_lowered_in_equal_parts() -> None:
    settings = TrainSettings(epochs=7, widths=(8, 6))
    assert [settings.least_bits(epoch) for epoch in range(7)] == [8, 8, 8, 6, 6, 2, 2]
    seen: list[tuple[int, int]] = []
    prepared = calibrated(float_model(), 4)

    def watch() -> None:
        tensor, fmt = prepared.image.tensor, prepared.compute_stages[1].weight_format
        assert tensor is not None
        assert fmt is not None
        seen.append((tensor.format.bits, fmt.bits))

    fine_tune(prepared, EXAMPLES, TrainSettings(epochs=3, batch=50, widths=(8, 6)), progress=watch)
    assert seen == [(8, 8)] * 2 + [(6, 6)] * 2 + [(4, 4)] * 2


def test_rates_rise_and_fall() -> None:
    settings = TrainSettings(warm_up=0.2)
    assert [settings.rate(done) for done in (0.1, 0.2, 1.0)] == [0.5, 1.0, 0.0]
    assert settings.rate(0.6) == pytest.approx(0.5)


def test_distillation_loss_by_hand() -> None:
    rng = np.random.default_rng(8)
    logits, teacher = rng.standard_normal((2, 5, 3))
    labels = np.array([0, 2, 1, 1, 0])
    weight, temperature = 0.3, 4.0

    def softmax(z: np.ndarray) -> np.ndarray:
        return np.exp(z) / np.exp(z).sum(1, keepdims=True)

    p, q = softmax(teacher / temperature), softmax(logits / temperature)
    divergence = (p * np.log(p / q)).sum(1)
    entropy = -np.log(softmax(logits)[range(5), labels])
    got = distillation_loss(
        *map(torch.from_numpy, (logits, labels, teacher)), weight=weight, temperature=temperature
    )
    np.testing.assert_allclose(got, 0.7 * entropy + 0.3 * 16 * divergence)


def test_a_teacher_outweighs_labels_that_are_wrong() -> None:
    net, losses = float_model(), []
    x, y = task(400).tensors
    wrong = TensorDataset(x, y.roll(1))
    for distillation in (0.0, 1.0):
        prepared = calibrated(net, 2)
        settings = TrainSettings(epochs=6, batch=32, distillation=distillation, temperature=4.0)
        fine_tune(prepared, wrong, settings, teacher=net)
        losses.append(loss(prepared))
    assert losses[1] < 0.5 * losses[0]


class Interrupted(Exception):
    pass


def interrupt(after: int) -> Callable[[], None]:
    steps = iter(range(1, 1000))

    def count() -> None:
        if next(steps) == after:
            raise Interrupted

    return count


ALL = {"epochs": 3, "batch": 32, "seed": 5}


@pytest.mark.parametrize(
    ("options", "family"),
    [
        ({"widths": (6,), "distillation": 0.5, "weight_decay": 0.1}, None),
        ({"scales": "aligned"}, FamilyFormats("esb")),
    ],
    ids=["learned", "aligned"],
)
@pytest.mark.parametrize(("stops", "save_every"), [([5, 10], 1), ([7], 3), ([9], None)])
def test_an_interrupted_training_ends_as_any_other(
    tmp_path: Path, options: Any, family: Any, stops: list[int], save_every: int | None
) -> None:
    settings, net = TrainSettings(**ALL, **options), float_model()
    results = []
    for path, interruptions in ((None, []), (tmp_path / "run.pt", stops)):
        for after in (*interruptions, 0):
            torch.manual_seed(len(results) + after)  # must not matter
            prepared = calibrated(net, 4, family)
            arguments: dict[str, Any] = {"teacher": net, "augment": noisy, "formats": family}
            arguments |= {"checkpoint": path, "save_every": save_every}
            try:
                losses = fine_tune(
                    prepared, EXAMPLES, settings, **arguments, progress=interrupt(after)
                )
            except Interrupted:
                continue
            results.append((losses, facts(prepared)))
    assert results[0] == results[1]
    # A training that has ended ends at once.
    prepared, ticks = calibrated(net, 4, family), []
    again = fine_tune(prepared, EXAMPLES, settings, **arguments, progress=lambda: ticks.append(1))
    assert len(ticks) == 12
    assert (again, facts(prepared)) == results[0] or save_every == 3


def test_seeds_decide() -> None:
    found = []
    for seed in (0, 0, 1):
        prepared = calibrated(float_model())
        fine_tune(prepared, EXAMPLES, TrainSettings(epochs=1, seed=seed), augment=noisy)
        found.append(facts(prepared))
    assert found[0] == found[1] != found[2]


def test_each_epoch_has_an_order_of_its_own_with_every_example_once() -> None:
    shown: list[Tensor] = []

    def note(x: Tensor) -> Tensor:
        shown.append(x[:, 0, 0, 0].clone())
        return x

    fine_tune(calibrated(float_model()), EXAMPLES, TrainSettings(epochs=2, batch=32), augment=note)
    assert [len(batch) for batch in shown] == [32, 32, 32, 4] * 2
    first, second = torch.cat(shown[:4]), torch.cat(shown[4:])
    assert not torch.equal(first, second)
    everything = EXAMPLES.tensors[0][:, 0, 0, 0].sort().values
    assert torch.equal(first.sort().values, everything)
    assert torch.equal(second.sort().values, everything)


def test_biases_are_rounded_at_the_scales_of_the_step() -> None:
    prepared = calibrated(float_model())
    seen: set[float] = set()

    def watch() -> None:
        tensor, rounding = prepared.image.tensor, prepared.image.rounding
        assert tensor is not None
        assert tensor.scale == float(rounding.scale.detach())
        stage = prepared.compute_stages[0]
        assert stage.weight_scale is not None
        scales = stage.rounding.scale.detach().flatten().double()
        assert torch.equal(stage.weight_scale, scales)
        seen.add(tensor.scale)

    fine_tune(prepared, EXAMPLES, TrainSettings(epochs=1, batch=32), progress=watch)
    assert len(seen) == 3  # the rate of the last step is zero


def started(path: Path, **options: Any) -> None:
    settings = TrainSettings(**{**ALL, **options})
    fine_tune(calibrated(float_model()), EXAMPLES, settings, checkpoint=path)


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    started(path)
    content = torch.load(path, weights_only=True)
    message = rf"^{path}: seed must be 5, as in the training it continues, not 6; remove the file"
    with pytest.raises(NetworkError, match=message):
        started(path, seed=6)

    torch.save({**content, "version": VERSION + 1}, path)
    message = rf"^{path}: version must be at most {VERSION}, not {VERSION + 1}: a newer dybit wrote"
    with pytest.raises(NetworkError, match=message):
        started(path)

    content["model"].popitem()
    torch.save(content, path)
    with pytest.raises(NetworkError, match=rf"^{path}: must be of the same model: .*[^\n]*$"):
        started(path)

    torch.save({"kind": "other"}, path)
    with pytest.raises(NetworkError, match=rf"^{path}: must be a dybit training checkpoint; rem"):
        started(path)
    for content in (b"", b"nothing", path.read_bytes()[:100]):
        path.write_bytes(content)
        with pytest.raises(NetworkError, match=rf"^{path}: damaged, or no dybit training check"):
            started(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(NetworkError, match=rf"^{path}: is a directory; must be a dybit training"):
        started(path)


def test_a_checkpoint_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.pt"
    started(path)
    before = path.read_bytes()
    path.write_bytes(before)

    def fail(_: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("torch.save", fail)
        with pytest.raises(OSError, match="No space"):
            started(tmp_path / "other.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("epochs", 0, "at least 1"),
        ("batch", 0, "at least 1"),
        ("distillation", 1.5, "0 to 1"),
        ("temperature", 0.0, "positive"),
        ("warm_up", 1.0, "0 to less than 1"),
        ("widths", (9,), "2 to 8 each"),
        ("scales", "lsq", "learned, aligned or fixed"),
    ],
)
def test_settings_are_checked(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must be {allowed}, not "):
        TrainSettings(**{field: value})


def test_refusals() -> None:
    net = float_model()
    prepared = prepare(net, config(), EXAMPLES.tensors[0][:1])
    with pytest.raises(NetworkError, match=r"^input: must be calibrated first; call calibrate on"):
        fine_tune(prepared, EXAMPLES, TrainSettings())
    with pytest.raises(ValueError, match=r"^teacher must be given where settings.distillation is"):
        fine_tune(calibrated(net), EXAMPLES, TrainSettings(distillation=0.5))
    nothing = TensorDataset(torch.empty(0, 1, 6, 6), torch.empty(0))
    with pytest.raises(NetworkError, match=r"^examples must hold at least one pair$"):
        fine_tune(calibrated(net), nothing, TrainSettings())
    huge = TrainSettings(learning_rate=math.inf)
    message = r"^training must stay finite, but in step 1 of epoch 0 x must not contain NaN; lower"
    with pytest.raises(NetworkError, match=message):
        fine_tune(calibrated(net), EXAMPLES, huge)
    spoilt = TensorDataset(EXAMPLES.tensors[0].clone(), EXAMPLES.tensors[1])
    spoilt.tensors[0][17] = math.nan
    with pytest.raises(NetworkError, match=r"^training must stay finite, but .*NaN in the examp"):
        fine_tune(calibrated(net), spoilt, TrainSettings())
