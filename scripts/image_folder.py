"""Images in a folder, prepared as networks for ImageNet expect them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dybit.scripts.console import UserError, progress

__all__ = ["read_folder"]

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
"""Of ImageNet's channels, which torchvision's weights were trained with."""

MARGIN = 256 / 224
"""Length of the shorter side over that of the square cut from the middle."""


def read_folder(folder: Path, size: int, limit: int | None = None) -> NDArray[np.float32]:
    """Return the first `limit` images below `folder`, by path, as (N, 3, size, size).

    The shorter side is scaled to 256/224 of `size`, the middle cut out, and ImageNet's mean and
    standard deviation taken from each channel.
    """
    from PIL import Image, UnidentifiedImageError

    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise UserError(f"{folder}: must hold images ({', '.join(sorted(SUFFIXES))})")
    images = []
    with progress() as bar:
        for path in bar.track(paths[:limit], description="reading images"):
            try:
                with Image.open(path) as file:
                    image = file.convert("RGB")
            except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
                raise UserError(f"{path}: must be an image that Pillow reads") from None
            scale = round(size * MARGIN) / min(image.size)
            width, height = (max(size, round(side * scale)) for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            left, top = (width - size) // 2, (height - size) // 2
            pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
            images.append(((pixels / 255 - MEAN) / DEVIATION).transpose(2, 0, 1))
    return np.stack(images)
