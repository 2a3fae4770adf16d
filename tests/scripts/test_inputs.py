"""What users bring: one test for each refusal."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dybit.scripts.console import UserError
from dybit.scripts.inputs import load_images, load_model, load_weights

X = np.arange(5 * 2 * 3 * 4, dtype=np.float64).reshape(5, 2, 3, 4)

ARRAY = "x must be a float array (N, C, H, W) or (N, K), not "


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def test_images_are_limited_and_converted(tmp_path: Path) -> None:
    images = load_images(saved(tmp_path, x=X, y=np.arange(5, dtype=np.uint8)), limit=3)
    assert images.x.dtype == np.float32
    np.testing.assert_array_equal(images.x, X[:3])
    assert images.y is not None
    assert images.y.tolist() == [0, 1, 2]


def test_labels_are_optional(tmp_path: Path) -> None:
    images = load_images(saved(tmp_path, x=X))
    assert images.y is None
    assert len(images.x) == 5


def test_channels_come_last_in_images_alone(tmp_path: Path) -> None:
    assert load_images(saved(tmp_path, x=X)).channels_last.shape == (5, 3, 4, 2)
    assert load_images(saved(tmp_path, x=X.reshape(5, -1))).channels_last.shape == (5, 24)


def test_accuracy_counts_one_prediction_an_image(tmp_path: Path) -> None:
    images = load_images(saved(tmp_path, x=X, y=np.arange(5)))
    predictions = np.array([0, 1, 0, 3, 0])
    assert images.accuracy(predictions) == 0.6
    # As a network that ends with a convolution gives them.
    assert images.accuracy(predictions.reshape(5, 1, 1)) == 0.6
    assert images.accuracy(np.zeros((5, 2, 2), int)) is None
    assert load_images(saved(tmp_path, x=X)).accuracy(predictions) is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": X}, ARRAY + "absent"),
        ({"x": X[0]}, ARRAY + "float64 (2, 3, 4)"),
        ({"x": X[:0]}, ARRAY + "float64 (0, 2, 3, 4)"),
        (
            {"x": X.astype(int)},
            ARRAY + "int64 (5, 2, 3, 4)",
        ),
        ({"x": X + np.inf}, "x must be finite in float32"),
        ({"x": X * 1e300}, "x must be finite in float32"),
        ({"x": X, "y": np.arange(4)}, "y must be 5 integers, not int64 (4,)"),
        ({"x": X, "y": np.ones(5)}, "y must be 5 integers, not float64 (5,)"),
        ({"x": np.array([None])}, "must be an .npz file of plain arrays"),
    ],
)
def test_images_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {message}')}$"):
        load_images(path)


def test_missing_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz: no such file or directory$"):
        load_images(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken", b"\x93NUMPY"])
def test_images_in_another_format_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"must be an \.npz file of plain arrays$"):
        load_images(path)


def test_an_npy_file_is_the_images(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", X)
    images = load_images(tmp_path / "data.npy", limit=2)
    np.testing.assert_array_equal(images.x, X[:2])
    assert images.y is None
    (tmp_path / "data.npy").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"data\.npy: must be an \.npy file of a plain array$"):
        load_images(tmp_path / "data.npy")


def test_a_folder_of_images_is_cut_and_normalised(tmp_path: Path) -> None:
    wide = np.zeros((16, 64, 3), np.uint8)
    wide[:, 24:40] = (255, 0, 51)  # the middle, all that is left
    (tmp_path / "b").mkdir()
    Image.fromarray(wide).save(tmp_path / "b" / "wide.png")
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "a.bmp")
    (tmp_path / "c.txt").write_text("no image")
    images = load_images(tmp_path, size=14)
    assert images.x.shape == (2, 3, 14, 14)
    assert images.y is None
    np.testing.assert_allclose(images.x[0, :, 7, 7], [2.2489, 2.4286, 2.64], atol=1e-4)
    red = (np.array([1, 0, 0.2]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(images.x[1, :, 7, 7], red, atol=1e-6)
    assert len(load_images(tmp_path, limit=1, size=14).x) == 1


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must hold images \(\.bmp, \.jpeg, "):
        load_images(tmp_path)
    (tmp_path / "x.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"x\.png: must be an image that Pillow reads$"):
        load_images(tmp_path)


MODULE = """
from torch import nn
from neighbour import width

def model():
    return nn.Linear(width, 2).train()

def number():
    return 3

def fails():
    raise KeyError("first\\nsecond")

def leaves():
    raise SystemExit(0)

constant = 3
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("width = 3\n")
    path = tmp_path / "user.py"
    path.write_text(MODULE)
    return path


def test_model_is_returned_in_eval_mode(user_file: Path) -> None:
    model = load_model(f"{user_file}:model")
    assert isinstance(model, torch.nn.Linear)
    assert not model.training
    assert str(user_file.parent) not in sys.path


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{}", r"MODEL must be path/to/file\.py:function, not '.*user\.py'"),
        ("{}:", r"MODEL must be path/to/file\.py:function, not '.*user\.py:'"),
        ("{}x:model", r".*user\.pyx: no such file; MODEL must be path/to/file\.py:function"),
        ("{}:other", r".*user\.py: has no function 'other'"),
        ("{}:constant", r".*user\.py: has no function 'constant'"),
        ("{}:number", r".*user\.py:number: must return a torch\.nn\.Module, not int"),
        ("{}:leaves", r".*user\.py:leaves: raised SystemExit: 0"),
        ("{}:fails", r".*user\.py:fails: raised KeyError: 'first\\nsecond'"),
    ],
)
def test_model_is_refused(user_file: Path, spec: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        load_model(spec.format(user_file))


def test_model_in_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text("")
    with pytest.raises(UserError, match=r"model\.txt: must be a Python file"):
        load_model(f"{path}:model")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_loaded(tmp_path: Path, suffix: str) -> None:
    source, target = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(source.state_dict(), path)
    else:
        save_file(source.state_dict(), path)
    load_weights(target, path)
    assert torch.equal(source.weight, target.weight)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pt: no such file$"):
        load_weights(torch.nn.Linear(3, 2), tmp_path / "none.pt")


@pytest.mark.parametrize("content", [b"", b"broken\n" * 20])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_weights_in_another_format_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = f"{path}: must be a state_dict that torch.save or safetensors wrote"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        load_weights(torch.nn.Linear(3, 2), path)


def test_whole_models_are_refused_as_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(torch.nn.Linear(3, 2), path)
    with pytest.raises(UserError, match="must be a state_dict that torch"):
        load_weights(torch.nn.Linear(3, 2), path)
    torch.save([1], path)
    with pytest.raises(UserError, match="does not fit the model: Expected state_dict to be dict"):
        load_weights(torch.nn.Linear(3, 2), path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(torch.nn.Linear(4, 2).state_dict(), path)
    with pytest.raises(UserError, match=r"does not fit the model: .*size mismatch") as caught:
        load_weights(torch.nn.Linear(3, 2), path)
    assert "\n" not in str(caught.value)
