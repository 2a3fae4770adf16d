"""What a model of the accelerator's cycles must know of its parts."""

from dybit.hw.axi import BURST_BEATS
from dybit.hw.burst import BurstSplitter
from dybit.hw.descriptor_check import DescriptorCheck
from dybit.hw.pixel_walker import PixelWalker
from dybit.hw.read_dma import ReadDma
from dybit.hw.tile_fork import DEPTH
from dybit.hw.write_dma import WriteDma

__all__ = ["latencies"]


def latencies(engine):
    """Return the latencies of an accelerator's parts in cycles, and the sizes of their queues.

    Parameters
    ----------
    engine : dict of str to int
        Latencies of the matrix engine.
    """
    return {
        **engine,
        "check": DescriptorCheck.LATENCY,
        "split": BurstSplitter.LATENCY,
        "read": ReadDma.LATENCY,
        "walk": PixelWalker.LATENCY,
        "write": WriteDma.LATENCY,
        "burst_beats": BURST_BEATS,
        "buffer_beats": ReadDma.DEPTH,
        "bursts": ReadDma.OUTSTANDING,
        "tiles": DEPTH,
    }
