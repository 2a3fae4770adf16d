"""Speed of fake-quantisation on one pinned thread, beside other libraries and a copy.

4 million float32 elements, scales per tensor and for 256 channels; forward alone, and forward and
backward with the gradient of the output given. Outputs lie in memory the process already holds:
otherwise the system's page faults would be timed. Rivals that are not installed are left out;
``pip install '.[rivals]'`` brings those that PyPI has. On a GPU, where there is one, the same code
runs on 4 and on 64 million elements.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from dybit.quant.formats import (
    ESB,
    DyBit,
    Integer,
    Minifloat,
    NormalFloat,
    NumberFormat,
    Posit,
    PowerOfTwo,
)
from dybit.quant.torch import fake_quantize
from dybit.quant.torch.kernel import kernel, without_kernel

SEED = 0
CHANNELS, INNER = 256, 1 << 14
REPEATS = 15
UNIT = "million elements/s"
SCALE = 0.3
FORMATS = [
    *(DyBit(8), DyBit(4, True, 2), DyBit(8, False, 1), Integer(4), Minifloat(2, 1)),
    *(Minifloat(4, 3), ESB(4, 2), PowerOfTwo(4), Posit(8, 1), NormalFloat(4)),
]
"""Formats besides 4-bit DyBit, which is compared with everybody."""

Quantizer = Callable[[Tensor], Tensor]
Entry = dict[str, Any]


def run() -> list[Entry]:
    """Return the rates of `fake_quantize`, with and without its kernel, beside its rivals'."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        # What is freed stays with the process (glibc).
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    }
    done = subprocess.run(
        [sys.executable, __file__], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    entries: list[Entry] = json.loads(done.stdout.splitlines()[-1])
    return entries


def measured() -> Iterator[Entry]:
    """Yield what this process measures, on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    x, grad, scales = operands(CHANNELS, INNER, "cpu")
    fmt = DyBit(4)
    rivals = torch_rivals(fmt, SCALE) | tensor_libraries(x)
    yield from compared(f"{fmt} per tensor", fmt, SCALE, x, grad, rivals)
    rivals = torch_rivals(fmt, scales) | channel_libraries(x)
    yield from compared(f"{fmt} per channel", fmt, scales, x, grad, rivals)
    for fmt in FORMATS:
        rivals = {"torch": integers(SCALE)}
        yield from compared(f"{fmt} per tensor", fmt, SCALE, x, grad, rivals)
    if torch.cuda.is_available():
        for inner in (INNER, 16 * INNER):
            yield from on_gpu(inner)


def on_gpu(inner: int) -> Iterator[Entry]:
    """Yield the rates of 4-bit DyBit on the GPU."""
    x, grad, scales = operands(CHANNELS, inner, "cuda")
    fmt, size = DyBit(4), f"GPU, {x.numel() >> 20} Mi elements"
    for kind, scale in (("tensor", SCALE), ("channel", scales)):
        rivals = {"torch": integers(scale), "clone": torch.clone}
        yield from compared(f"{size}, {fmt} per {kind}", fmt, scale, x, grad, rivals)


def operands(channels: int, inner: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return a tensor, a gradient and a scale for each channel."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(channels, inner, generator=generator)
    grad = torch.randn(channels, inner, generator=generator)
    scales = torch.rand(channels, 1, generator=generator) + 0.1
    return x.to(device), grad.to(device), scales.to(device)


def integers(scale: float | Tensor) -> Quantizer:
    """Return torch's own fake-quantisation, to 4-bit integers."""
    if isinstance(scale, float):
        return lambda x: torch.fake_quantize_per_tensor_affine(x, scale, 0, -7, 7)
    factor = scale.flatten()
    zeros = torch.zeros_like(factor, dtype=torch.int32)
    return lambda x: torch.fake_quantize_per_channel_affine(x, factor, zeros, 0, -7, 7)


def torch_rivals(fmt: NumberFormat, scale: float | Tensor) -> dict[str, Quantizer]:
    """Return torch's integers, a copy, and the usual search in a codebook."""
    thresholds = torch.from_numpy(fmt.thresholds("float32").copy())
    values = torch.from_numpy(fmt.values.copy()).float()

    def search(x: Tensor) -> Tensor:
        rounded = values[torch.bucketize(x.detach() / scale, thresholds)] * scale
        return x + (rounded - x).detach() if x.requires_grad else rounded

    return {"torch": integers(scale), "clone": torch.clone, "bucketize": search}


def tensor_libraries(x: Tensor) -> dict[str, Quantizer]:
    """Return the layers of other libraries that are installed, with a scale per tensor."""
    found: dict[str, Quantizer] = {}
    if importlib.util.find_spec("brevitas"):
        from brevitas.nn import QuantIdentity
        from brevitas.quant import Fp8e4m3ActPerTensorFloat, Int8ActPerTensorFloat

        widths = {"bit_width": 4, "exponent_bit_width": 2, "mantissa_bit_width": 1}
        found["Brevitas int4"] = QuantIdentity(Int8ActPerTensorFloat, bit_width=4)
        found["Brevitas E2M1"] = QuantIdentity(Fp8e4m3ActPerTensorFloat, **widths)
        for layer in found.values():
            layer(x[:4])  # takes its scale from data, and keeps it
            layer.eval()
    if importlib.util.find_spec("qtorch"):
        from qtorch import FloatingPoint
        from qtorch.quant import Quantizer as Rounding

        found["QPyTorch E2M1"] = Rounding(FloatingPoint(2, 1), forward_rounding="nearest")
    return found


def channel_libraries(x: Tensor) -> dict[str, Quantizer]:
    """Return the layers of other libraries that are installed, with a scale for each channel."""
    if not importlib.util.find_spec("torchao"):
        return {}
    from torchao.quantization.qat import IntxFakeQuantizeConfig, IntxFakeQuantizer

    config = IntxFakeQuantizeConfig(torch.int4, "per_channel", is_symmetric=True, is_dynamic=False)
    layer = IntxFakeQuantizer(config)
    layer(x)  # takes its scales from data, and keeps them
    return {"torchao int4": layer}


def compared(
    name: str,
    fmt: NumberFormat,
    scale: float | Tensor,
    x: Tensor,
    grad: Tensor,
    rivals: dict[str, Quantizer],
) -> Iterator[Entry]:
    """Yield `fake_quantize` with and without its kernel beside every rival, in both directions."""

    def ours(z: Tensor) -> Tensor:
        return fake_quantize(z, fmt, scale)

    for direction, job_of in (("forward", forward), ("forward + backward", forward_and_backward)):
        jobs = {rival: job_of(f, x, grad) for rival, f in rivals.items()}
        ways = {"PyTorch alone": alone(job_of(ours, x, grad))}
        if kernel() is not None and x.device.type == "cpu":
            ways["kernel"] = job_of(ours, x, grad)
        rates = rated(jobs | ways, x)
        for way in ways:
            for rival in rivals:
                yield {
                    "name": f"{name}, {direction}, {way} / {rival}",
                    "value": rates[way],
                    "unit": UNIT,
                    "rival": f"{rival}, {rates[rival]:.0f} {UNIT}",
                    "ratio": rates[way] / rates[rival],
                }


def forward(quantizer: Quantizer, x: Tensor, _: Tensor) -> Callable[[], object]:
    return lambda: quantizer(x)


def forward_and_backward(quantizer: Quantizer, x: Tensor, grad: Tensor) -> Callable[[], object]:
    return lambda: quantizer(x.detach().requires_grad_()).backward(grad)


def alone(job: Callable[[], object]) -> Callable[[], object]:
    def without() -> None:
        with without_kernel():
            job()

    return without


def rated(jobs: dict[str, Callable[[], object]], x: Tensor) -> dict[str, float]:
    """Return the best rate of each job, taken in turns so that all see the same machine."""
    settle = torch.cuda.synchronize if x.is_cuda else lambda: None
    runs = 20 if x.is_cuda else 1
    seconds = dict.fromkeys(jobs, float("inf"))
    for _ in range(REPEATS):
        for name, job in jobs.items():
            job()  # leaves behind what the next run's outputs will lie in
            settle()
            start = perf_counter()
            for _ in range(runs):
                job()
            settle()
            seconds[name] = min(seconds[name], (perf_counter() - start) / runs)
    return {name: x.numel() / least / 1e6 for name, least in seconds.items()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # those of the rivals
    print(json.dumps(list(measured())))
