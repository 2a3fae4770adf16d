"""Checkpoints of training: one file, written in one step, read without running foreign code."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dybit.quant.formats import format_from_dict
from dybit.quant.tensor import NetworkError, QuantTensor
from dybit.quant.torch.modules import PreparedModel

__all__ = ["VERSION", "formats_of", "load", "restore_formats", "save"]

KIND = "dybit training checkpoint"

VERSION = 1
"""Version of the file format."""


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint: the file is the old one or the new one, whole, whenever it is read.

    Parameters
    ----------
    path : Path
    content : mapping
        Tensors, numbers, strings, and lists and dicts of them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            torch.save({"kind": KIND, "version": VERSION, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Return what `save` wrote, tensors on `device`.

    Raises
    ------
    NetworkError
        In one line, if the file cannot be read, is none of ours, or is of a newer version.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise NetworkError(f"{path}: {reason}; must be a {KIND}") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError):
        raise NetworkError(f"{path}: damaged, or no {KIND}; remove it to begin anew") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise NetworkError(f"{path}: must be a {KIND}; remove it to begin anew")
    version = content.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise NetworkError(
            f"{path}: version must be at most {VERSION}, not {version}: a newer dybit wrote it; "
            "use that one, or remove the file to begin anew"
        )
    return content


def formats_of(prepared: PreparedModel) -> dict[str, Any]:
    """Return what calibration chose, as plain values and tensors; parameters are not in it."""
    activations, weights = [], []
    for quantizer in prepared.quantizers:
        tensor = quantizer.tensor
        assert tensor is not None
        activations.append({"format": tensor.format.to_dict(), "scale": tensor.scale})
    for stage in prepared.compute_stages:
        assert stage.weight_format is not None
        weights.append(
            {
                "format": stage.weight_format.to_dict(),
                "scale": stage.weight_scale,
                "correction": stage.correction,
            }
        )
    return {"activations": activations, "weights": weights}


def restore_formats(prepared: PreparedModel, formats: Mapping[str, Any]) -> None:
    """Calibrate a model to what `formats_of` returned for another of its kind."""
    tensors = zip(prepared.quantizers, formats["activations"], strict=True)
    for quantizer, saved in tensors:
        quantizer.tensor = QuantTensor(format_from_dict(saved["format"]), saved["scale"])
    for stage, saved in zip(prepared.compute_stages, formats["weights"], strict=True):
        stage.weight_format = format_from_dict(saved["format"])
        stage.weight_scale, stage.correction = saved["scale"], saved["correction"]
