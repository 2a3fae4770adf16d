"""What users bring: a model in a Python file, its weights, and images; all refused in one line."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dybit.scripts.console import UserError
from dybit.scripts.image_folder import read_folder

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Images",
    "batches",
    "load_architecture",
    "load_images",
    "load_model",
    "load_network",
    "load_weights",
]

IMAGE_SIZE = 224
"""Height and width of images from a folder, unless told otherwise."""

BATCH = 64
BATCH_ELEMENTS = 1 << 21
"""Images run at a time: at most so many, and of no more elements unless one has."""


@dataclass(frozen=True, slots=True)
class Images:
    """A batch of images, or of vectors for networks that begin with a linear layer.

    Attributes
    ----------
    x : ndarray of float32, shape (N, C, H, W) or (N, K)
    y : ndarray of int64, shape (N,), optional
        Class of each image.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64] | None

    @property
    def channels_last(self) -> NDArray[np.float32]:
        """The images as (N, H, W, C); vectors as they are."""
        return self.x.transpose(0, 2, 3, 1) if self.x.ndim == 4 else self.x

    def accuracy(self, predictions: NDArray[np.integer[Any]]) -> float | None:
        """Share of images whose prediction is their class; None where one of them is lacking."""
        if self.y is None or predictions.size != self.y.size:
            return None
        return float(np.mean(predictions.reshape(-1) == self.y))


def batches(x: NDArray[np.float32]) -> Iterator[slice]:
    """Yield the parts of a set of images that are run at a time."""
    step = max(1, min(BATCH, BATCH_ELEMENTS // x[0].size))
    yield from (slice(start, start + step) for start in range(0, len(x), step))


def load_images(path: Path, limit: int | None = None, size: int = IMAGE_SIZE) -> Images:
    """Return the first `limit` images of a file or a folder.

    Parameters
    ----------
    path : Path
        An .npz file with arrays ``x`` and, perhaps, ``y``; an .npy file, which is ``x``; or a
        folder of images.
    limit : int, optional
    size : int
        Height and width that images of a folder are brought to.
    """
    if path.is_dir():
        return Images(read_folder(path, size, limit), None)
    x, y = _load_arrays(path)
    if x is None or x.ndim not in (2, 4) or not x.size or x.dtype.kind != "f":
        raise UserError(f"{path}: x must be a float array (N, C, H, W) or (N, K), not {_kind(x)}")
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise UserError(f"{path}: x must be finite in float32")
    if y is not None and (y.shape != x.shape[:1] or y.dtype.kind not in "iu"):
        raise UserError(f"{path}: y must be {len(x)} integers, not {_kind(y)}")
    labels = None if y is None else y[:limit].astype(np.int64)
    return Images(x[:limit], labels)


def _load_arrays(path: Path) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    try:
        with path.open("rb") as stream:
            if path.suffix == ".npy":
                return np.lib.format.read_array(stream, allow_pickle=False), None
            with np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("x", "y") if name in file}
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (ValueError, BadZipFile, EOFError, TypeError):
        kind = (
            ".npy file of a plain array" if path.suffix == ".npy" else ".npz file of plain arrays"
        )
        raise UserError(f"{path}: must be an {kind}") from None
    return arrays.get("x"), arrays.get("y")


def _kind(array: NDArray[Any] | None) -> str:
    return "absent" if array is None else f"{array.dtype} {array.shape}"


def load_network(model: str | None, architecture: str | None, weights: Path | None) -> nn.Module:
    """Return the trained network that MODEL, --architecture and --weights name."""
    if (model is None) == (architecture is None):
        raise UserError("exactly one of MODEL and --architecture must be given")
    if architecture is not None:
        if weights is None:
            raise UserError(f"--weights must be given for --architecture {architecture}")
        return load_architecture(architecture, weights)
    assert model is not None
    module = load_model(model)
    if weights is not None:
        load_weights(module, weights)
    return module


def load_model(spec: str) -> nn.Module:
    """Return what the function named by ``path/to/file.py:function`` returns, in eval mode."""
    from torch import nn

    path, colon, function = spec.rpartition(":")
    if not (colon and path and function):
        raise UserError(f"MODEL must be path/to/file.py:function, not {spec!r}")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; MODEL must be path/to/file.py:function")
    loader = importlib.util.spec_from_file_location("dybit_user_model", path)
    if loader is None or loader.loader is None:
        raise UserError(f"{path}: must be a Python file; MODEL is path/to/file.py:function")
    module = importlib.util.module_from_spec(loader)
    # Their file may import its neighbours, as it does when it is run.
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        loader.loader.exec_module(module)
        build = getattr(module, function, None)
        if not callable(build):
            raise UserError(f"{path}: has no function {function!r}")
        model = build()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{spec}: raised {type(error).__name__}: {_one_line(error)}") from error
    finally:
        sys.path.pop(0)
    if not isinstance(model, nn.Module):
        raise UserError(f"{spec}: must return a torch.nn.Module, not {type(model).__name__}")
    return model.eval()


def load_architecture(name: str, path: Path) -> nn.Module:
    """Return a network of the zoo with the state in `path`, which tells how many classes it has."""
    from dybit.quant.torch.zoo import ARCHITECTURES

    if name not in ARCHITECTURES:
        raise UserError(f"--architecture must be one of {', '.join(ARCHITECTURES)}, not {name!r}")
    build, last = ARCHITECTURES[name]
    state = _load_state(path)
    size: Any = getattr(state.get(last), "shape", ()) if isinstance(state, dict) else ()
    if len(size) != 1:
        raise UserError(f"{path}: does not fit {name}: must have {last}, one number a class")
    model = build(size[0])
    _fill(model, state, path)
    return model.eval()


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the state of `model` from a .pt or .safetensors file."""
    _fill(model, _load_state(path), path)


def _load_state(path: Path) -> Any:
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch meets other people's bytes with whatever its unpickler raises, and long advice.
        raise UserError(
            f"{path}: must be a state_dict that torch.save or safetensors wrote"
        ) from error


def _fill(model: nn.Module, state: Any, path: Path) -> None:
    try:
        model.load_state_dict(state)
    except Exception as error:
        raise UserError(f"{path}: does not fit the model: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
