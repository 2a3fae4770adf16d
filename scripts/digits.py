"""The demo's model and data: scikit-learn's handwritten digits and a small CNN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Digits",
    "DigitsNet",
    "accuracy",
    "deterministic",
    "fit",
    "images",
    "load",
    "shifted",
    "train",
]

SPLIT_SEED = 0
EPOCHS = 40
BATCH = 64
THREADS = 1  # sums depend on it, and layers this small gain nothing from more


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """The images, 8 x 8 and one channel, split once and for all.

    Members
    -------
    train_x, test_x : ndarray of float32, shape (N, 1, 8, 8)
        From 0 to 1.
    train_y, test_y : ndarray of int64, shape (N,)
    """

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]


def images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return all 1,797 images, (N, 1, 8, 8) from 0 to 1, and their digits."""
    pixels, labels = load_digits(return_X_y=True)
    x = (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return x, labels.astype(np.int64)


def load() -> Digits:
    """Return the 1,797 images, a quarter of each digit's for testing."""
    x, y = images()
    train_x, test_x, train_y, test_y = train_test_split(
        x, y, test_size=0.25, stratify=y, random_state=SPLIT_SEED
    )
    return Digits(train_x, train_y, test_x, test_y)


class DigitsNet(nn.Module):
    """Three convolutions with batch norm and ReLU, two poolings and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(32)
        self.pool3 = nn.MaxPool2d(2)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm1(self.conv1(x)))
        x = self.pool2(functional.relu(self.norm2(self.conv2(x))))
        x = self.pool3(functional.relu(self.norm3(self.conv3(x))))
        result: Tensor = self.head(x.flatten(1))
        return result


def train(
    seed: int = 0, progress: Callable[[], None] | None = None, epochs: int = EPOCHS
) -> tuple[DigitsNet, float]:
    """Return a trained model in evaluation mode and its test accuracy; the same on every run.

    Parameters
    ----------
    seed : int
    progress : callable, optional
        Called after each epoch.
    epochs : int
    """
    digits = load()
    x, y = torch.from_numpy(digits.train_x), torch.from_numpy(digits.train_y)
    with deterministic(seed):
        model = DigitsNet()
        fit(model, x, y, epochs, progress)
        with torch.no_grad():
            logits = model(torch.from_numpy(digits.test_x)).numpy()
    return model, accuracy(logits, digits.test_y)


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    epochs: int = EPOCHS,
    progress: Callable[[], None] | None = None,
) -> None:
    """Train a network for digits on images and their classes, and leave it in evaluation mode."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps)
    model.train()
    for _ in range(epochs):
        order: Tensor = torch.randperm(len(x))
        for chosen in torch.split(order, BATCH):
            loss = functional.cross_entropy(
                model(shifted(x[chosen])), y[chosen], label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if progress is not None:
            progress()
    model.eval()


def accuracy(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Return the fraction of rows whose largest logit is at the label."""
    return float(np.mean(logits.argmax(axis=-1) == labels))


def shifted(x: Tensor) -> Tensor:
    """Shift each image by up to one pixel each way, at random."""
    padded = functional.pad(x, (1, 1, 1, 1))
    down, across = torch.randint(0, 3, (2, len(x)))
    rows = down[:, None] + torch.arange(8)
    columns = across[:, None] + torch.arange(8)
    return padded[torch.arange(len(x))[:, None, None], 0, rows[:, :, None], columns[:, None]][
        :, None
    ]


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed, and make results depend on nothing else; what was set before is set again after."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(THREADS)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)
