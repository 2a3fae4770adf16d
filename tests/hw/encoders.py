# amaranth: UnusedElaboratable=no
"""The encoder that is built for given output formats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dybit.hw.encoder import Encoder
from dybit.hw.esb_encoder import ESBEncoder
from dybit.quant.formats import ESB
from tests.hw.encoder_vectors import Output

__all__ = ["encoder_of"]


def encoder_of(outputs: Iterable[Output]) -> Any:
    """Return an encoder of all of `outputs`, of one family."""
    outputs = list(outputs)
    fractions = {output.bits: output.k for output in outputs if output.k is not None}
    if fractions:
        return ESBEncoder([ESB(bits, k) for bits, k in fractions.items()])
    return Encoder(tuple({output.bits for output in outputs}))
