"""The demo's data and training: fixed split, the same weights on every run."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from dybit.scripts import digits


def test_the_split_holds_every_image_once() -> None:
    data = digits.load()
    assert data.train_x.shape == (1347, 1, 8, 8)
    assert data.test_x.shape == (450, 1, 8, 8)
    both = np.concatenate([data.train_x, data.test_x])
    assert both.dtype == np.float32
    images, labels = load_digits(return_X_y=True)
    found = sorted((both.reshape(-1, 64) * 16).tolist())
    assert found == sorted(images.tolist())
    counts = np.bincount(data.test_y), np.bincount(labels)
    assert np.abs(counts[0] - counts[1] / 4).max() < 1
    again = digits.load()
    assert np.array_equal(data.test_x, again.test_x)
    assert np.array_equal(data.test_y, again.test_y)


def test_training_is_deterministic_and_leaves_torch_as_it_was() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    ticks: list[int] = []
    model, accuracy = digits.train(3, lambda: ticks.append(1), epochs=2)
    assert len(ticks) == 2
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert not model.training

    torch.rand(5)
    same, again = digits.train(3, epochs=2)
    other, _ = digits.train(4, epochs=2)
    pairs = list(zip(model.parameters(), same.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(model.head.weight, other.head.weight)
    assert accuracy == again
    data = digits.load()
    with torch.no_grad():
        logits = model(torch.from_numpy(data.test_x)).numpy()
    assert accuracy == np.mean(logits.argmax(1) == data.test_y) > 0.9


def test_augmentation_shifts_by_a_pixel_at_most() -> None:
    torch.manual_seed(0)
    x = torch.rand(200, 1, 8, 8)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    windows = torch.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)])
    equal = (windows == digits.shifted(x)).all(dim=(2, 3, 4))
    assert equal.any(dim=0).all()
    assert equal.any(dim=1).all()
