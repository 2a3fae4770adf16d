"""Boxes against the views of NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dybit.quant.boxes import Box, find_box

X = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)

VIEWS: list[tuple[Callable[[NDArray[np.int64]], NDArray[np.int64]], int]] = [
    (lambda x: x, 1),
    (lambda x: x.transpose(3, 1, 0, 2), 4),
    (lambda x: x.transpose(0, 2, 3, 1), 3),
    (lambda x: x[1, ::2, 3:0:-2], 3),
    (lambda x: x[:, 1:3].reshape(2, -1), 2),
    (lambda x: x[0, 0, 0, :1], 1),
    (lambda x: np.broadcast_to(x[:, :1, :, :1], (2, 3, 4, 5)), 4),
    (lambda x: x.reshape(6, 20).T.reshape(4, 5, 2, 3), 2),
    (lambda x: x[::-1, ::-1, ::-1, ::-1], 1),
]


def elements(box: Box) -> list[int]:
    places = [box.start]
    for size, stride in zip(box.sizes, box.strides, strict=True):
        places = [place + index * stride for place in places for index in range(size)]
    return places


@pytest.mark.parametrize(("view", "axes"), VIEWS)
def test_every_view_is_a_box_of_few_axes(
    view: Callable[[NDArray[np.int64]], NDArray[np.int64]], axes: int
) -> None:
    found = find_box(view(X))
    assert found is not None
    assert elements(found) == view(X).reshape(-1).tolist()
    assert len(found.sizes) == axes


@pytest.mark.parametrize("places", [[0, 1, 3], [0, 1, 2, 4, 5, 7], [0, 1, 5, 6, 9, 10], [3, 3, 4]])
def test_what_is_no_box_gives_none(places: list[int]) -> None:
    assert find_box(np.array(places)) is None
