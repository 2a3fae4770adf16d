"""A user's model: a small CNN for scikit-learn's handwritten digits, 8 x 8 pixels each.

Run it to train; then hand `build` and what it wrote to ``dybit quantize``::

    python examples/digits_cnn.py build/example
    dybit quantize examples/digits_cnn.py:build --weights build/example/weights.pt \
        --calibration build/example/train.npz --config configs/digits-mixed.toml \
        -o build/example/network
    dybit simulate build/example/network --images build/example/test.npz --limit 20
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

EPOCHS = 8
BATCH = 64


def build() -> nn.Module:
    """Return the untrained network; the config names its layers conv1, conv2, conv3 and head."""
    layers: dict[str, nn.Module] = {}
    for number, (inputs, outputs) in enumerate([(1, 16), (16, 32), (32, 32)], start=1):
        layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers[f"norm{number}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{number}"] = nn.ReLU()
        if number > 1:
            layers[f"pool{number}"] = nn.MaxPool2d(2)
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    network.add_module("flatten", nn.Flatten())
    network.add_module("head", nn.Linear(32 * 2 * 2, 10))
    return network


def main(folder: Path) -> None:
    """Train, and write weights.pt, train.npz and test.npz to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    images, classes = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    train_x, test_x, train_y, test_y = train_test_split(
        x, classes, test_size=0.2, random_state=0, stratify=classes
    )
    torch.set_num_threads(1)  # layers this small only wait for each other in threads
    torch.manual_seed(0)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    inputs, targets = torch.from_numpy(train_x), torch.from_numpy(train_y)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), targets[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.inference_mode():
        right = network(torch.from_numpy(test_x)).argmax(1).numpy() == test_y
    print(f"test accuracy {right.mean():.2%}, {len(test_y)} images")
    torch.save(network.state_dict(), folder / "weights.pt")
    np.savez(folder / "train.npz", x=train_x, y=train_y)
    np.savez(folder / "test.npz", x=test_x, y=test_y)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/example"))
